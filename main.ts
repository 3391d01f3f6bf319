import { randomUUID } from "node:crypto";
import { refusalEvent, retentionEvent } from "./audit/event.ts";
import type { Journal } from "./audit/journal.ts";
import { openCommandMask } from "./audit/argv/open_command_mask.ts";
import { openJournal } from "./audit/open_journal.ts";
import { StrangerLimit } from "./audit/stranger_limit.ts";
import { CatalogFeed } from "./catalog/catalog_feed.ts";
import { readEventFiles } from "./catalog/event_files.ts";
import { LateCatalog } from "./catalog/late_catalog.ts";
import { openCatalog } from "./catalog/open_catalog.ts";
import { ConfigurationError } from "./config/fault.ts";
import type { Configuration } from "./config/gateway_configuration.ts";
import { loadConfiguration } from "./config/load.ts";
import { KubeClient } from "./kube/client.ts";
import { CredentialSource } from "./kube/credentials.ts";
import { inClusterConnection, KubeconfigError, readKubeconfig } from "./kube/kubeconfig.ts";
import { createLogger, type Logger } from "./log/logger.ts";
import { trustOnlyNamed } from "./named_authorities.ts";
import { BUILD } from "./observability/build.ts";
import { GatewayMetrics } from "./observability/gateway_metrics.ts";
import { openAdmin } from "./open_admin.ts";
import { openGate } from "./open_gate.ts";
import { Recordings } from "./recording/recordings.ts";
import { RetentionSweeper } from "./recording/retention/retention_sweeper.ts";
import { createApp } from "./routes/app.ts";
import { Readiness } from "./routes/readiness.ts";
import { settleLostSessions } from "./routes/lost_sessions.ts";
import type { BadRequest } from "./server/bad_request.ts";
import { GatewayServer } from "./server/gateway_server.ts";
import { atMost } from "./session/lifetime.ts";
import { openSocketTuner, type SocketTuner } from "./server/no_delay.ts";

/** How often sessions of gateways that are gone are looked for, in milliseconds. */
const SETTLE_EVERY_MS = 600_000;

/** How often it is looked for connections whose other end is cut off, in milliseconds. */
const LOOK_EVERY_MS = 5_000;

const TRUSTS_OTHERS_MESSAGE =
  "public certificate authorities are trusted besides those that are configured: " +
  "the permission for DENO_TLS_CA_STORE, DENO_CERT and NODE_EXTRA_CA_CERTS is missing (--allow-env)";

/** How long is waited at the end for what can as well be done by the next start, in milliseconds. */
const LEAVE_UNDONE_MS = 5_000;

/**
 * `main.ts --config FILE`: serves until SIGTERM or SIGINT, then drains; a second signal ends what would be waited for.
 * Returns the exit code.
 */
export async function main(args: readonly string[]): Promise<number> {
  // Before anything else runs: afterwards nothing in this process can load a library any more.
  const tuner = openSocketTuner();
  const trustsOnlyNamed = trustOnlyNamed();
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
  if (!trustsOnlyNamed) log.warn(TRUSTS_OTHERS_MESSAGE);
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
  const { kubernetes, server: { tls, address, port, limits, ...shutdown } } = configuration;
  const connection = kubernetes.kubeconfig === undefined
    ? inClusterConnection()
    : await readKubeconfig(kubernetes.kubeconfig, kubernetes.context);
  const credentials = new CredentialSource(connection);
  await credentials.current(); // what cannot be read is told now, and not to the first user
  using metrics = new GatewayMetrics(BUILD);
  using client = new KubeClient({
    server: connection.server,
    credentials,
    timeoutMs: kubernetes.requestTimeoutSeconds * 1000,
    onTrouble: (trouble) => metrics.upstreamFailed("apiserver", trouble),
  });
  const sinks = await openJournal(
    configuration.audit,
    (sink, cause) => log.error("audit sink failed", { sink, cause }),
  );
  const index = openIndex(configuration, log);
  const written = index === undefined ? sinks : feeding(index.feed, sinks);
  const journal = new StrangerLimit(written, configuration.audit.strangers, {
    report: (message, cause) => log.error(message, { cause }),
  });
  const recordings = await Recordings.open(
    configuration.recording,
    () => Deno.hostname(),
    (message, cause, auditId) => log.error(message, { auditId, cause }),
  );
  const commandMask = await openCommandMask(configuration.audit.argv);
  const { gate, caches } = openGate({
    ...{ configuration, log, connection, client, commandMask, journal, recordings, metrics },
    catalog: index?.catalog,
  });
  const readiness = new Readiness();
  const handler = createApp(gate, readiness);
  const front = await GatewayServer.listen({ address, port, tls, limits }, handler, {
    tuner,
    onBadRequest: (bad) => {
      metrics.badRequest(bad.code);
      recordBadRequest(journal, log, bad);
    },
    report: (message, cause) => log.warn(message, { cause }),
  });
  log.info("listening", {
    address: front.address.hostname,
    port: front.address.port,
    apiServer: connection.server,
  });
  const subjects = {
    ...{ client, journal, recordings, readiness, metrics, caches, front, log },
    index: index?.feed,
  };
  const admin = openAdmin(configuration, subjects);
  const stopLooking = endUnanswered(tuner, configuration.sessions.silenceTimeoutSeconds * 1000, log);
  const stopSettling = settleFromTimeToTime(recordings, journal, log);
  const sweeper = new RetentionSweeper(() => recordings.archive, configuration.recording.retention, {
    announce: (deletions) =>
      journal.append(deletions.map((deletion) => retentionEvent(deletion, randomUUID()))),
    report: (message, cause) => log.error(message, { cause }),
  });
  sweeper.start();
  const { first, hurry } = hearSignals();
  const signal = await first;
  const { drainTimeoutSeconds, shutdownDelaySeconds } = shutdown;
  log.info("draining", { signal, seconds: drainTimeoutSeconds });
  const stopLeaving = leave(readiness, shutdownDelaySeconds * 1000, hurry);
  await front.drain(drainTimeoutSeconds * 1000, { leastMs: shutdownDelaySeconds * 1000, hurry });
  stopLeaving();
  stopLooking();
  await stopSettling();
  await atMost(LEAVE_UNDONE_MS, sweeper.close());
  await recordings.close();
  await journal.close();
  await index?.feed.close();
  await index?.catalog.close();
  await admin?.close();
  log.info("stopped");
  return 0;
}

/** Says that nobody should be led here any more, and takes for `delayMs` who is all the same. @returns how to stop waiting */
function leave(readiness: Readiness, delayMs: number, hurry: AbortSignal): () => void {
  const drain = () => readiness.drain();
  if (delayMs === 0) drain();
  else readiness.leave();
  const timer = setTimeout(drain, delayMs);
  hurry.addEventListener("abort", drain, { once: true });
  return () => {
    clearTimeout(timer);
    drain();
  };
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

/**
 * Ends connections whose other end is cut off while something is sent to it: pings find out only of who is still.
 *
 * @param silenceMs 0: never
 * @returns how to stop
 */
function endUnanswered(tuner: SocketTuner | undefined, silenceMs: number, log: Logger): () => void {
  if (tuner === undefined || silenceMs === 0) return () => {};
  const timer = setInterval(() => {
    const count = tuner.abortUnanswered(silenceMs);
    if (count > 0) log.warn("connections were ended whose other end is cut off", { count });
  }, Math.min(LOOK_EVERY_MS, silenceMs));
  return () => clearInterval(timer);
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
    await atMost(LEAVE_UNDONE_MS, running);
  };
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

/** Hears SIGTERM and SIGINT: `first` resolves with the first of them, and `hurry` is aborted by the next. */
function hearSignals(): { first: Promise<Deno.Signal>; hurry: AbortSignal } {
  const { promise: first, resolve } = Promise.withResolvers<Deno.Signal>();
  const controller = new AbortController();
  let heard = 0;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      if (++heard > 1) controller.abort();
      resolve(signal);
    });
  }
  return { first, hurry: controller.signal };
}

function fail(message: string, code: number): number {
  Deno.stderr.writeSync(new TextEncoder().encode(`${message}\n`));
  return code;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
