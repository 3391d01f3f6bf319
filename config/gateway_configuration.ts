import { dirname, isAbsolute, resolve } from "node:path";
import { z } from "zod";
import { admin } from "./sections/admin.ts";
import { audit, resolveSinkPaths } from "./sections/audit.ts";
import { authentication } from "./sections/authentication.ts";
import { authorization } from "./sections/authorization.ts";
import { index } from "./sections/index.ts";
import { kubernetes } from "./sections/kubernetes.ts";
import { log } from "./sections/log.ts";
import { policy } from "./sections/policy.ts";
import { recording } from "./sections/recording.ts";
import { resolveRecordingSink } from "./sections/recording_sink.ts";
import { server } from "./sections/server.ts";
import { sessions } from "./sections/sessions.ts";
import { upstream } from "./sections/upstream.ts";
import { expected, section } from "./values.ts";

/** The one version of the format there is. */
export const API_VERSION = "postern.dev/v1alpha1";
/** The one kind of document there is. */
export const KIND = "GatewayConfiguration";

/** The one source of keys, types, bounds, defaults and descriptions. */
export const gatewayConfiguration = section({
  apiVersion: z.literal(API_VERSION, expected(JSON.stringify(API_VERSION))).meta({
    description: "The version of this format.",
  }),
  kind: z.literal(KIND, expected(JSON.stringify(KIND))).meta({ description: "What this document is." }),
  server,
  kubernetes,
  authentication,
  authorization,
  policy,
  upstream,
  sessions,
  audit,
  recording,
  index,
  admin,
  log,
}).meta({
  title: KIND,
  description:
    "What an operator may say to Postern. `apiVersion` and `kind` alone are a working configuration.",
});

/** What an operator may write: everything but `apiVersion` and `kind` may be left out. */
export type GivenConfiguration = z.input<typeof gatewayConfiguration>;

/** What the gateway works with: every default filled in, every path absolute. */
export type Configuration = Omit<z.output<typeof gatewayConfiguration>, "apiVersion" | "kind">;

/**
 * Makes every path absolute.
 *
 * @param checked what the schema gave back
 * @param file the configuration file; a relative path starts in its folder
 */
export function resolvePaths(checked: z.output<typeof gatewayConfiguration>, file: string): Configuration {
  const folder = dirname(resolve(file));
  const absolute = (path: string) => isAbsolute(path) ? path : resolve(folder, path);
  const maybe = (path: string | undefined) => path === undefined ? undefined : absolute(path);
  const { apiVersion: _version, kind: _kind, ...rest } = checked;
  const { tls } = rest.server;
  const { kubelet } = rest.upstream;
  return {
    ...rest,
    server: {
      ...rest.server,
      tls: { ...tls, certFile: absolute(tls.certFile), keyFile: absolute(tls.keyFile) },
    },
    kubernetes: { ...rest.kubernetes, kubeconfig: maybe(rest.kubernetes.kubeconfig) },
    upstream: {
      ...rest.upstream,
      kubelet: {
        ...kubelet,
        caFile: maybe(kubelet.caFile),
        tokenFile: maybe(kubelet.tokenFile),
        clientCertificateFile: maybe(kubelet.clientCertificateFile),
        clientKeyFile: maybe(kubelet.clientKeyFile),
      },
    },
    index: {
      ...rest.index,
      sqlite: { path: absolute(rest.index.sqlite.path) },
      postgresql: {
        ...rest.index.postgresql,
        urlFile: absolute(rest.index.postgresql.urlFile),
        caFile: maybe(rest.index.postgresql.caFile),
      },
    },
    recording: {
      ...rest.recording,
      signingKeyFile: absolute(rest.recording.signingKeyFile),
      sink: resolveRecordingSink(rest.recording.sink, absolute),
    },
    audit: {
      ...rest.audit,
      sinks: rest.audit.sinks.map((sink) => resolveSinkPaths(sink, absolute)),
      argv: { ...rest.audit.argv, keyFile: maybe(rest.audit.argv.keyFile) },
    },
  };
}
