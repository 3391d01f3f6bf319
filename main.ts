import { randomUUID } from "node:crypto";
import { createApi } from "./api/api.ts";
import { refusalEvent, retentionEvent } from "./audit/event.ts";
import type { CommandMask } from "./audit/argv/argv_mask.ts";
import type { Journal } from "./audit/journal.ts";
import { openCommandMask } from "./audit/argv/open_command_mask.ts";
import { openJournal } from "./audit/open_journal.ts";
import { Authenticator } from "./authz/authenticate.ts";
import { Authorizer } from "./authz/authorize.ts";
import { impersonate } from "./authz/impersonate.ts";
import { decide } from "./authz/policy/decide.ts";
import { ephemeralContainer, guardedAddition } from "./authz/policy/ephemeral_container.ts";
import { checkForwardedPort } from "./authz/policy/forwarded_port.ts";
import { guardedBy, privilegedContainer } from "./authz/policy/privileged_container.ts";
import type { Catalog } from "./catalog/catalog.ts";
import { CatalogFeed } from "./catalog/catalog_feed.ts";
import { readEventFiles } from "./catalog/event_files.ts";
import { LateCatalog } from "./catalog/late_catalog.ts";
import { openCatalog } from "./catalog/open_catalog.ts";
import { ConfigurationError } from "./config/fault.ts";
import type { Configuration } from "./config/gateway_configuration.ts";
import { loadConfiguration } from "./config/load.ts";
import { parsePortRange } from "./config/port_range.ts";
import { KubeClient } from "./kube/client.ts";
import { CredentialSource } from "./kube/credentials.ts";
import { type Connection, inClusterConnection, KubeconfigError, readKubeconfig } from "./kube/kubeconfig.ts";
import { addressFilter } from "./kube/node_address.ts";
import { readPod } from "./kube/read_pod.ts";
import { requireSamePod, resolveTarget } from "./kube/resolve_target.ts";
import { createLogger, type Logger } from "./log/logger.ts";
import { Recordings } from "./recording/recordings.ts";
import { RetentionSweeper } from "./recording/retention/retention_sweeper.ts";
import type { ApiGate } from "./routes/api_call.ts";
import { createApp } from "./routes/app.ts";
import type { DebugGate } from "./routes/debug.ts";
import type { Gate } from "./routes/gate.ts";
import type { ProxyGate } from "./routes/proxy.ts";
import { settleLostSessions } from "./routes/lost_sessions.ts";
import { SessionRegistry } from "./routes/session_registry.ts";
import { SessionSlots } from "./routes/session_slots.ts";
import type { BadRequest } from "./server/bad_request.ts";
import { GatewayServer } from "./server/gateway_server.ts";
import { atMost } from "./session/lifetime.ts";
import { openApiServer, openKubelet } from "./session/upstream.ts";
import { openSocketTuner, type SocketTuner } from "./server/no_delay.ts";

/** How often sessions of gateways that are gone are looked for, in milliseconds. */
const SETTLE_EVERY_MS = 600_000;

/** How long a client is waited for that was told the end of its session, in milliseconds. */
const LINGER_MS = 5_000;

/** What the rooms are made of, once the configuration is known. */
interface Parts {
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

/** `main.ts --config FILE`: serves until SIGTERM or SIGINT, then drains. Returns the exit code. */
async function main(args: readonly string[]): Promise<number> {
  // Before anything else runs: afterwards nothing in this process can load a library any more.
  const tuner = openSocketTuner();
  const file = args[0] === "--config" ? args[1] : undefined;
  if (file === undefined || args.length !== 2) return fail("usage: main.ts --config FILE", 2);
  let configuration: Configuration;
  try {
    configuration = await loadConfiguration(file);
  } catch (cause) {
    if (cause instanceof ConfigurationError) return fail(cause.message, 1);
    throw cause;
  }
  const log = createLogger(configuration.log);
  try {
    return await serve(configuration, log, tuner);
  } catch (cause) {
    log.error(cause instanceof KubeconfigError ? cause.message : "the gateway cannot start", { cause });
    return 1;
  }
}

async function serve(
  configuration: Configuration,
  log: Logger,
  tuner: SocketTuner | undefined,
): Promise<number> {
  const { kubernetes, server: { tls, address, port, limits, drainTimeoutSeconds } } = configuration;
  const connection = kubernetes.kubeconfig === undefined
    ? inClusterConnection()
    : await readKubeconfig(kubernetes.kubeconfig, kubernetes.context);
  const credentials = new CredentialSource(connection);
  await credentials.current(); // what cannot be read is told now, and not to the first user
  using client = new KubeClient({
    server: connection.server,
    credentials,
    timeoutMs: kubernetes.requestTimeoutSeconds * 1000,
  });
  const sinks = await openJournal(
    configuration.audit,
    (sink, cause) => log.error("audit sink failed", { sink, cause }),
  );
  const index = openIndex(configuration, log);
  const journal = index === undefined ? sinks : feeding(index.feed, sinks);
  const recordings = await Recordings.open(
    configuration.recording,
    () => Deno.hostname(),
    (message, cause, auditId) => log.error(message, { auditId, cause }),
  );
  const commandMask = await openCommandMask(configuration.audit.argv);
  const gate = openGate({
    ...{ configuration, log, connection, client, commandMask, journal, recordings },
    catalog: index?.catalog,
  });
  const handler = createApp(gate);
  const front = await GatewayServer.listen({ address, port, tls, limits }, handler, {
    tuner,
    onBadRequest: (bad) => recordBadRequest(journal, log, bad),
    report: (message, cause) => log.warn(message, { cause }),
  });
  log.info("listening", {
    address: front.address.hostname,
    port: front.address.port,
    apiServer: connection.server,
  });
  const stopSettling = settleFromTimeToTime(recordings, journal, log);
  const sweeper = new RetentionSweeper(() => recordings.archive, configuration.recording.retention, {
    announce: (deletions) =>
      journal.append(deletions.map((deletion) => retentionEvent(deletion, randomUUID()))),
    report: (message, cause) => log.error(message, { cause }),
  });
  sweeper.start();
  const signal = await nextSignal();
  log.info("draining", { signal, seconds: drainTimeoutSeconds });
  await front.drain(drainTimeoutSeconds * 1000);
  await stopSettling();
  await atMost(LINGER_MS, sweeper.close());
  await recordings.close();
  await journal.close();
  await index?.feed.close();
  await index?.catalog.close();
  log.info("stopped");
  return 0;
}

/** The index of sessions, where one is configured. Whether it answers is no condition of anything but of questions to it. */
function openIndex({ index, audit, recording }: Configuration, log: Logger) {
  if (index.type === "none") return undefined;
  const catalog = new LateCatalog(index.type, async () => {
    const opened = await openCatalog(index);
    if (opened === undefined) throw new TypeError("there is no index");
    return opened;
  });
  const files = audit.sinks.flatMap((sink) => sink.type === "file" ? [sink.path] : []);
  const feed = new CatalogFeed(catalog, {
    name: recording.instance ?? Deno.hostname(),
    // Without files there is nothing to catch up from but by `postern index rebuild`.
    ...(files.length > 0 &&
      { replay: (since) => readEventFiles(files, since === undefined ? {} : { since }) }),
    onChange: ({ healthy, missedEvents, lastError }) =>
      healthy
        ? log.info("the index of sessions has all events")
        : log.warn("the index of sessions is behind", { missedEvents, lastError }),
  });
  return { catalog, feed };
}

/** A journal whose events come to the index too, once the sinks have them. */
function feeding(feed: CatalogFeed, sinks: Journal): Journal {
  return {
    append: async (events) => {
      await sinks.append(events);
      feed.push(events);
    },
    close: () => sinks.close(),
    status: () => sinks.status(),
  };
}

/** Writes the ends of sessions whose gateway died: now, and every few minutes. @returns how to stop */
function settleFromTimeToTime(recordings: Recordings, journal: Journal, log: Logger): () => Promise<void> {
  const report = (message: string, cause: unknown, auditId: string) => log.error(message, { auditId, cause });
  const settle = async () => {
    const archive = await recordings.archive;
    if (archive === undefined) return;
    try {
      const count = await settleLostSessions(archive, { journal, report });
      if (count > 0) log.warn("sessions of a gateway that is gone were settled", { count });
    } catch (cause) {
      log.error("lost sessions could not be settled", { cause });
    }
  };
  let running = settle();
  const timer = setInterval(() => {
    running = running.then(settle);
  }, SETTLE_EVERY_MS);
  return async () => {
    clearInterval(timer);
    await atMost(LINGER_MS, running);
  };
}

/** Builds the journey's steps out of the rooms. No rule lives here. */
function openGate(parts: Parts): Gate & DebugGate & ProxyGate & ApiGate {
  const { configuration, log, client, commandMask, journal, recordings, catalog } = parts;
  const { authentication, authorization, policy, upstream, sessions } = configuration;
  const { kubelet } = upstream;
  const authenticator = new Authenticator(client, authentication);
  const authorizer = new Authorizer(client, authorization);
  const allowedPorts = policy.portForward.allowedPorts.map(parsePortRange);
  const sessionsHere = new SessionRegistry({
    showsStdin: configuration.recording.stdin === "content",
    showsForwarded: configuration.recording.portForward === "content",
  });
  return {
    authenticate: (token, signal) => authenticator.authenticate(token, signal),
    impersonate: (user, headers, signal) => impersonate(authorizer, user, headers, signal),
    resolve: (request, signal) => resolveTarget(client, request, { ...kubelet, ...sessions }, signal),
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

/** What never became a request is written down too. */
function recordBadRequest(journal: Journal, log: Logger, bad: BadRequest): void {
  const facts = {
    auditId: randomUUID(),
    receivedAt: new Date(),
    sourceIps: [bad.remoteAddress],
    requestUri: "",
    verb: "",
  };
  const refusal = { code: bad.code, reason: "BadRequest", message: bad.reason, rule: "http" };
  journal.append([refusalEvent(facts, undefined, refusal)]).catch((cause) =>
    log.error("audit events were lost", { cause })
  );
}

/** Resolves with the first SIGTERM or SIGINT. The second ends the process as if nobody listened. */
function nextSignal(): Promise<Deno.Signal> {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  const signals = ["SIGTERM", "SIGINT"] as const;
  const listeners = signals.map((signal) => [signal, () => resolve(signal)] as const);
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return promise.finally(() => {
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  });
}

function fail(message: string, code: number): number {
  Deno.stderr.writeSync(new TextEncoder().encode(`${message}\n`));
  return code;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
