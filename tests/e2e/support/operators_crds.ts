import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";

/** Where other projects keep the definitions of what the chart can make for them: by Go module, as the proxy has it. */
const MODULES: Readonly<Record<string, readonly string[]>> = {
  "github.com/cert-manager/cert-manager@v1.16.2": ["deploy/crds/crd-certificates.yaml"],
  "github.com/prometheus-operator/prometheus-operator@v0.79.2": [
    "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
  ],
  "sigs.k8s.io/gateway-api@v1.2.1": [
    "config/crd/experimental/gateway.networking.k8s.io_tlsroutes.yaml",
  ],
  "github.com/openshift/api@v0.0.0-20241216151652-de9de05a8e43": [
    "route/v1/zz_generated.crd-manifests/routes-Default.crd.yaml",
  ],
};

const definition = z.looseObject({
  apiVersion: z.literal("apiextensions.k8s.io/v1"),
  kind: z.literal("CustomResourceDefinition"),
  metadata: z.object({
    name: z.string(),
    /** Among them who has approved a group of Kubernetes' own. */
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.looseObject({}),
});
export type CustomResourceDefinition = z.infer<typeof definition>;

/** The definitions of Certificate, ServiceMonitor, PrometheusRule, TLSRoute and Route: some megabytes, which Go keeps. */
export async function operatorsCrds(): Promise<CustomResourceDefinition[]> {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-crds-" });
  try {
    const all = await Promise.all(
      Object.entries(MODULES).map(async ([module, paths]) => {
        const home = await download(module, folder);
        return await Promise.all(paths.map(async (path) => {
          // Beside its text there may be a template's, in labels, which are left out.
          const { status: _, ...read } = definition.parse(parse(await Deno.readTextFile(join(home, path))));
          return read;
        }));
      }),
    );
    return all.flat();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** @returns where Go has put it */
async function download(module: string, cwd: string): Promise<string> {
  const args = ["mod", "download", "-json", module];
  const { success, stdout, stderr } = await new Deno.Command("go", { args, cwd }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) throw new Error(`go ${args.join(" ")}: ${text(stderr)}${text(stdout)}`);
  return z.object({ Dir: z.string() }).parse(JSON.parse(text(stdout))).Dir;
}
