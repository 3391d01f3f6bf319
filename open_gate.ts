import { randomUUID } from "node:crypto";
import { createApi } from "./api/api.ts";
import type { CommandMask } from "./audit/argv/argv_mask.ts";
import { recheckEvent } from "./audit/event.ts";
import type { Journal } from "./audit/journal.ts";
import { Authenticator } from "./authz/authenticate.ts";
import { Authorizer } from "./authz/authorize.ts";
import type { CacheCounts } from "./authz/review_cache.ts";
import { impersonate } from "./authz/impersonate.ts";
import { decide } from "./authz/policy/decide.ts";
import { ephemeralContainer, guardedAddition } from "./authz/policy/ephemeral_container.ts";
import { checkForwardedPort } from "./authz/policy/forwarded_port.ts";
import { guardedBy, privilegedContainer } from "./authz/policy/privileged_container.ts";
import type { Catalog } from "./catalog/catalog.ts";
import type { Configuration } from "./config/gateway_configuration.ts";
import { parsePortRange } from "./config/port_range.ts";
import { KubeClient } from "./kube/client.ts";
import { authorities, CredentialSource } from "./kube/credentials.ts";
import type { Connection } from "./kube/kubeconfig.ts";
import { addressFilter } from "./kube/node_address.ts";
import { NodeCache } from "./kube/node_cache.ts";
import { readPod } from "./kube/read_pod.ts";
import { requireSamePod, resolveTarget } from "./kube/resolve_target.ts";
import { Refusal } from "./kube/status.ts";
import type { Target } from "./kube/target.ts";
import type { Logger } from "./log/logger.ts";
import type { GatewayMetrics } from "./observability/gateway_metrics.ts";
import { JourneyMeter } from "./observability/journey_meter.ts";
import { Recordings } from "./recording/recordings.ts";
import type { ApiGate } from "./routes/api_call.ts";
import type { DebugGate } from "./routes/debug.ts";
import type { AnsweredAgain, Gate, OpenRequest } from "./routes/gate.ts";
import { pinnedDial } from "./routes/pinned_dial.ts";
import type { ProxyGate } from "./routes/proxy.ts";
import { Rechecks } from "./routes/rechecks.ts";
import { SessionRegistry } from "./routes/session_registry.ts";
import { SessionSlots } from "./routes/session_slots.ts";
import { dialKubelet } from "./session/kubelet_dial.ts";
import { ownRefusal } from "./session/own_refusal.ts";
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
  metrics: GatewayMetrics;
}

/** The journey's steps, and how often they were answered out of memory. */
export interface OpenedGate {
  gate: Gate & DebugGate & ProxyGate & ApiGate;
  caches: Readonly<Record<string, CacheCounts>>;
}

/** Builds the journey's steps out of the rooms. No rule lives here. */
export function openGate(parts: Parts): OpenedGate {
  const { configuration, log, client, commandMask, journal, recordings, catalog, metrics } = parts;
  const { authentication, authorization, policy, upstream, sessions } = configuration;
  const { kubelet } = upstream;
  const authenticator = new Authenticator(client, authentication);
  const authorizer = new Authorizer(client, authorization);
  const nodes = new NodeCache(client, kubelet.nodeCacheSeconds * 1000);
  // Where no kubelet is dialled, nobody asks where one is: the gateway needs no right to nodes there.
  const resolving = { ...kubelet, ...sessions, nodes: upstream.mode === "kubelet" ? nodes : undefined };
  const allowedPorts = policy.portForward.allowedPorts.map(parsePortRange);
  if (sessions.recheck === "off") {
    log.warn("live sessions are not asked about again: what is taken from their users stays with them");
  }
  const sessionsHere = new SessionRegistry({
    showsStdin: configuration.recording.stdin === "content",
    showsForwarded: configuration.recording.portForward === "content",
  });
  const gate: OpenedGate["gate"] = {
    ...stepsOf(configuration, authenticator, authorizer),
    resolve: (request, signal) => resolveTarget(client, request, resolving, signal),
    decideAddition: async (user, addition, signal) => {
      const input = { ...addition, options: policy.privileged };
      const isClusterAdmin = guardedAddition(input) !== undefined &&
        await authorizer.isClusterAdmin(user, signal);
      return decide([() => ephemeralContainer({ ...input, isClusterAdmin })]);
    },
    isClusterAdmin: (user, signal) => authorizer.isClusterAdmin(user, signal),
    readPod: (namespace, name, signal) => readPod(client, namespace, name, signal),
    forward: (request) => client.forward(request),
    proxies: policy.proxies,
    commandMask,
    journal,
    record: (facts, obligations) =>
      recordings.record(facts, obligations.some(({ type }) => type === "record")),
    dial: pinnedDial(upstream.mode === "kubelet" ? kubeletDialler(parts, nodes) : apiServerDialler(parts), {
      requireSamePod: (target, signal) => requireSamePod(client, target, signal),
      beginsAtOnce: upstream.mode === "apiserver" && upstream.apiserver.transport !== "spdy",
    }),
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
    ...(sessions.recheck === "on" && { rechecks: openRechecks(parts, authenticator) }),
    api: createApi({
      access: (user, attributes, signal) => authorizer.access(user, attributes, signal),
      catalog,
      sessions: sessionsHere,
      store: async () => (await recordings.archive)?.store,
    }),
    watch: { begin: (request) => new JourneyMeter(metrics, request), streams: metrics.streams },
    report: (message, cause, auditId) => log.error(message, { auditId, cause }),
  };
  const caches = {
    token_reviews: authenticator.cacheCounts,
    access_reviews: authorizer.cacheCounts,
    nodes: nodes.counts,
  };
  return { gate, caches };
}

/** The steps that ask who somebody is and what they may. */
function stepsOf(
  { authorization: { group }, policy }: Configuration,
  authenticator: Authenticator,
  authorizer: Authorizer,
): AnsweredAgain {
  return {
    authenticate: (token, signal) => authenticator.authenticate(token, signal),
    impersonate: (user, headers, signal) => impersonate(authorizer, user, headers, signal),
    authorize: (user, { namespace, pod: name, subresource }, signal) => {
      const attributes = { verb: "create", group, resource: "pods", subresource, namespace, name };
      return authorizer.require(user, attributes, signal);
    },
    authorizeNodeProxy: (user, name, signal) => {
      const attributes = { verb: "create", group: "", resource: "nodes", subresource: "proxy", name };
      return authorizer.require(user, attributes, signal);
    },
    require: (user, attributes, signal) => authorizer.require(user, attributes, signal),
    decide: async (user, { pod, container }, signal) => {
      const input = { pod, container, options: policy.privileged };
      // Only a guarded target is worth the question.
      const isClusterAdmin = guardedBy(input) !== undefined && await authorizer.isClusterAdmin(user, signal);
      return decide([() => privilegedContainer({ ...input, isClusterAdmin })]);
    },
  };
}

/** Asks about live sessions, out of memories of its own: those of the other steps may be older than a quarter of a period. */
function openRechecks(
  { configuration, client, journal, log }: Parts,
  authenticator: Authenticator,
): Gate["rechecks"] {
  const { authentication, kubernetes, sessions } = configuration;
  const { recheckSeconds, recheckGraceSeconds, maxSessions } = sessions;
  const memory = { cacheTtlSeconds: recheckSeconds / 4, cacheEntries: Math.max(4096, maxSessions * 2) };
  const { audiences } = authentication;
  const reviews = { ...memory, audiences, negativeCacheTtlSeconds: memory.cacheTtlSeconds };
  const graceMs = recheckGraceSeconds * 1000;
  const schedule = new Rechecks({
    periodMs: recheckSeconds * 1000,
    graceMs,
    // A request that is not answered has ended by then, so that no more of them pile up than may be sent at once.
    answerMs: (kubernetes.requestTimeoutSeconds + 5) * 1000,
    onChange: (state) => {
      if (state.isAnswered) log.info("live sessions can be asked about again", { ms: state.durationMs });
      else log.error("live sessions cannot be asked about", { graceMs, cause: state.cause });
      const event = recheckEvent(state.isAnswered ? state : { ...state, graceMs }, randomUUID());
      journal.append([event]).catch((cause) => log.error("audit events were lost", { cause }));
    },
  });
  const steps = stepsOf(configuration, new Authenticator(client, reviews), new Authorizer(client, memory));
  const authenticate: AnsweredAgain["authenticate"] = async (token, signal) => {
    try {
      return await steps.authenticate(token, signal);
    } catch (thrown) {
      // Whoever comes again with it is asked about, too.
      if (thrown instanceof Refusal && thrown.reason === "Unauthorized") authenticator.forget(token);
      throw thrown;
    }
  };
  return { schedule, steps: { ...steps, authenticate } };
}

/** Opens sessions at the kubelet of their pod. */
function kubeletDialler(
  { configuration: { upstream: { kubelet } }, connection, log }: Parts,
  nodes: NodeCache,
): Gate["dial"] {
  const credentials = new CredentialSource(kubeletConnection(connection, kubelet));
  const { serverName, insecureSkipTLSVerify } = kubelet;
  if (insecureSkipTLSVerify) {
    log.warn("kubelets are not verified: whoever stands between can read and change every session");
  }
  const dial = {
    timeoutMs: kubelet.dialTimeoutSeconds * 1000,
    isAllowedAddress: addressFilter(kubelet.allowedAddresses),
  };
  const endpointOf = async ({ kubelet: found }: Target) => {
    if (found === undefined) throw new TypeError("a kubelet is dialled that was not looked for");
    const { host, port } = found;
    const { caCerts, token, clientCertificate } = await credentials.current();
    return {
      host,
      port,
      caCerts,
      insecureSkipTLSVerify,
      ...(serverName !== undefined && { serverName }),
      ...(token !== undefined && { token }),
      ...(clientCertificate !== undefined && { clientCertificate }),
    };
  };
  return (target, signal) => {
    const dialling = (async () => {
      const endpoint = await endpointOf(target);
      return { endpoint, connection: await dialKubelet(endpoint, { ...dial, signal }) };
    })();
    // Told to whoever opens a session on it. The node may have another address by now.
    dialling.catch(() => nodes.forget(target.nodeName));
    return {
      open: async ({ upstream: request, protocol, traceHeaders }) => {
        const { endpoint, connection } = await dialling;
        const options = { ...dial, signal, connection };
        return await openKubelet(endpoint, request, protocol, options, traceHeaders).catch((thrown) => {
          throw ownRefusal(thrown, "the kubelet");
        });
      },
      abandon: () => void dialling.then(({ connection }) => connection.close(), () => {}),
    };
  };
}

/** Opens sessions at the API server. */
function apiServerDialler(
  { configuration: { upstream: { apiserver } }, connection }: Parts,
): Gate["dial"] {
  const { hostname, port } = new URL(connection.server);
  const credentials = new CredentialSource(connection);
  const dial = { timeoutMs: apiserver.dialTimeoutSeconds * 1000, isAllowedAddress: () => true };
  const open = async (
    { upstream: request, protocol, auditId, token, rawHeaders, traceHeaders }: OpenRequest,
    signal: AbortSignal,
  ) => {
    const own = await credentials.current();
    const identity = apiserver.identity === "user"
      ? { token, headers: [...rawHeaders.filter(([name]) => /^impersonate-/i.test(name)), ...traceHeaders] }
      : {
        ...(own.token !== undefined && { token: own.token }),
        ...(own.clientCertificate !== undefined && { clientCertificate: own.clientCertificate }),
        headers: traceHeaders,
      };
    const host = hostname.replace(/^\[|\]$/g, "");
    const endpoint = {
      host,
      port: Number(port || 443),
      caCerts: authorities(own.caCerts),
      auditId,
      ...identity,
    };
    const { transport } = apiserver;
    const options = { ...dial, transport, lingerMs: LINGER_MS, signal };
    return await openApiServer(endpoint, request, protocol, options).catch((thrown) => {
      throw apiserver.identity === "gateway" ? ownRefusal(thrown, "the API server") : thrown;
    });
  };
  return (_target, signal) => ({ open: (request) => open(request, signal), abandon: () => {} });
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
