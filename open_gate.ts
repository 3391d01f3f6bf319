import { createApi } from "./api/api.ts";
import type { CommandMask } from "./audit/argv/argv_mask.ts";
import type { Journal } from "./audit/journal.ts";
import { Authenticator } from "./authz/authenticate.ts";
import { Authorizer } from "./authz/authorize.ts";
import { impersonate } from "./authz/impersonate.ts";
import { decide } from "./authz/policy/decide.ts";
import { ephemeralContainer, guardedAddition } from "./authz/policy/ephemeral_container.ts";
import { checkForwardedPort } from "./authz/policy/forwarded_port.ts";
import { guardedBy, privilegedContainer } from "./authz/policy/privileged_container.ts";
import type { Catalog } from "./catalog/catalog.ts";
import type { Configuration } from "./config/gateway_configuration.ts";
import { parsePortRange } from "./config/port_range.ts";
import { KubeClient } from "./kube/client.ts";
import { CredentialSource } from "./kube/credentials.ts";
import type { Connection } from "./kube/kubeconfig.ts";
import { addressFilter } from "./kube/node_address.ts";
import { NodeCache } from "./kube/node_cache.ts";
import { readPod } from "./kube/read_pod.ts";
import { requireSamePod, resolveTarget } from "./kube/resolve_target.ts";
import type { Logger } from "./log/logger.ts";
import { Recordings } from "./recording/recordings.ts";
import type { ApiGate } from "./routes/api_call.ts";
import type { DebugGate } from "./routes/debug.ts";
import type { Gate } from "./routes/gate.ts";
import type { ProxyGate } from "./routes/proxy.ts";
import { SessionRegistry } from "./routes/session_registry.ts";
import { SessionSlots } from "./routes/session_slots.ts";
import { openApiServer, openKubelet } from "./session/upstream.ts";

/** How long a client is waited for that was told the end of its session, in milliseconds. */
const LINGER_MS = 5_000;

/** What the rooms are made of, once the configuration is known. */
export interface Parts {
  configuration: Configuration;
  log: Logger;
  connection: Connection;
  client: KubeClient;
  commandMask: CommandMask;
  journal: Journal;
  recordings: Recordings;
  /** Of sessions; absent where none is configured. */
  catalog: Catalog | undefined;
}

/** Builds the journey's steps out of the rooms. No rule lives here. */
export function openGate(parts: Parts): Gate & DebugGate & ProxyGate & ApiGate {
  const { configuration, log, client, commandMask, journal, recordings, catalog } = parts;
  const { authentication, authorization, policy, upstream, sessions } = configuration;
  const { kubelet } = upstream;
  const authenticator = new Authenticator(client, authentication);
  const authorizer = new Authorizer(client, authorization);
  const nodes = new NodeCache(client, kubelet.nodeCacheSeconds * 1000);
  const allowedPorts = policy.portForward.allowedPorts.map(parsePortRange);
  const sessionsHere = new SessionRegistry({
    showsStdin: configuration.recording.stdin === "content",
    showsForwarded: configuration.recording.portForward === "content",
  });
  return {
    authenticate: (token, signal) => authenticator.authenticate(token, signal),
    impersonate: (user, headers, signal) => impersonate(authorizer, user, headers, signal),
    resolve: (request, signal) =>
      resolveTarget(client, request, { ...kubelet, ...sessions, nodes }, signal),
    authorizeNodeProxy: (user, name, signal) =>
      authorizer.require(user, {
        verb: "create",
        group: "",
        resource: "nodes",
        subresource: "proxy",
        name,
      }, signal),
    authorize: (user, { namespace, pod: name, subresource }, signal) => {
      const { group } = authorization;
      return authorizer.require(user, {
        verb: "create",
        group,
        resource: "pods",
        subresource,
        namespace,
        name,
      }, signal);
    },
    decide: async (user, { pod, container }, signal) => {
      const input = { pod, container, options: policy.privileged };
      // Only a guarded target is worth the question.
      const isClusterAdmin = guardedBy(input) !== undefined && await authorizer.isClusterAdmin(user, signal);
      return decide([() => privilegedContainer({ ...input, isClusterAdmin })]);
    },
    decideAddition: async (user, addition, signal) => {
      const input = { ...addition, options: policy.privileged };
      const isClusterAdmin = guardedAddition(input) !== undefined &&
        await authorizer.isClusterAdmin(user, signal);
      return decide([() => ephemeralContainer({ ...input, isClusterAdmin })]);
    },
    require: (user, attributes, signal) => authorizer.require(user, attributes, signal),
    isClusterAdmin: (user, signal) => authorizer.isClusterAdmin(user, signal),
    readPod: (namespace, name, signal) => readPod(client, namespace, name, signal),
    forward: (request) => client.forward(request),
    proxies: policy.proxies,
    commandMask,
    journal,
    record: (facts, obligations) =>
      recordings.record(facts, obligations.some(({ type }) => type === "record")),
    open: upstream.mode === "kubelet" ? kubeletOpener(parts) : apiServerOpener(parts),
    limits: {
      setupTimeoutMs: sessions.streamCreationTimeoutSeconds * 1000,
      idleTimeoutMs: sessions.idleTimeoutSeconds * 1000,
      timeLimitMs: sessions.timeLimitSeconds * 1000,
      pingMs: sessions.pingSeconds * 1000,
      silenceMs: sessions.silenceTimeoutSeconds * 1000,
      lingerMs: LINGER_MS,
    },
    forwarding: {
      checkPort: (port) => {
        const decision = checkForwardedPort(port, allowedPorts);
        return decision.allowed ? undefined : decision.reason;
      },
      maxConnections: 1024,
    },
    slots: new SessionSlots(sessions.maxSessions),
    sessions: sessionsHere,
    api: createApi({
      access: (user, attributes, signal) => authorizer.access(user, attributes, signal),
      catalog,
      sessions: sessionsHere,
      store: async () => (await recordings.archive)?.store,
    }),
    report: (message, cause, auditId) => log.error(message, { auditId, cause }),
  };
}

/** Opens sessions at the kubelet of their pod. */
function kubeletOpener({ configuration: { upstream: { kubelet } }, connection, log }: Parts): Gate["open"] {
  const credentials = new CredentialSource(kubeletConnection(connection, kubelet));
  const { serverName, insecureSkipTLSVerify } = kubelet;
  if (insecureSkipTLSVerify) {
    log.warn("kubelets are not verified: whoever stands between can read and change every session");
  }
  const dial = {
    timeoutMs: kubelet.dialTimeoutSeconds * 1000,
    isAllowedAddress: addressFilter(kubelet.allowedAddresses),
  };
  return async ({ target, upstream: request, protocol }, signal) => {
    const { host, port } = target.kubelet;
    const { caCerts, token, clientCertificate } = await credentials.current();
    const endpoint = {
      host,
      port,
      caCerts,
      insecureSkipTLSVerify,
      ...(serverName !== undefined && { serverName }),
      ...(token !== undefined && { token }),
      ...(clientCertificate !== undefined && { clientCertificate }),
    };
    return await openKubelet(endpoint, request, protocol, { ...dial, signal });
  };
}

/** Opens sessions at the API server, and makes sure that it was the pod that was checked before anything passes. */
function apiServerOpener(
  { configuration: { upstream: { apiserver } }, connection, client }: Parts,
): Gate["open"] {
  const { hostname, port } = new URL(connection.server);
  const credentials = new CredentialSource(connection);
  const dial = { timeoutMs: apiserver.dialTimeoutSeconds * 1000, isAllowedAddress: () => true };
  return async ({ target, upstream: request, protocol, auditId, token, rawHeaders }, signal) => {
    const own = await credentials.current();
    const identity = apiserver.identity === "user"
      ? { token, headers: rawHeaders.filter(([name]) => /^impersonate-/i.test(name)) }
      : {
        ...(own.token !== undefined && { token: own.token }),
        ...(own.clientCertificate !== undefined && { clientCertificate: own.clientCertificate }),
      };
    const host = hostname.replace(/^\[|\]$/g, "");
    const endpoint = { host, port: Number(port || 443), caCerts: own.caCerts, auditId, ...identity };
    const { transport } = apiserver;
    const options = { ...dial, transport, lingerMs: LINGER_MS, signal };
    const opened = await openApiServer(endpoint, request, protocol, options);
    try {
      await requireSamePod(client, target, signal);
    } catch (thrown) {
      opened.connection.close();
      throw thrown;
    }
    return opened;
  };
}

/** The gateway's credentials for kubelets: its own for them where it has such, otherwise those for the API server. */
function kubeletConnection(
  connection: Connection,
  kubelet: Configuration["upstream"]["kubelet"],
): Pick<Connection, "ca" | "token" | "clientCertificate"> {
  const { caFile, tokenFile, clientCertificateFile, clientKeyFile } = kubelet;
  const ca = caFile === undefined ? connection.ca : { file: caFile };
  if (clientCertificateFile !== undefined && clientKeyFile !== undefined) {
    return {
      ca,
      token: undefined,
      clientCertificate: { cert: { file: clientCertificateFile }, key: { file: clientKeyFile } },
    };
  }
  if (tokenFile !== undefined) return { ca, token: { file: tokenFile }, clientCertificate: undefined };
  return { ca, token: connection.token, clientCertificate: connection.clientCertificate };
}
