import { journalFault } from "./audit/journal_fault.ts";
import type { Journal } from "./audit/journal.ts";
import type { FeedStatus } from "./catalog/catalog_feed.ts";
import type { Configuration } from "./config/gateway_configuration.ts";
import { apiServerFault } from "./kube/api_server_fault.ts";
import type { KubeClient } from "./kube/client.ts";
import type { Logger } from "./log/logger.ts";
import { adminHandler } from "./observability/admin_handler.ts";
import type { GatewayMetrics, Readings } from "./observability/gateway_metrics.ts";
import { Health } from "./observability/health.ts";
import type { Recordings } from "./recording/recordings.ts";
import type { Readiness } from "./routes/readiness.ts";
import { AdminServer } from "./server/admin_server.ts";
import type { GatewayServer } from "./server/gateway_server.ts";
import { WRITE_WAITS_MS } from "./session/write_waits.ts";

/** What the admin port tells of. */
export interface AdminSubjects {
  client: KubeClient;
  journal: Journal;
  recordings: Recordings;
  readiness: Readiness;
  /** Of the index of sessions, where there is one. */
  index: { status(): FeedStatus } | undefined;
  metrics: GatewayMetrics;
  /** By name. */
  caches: Readonly<Record<string, { hits: number; misses: number }>>;
  front: GatewayServer;
  log: Logger;
}

/** Opens the admin port, where the configuration wants it. @throws {Error} where it cannot be listened on */
export function openAdmin({ admin }: Configuration, subjects: AdminSubjects): AdminServer | undefined {
  if (admin.listener === "off") return undefined;
  const { client, journal, recordings, readiness, index, metrics, caches, front, log } = subjects;
  const readings = (): Readings => ({
    caches,
    sinks: journal.status().sinks,
    recording: recordings.load,
    connections: { live: front.connections, failedHandshakes: front.failedHandshakes },
    writeWaitsMs: WRITE_WAITS_MS,
    isDraining: !readiness.isReady,
  });
  const health = new Health(
    () => readiness.isReady ? undefined : "the gateway is shutting down: new sessions go to another one",
    {
      apiServer: (signal) => apiServerFault(client, signal),
      audit: () => journalFault(journal.status()),
      recording: () => recordings.fault,
    },
    index === undefined ? {} : { spared: { index: () => indexFault(index.status()) } },
  );
  const server = new AdminServer(
    admin,
    adminHandler({ health, metrics: () => metrics.text(readings()) }),
    (message, cause) => log.warn(message, { cause }),
  );
  const { hostname, port } = server.address;
  log.info("the admin port listens", { address: hostname, port });
  return server;
}

/** Why it has not all events is in the log: it may say where the index is, which is for nobody who comes to this port. */
function indexFault({ healthy, lastError }: FeedStatus): string | undefined {
  // Without an error it only catches up.
  return healthy || lastError === undefined
    ? undefined
    : "the index of sessions does not take events; sessions go on without it";
}
