/** One metric, as Prometheus knows it. */
export interface Definition {
  /** With the unit, and `_total` where it only grows. */
  name: string;
  type: "counter" | "gauge" | "histogram";
  help: string;
  /** Each has few values, which neither clients nor the cluster can make more of; none names a user, a pod or a namespace. */
  labels?: readonly string[];
  /** Upper bounds of a histogram, in its unit. */
  buckets?: readonly number[];
}

/** From one millisecond, as answers out of memory take, to what clients give up after. */
const SHORT_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Every metric there is: the registry and docs/observability.md are made from this. */
export const DEFINITIONS = {
  buildInfo: {
    name: "postern_build_info",
    type: "gauge",
    help: "1. Which version runs, and the commit that it was built from, where that is known.",
    labels: ["version", "revision"],
  },
  sessionsLive: {
    name: "postern_sessions_live",
    type: "gauge",
    help:
      "Sessions that are open. The kind is exec, attach or portforward, the protocol what the client speaks.",
    labels: ["kind", "protocol"],
  },
  sessionsOpened: {
    name: "postern_sessions_opened_total",
    type: "counter",
    help: "Sessions that were opened: upstream and client have both switched protocols.",
    labels: ["kind", "protocol"],
  },
  sessionsRefused: {
    name: "postern_sessions_refused_total",
    type: "counter",
    help:
      "Requests for a session that were refused: the reason is a Status's, the rule what refused, if it has a name.",
    labels: ["kind", "reason", "rule"],
  },
  sessionsEnded: {
    name: "postern_sessions_ended_total",
    type: "counter",
    help: "Sessions that have ended, by the reason that their last audit event has.",
    labels: ["kind", "reason"],
  },
  sessionDuration: {
    name: "postern_session_duration_seconds",
    type: "histogram",
    help: "How long sessions were open.",
    labels: ["kind"],
    buckets: [0.1, 1, 10, 60, 300, 900, 3600, 14400, 43200],
  },
  sessionSetup: {
    name: "postern_session_setup_seconds",
    type: "histogram",
    help: "From the request to the open upstream, all phases together.",
    labels: ["kind"],
    buckets: SHORT_SECONDS,
  },
  sessionOpen: {
    name: "postern_session_open_seconds",
    type: "histogram",
    help:
      "Time that a request for a session waited for one phase: authenticate, resolve, authorize, decide, record or dial. " +
      "Some run at the same time, so that their sum is more than the whole.",
    labels: ["phase"],
    buckets: SHORT_SECONDS,
  },
  requestsRefused: {
    name: "postern_requests_refused_total",
    type: "counter",
    help: "Other requests that the gateway itself refused. What the API server refuses is not counted.",
    labels: ["reason", "rule"],
  },
  streamBytes: {
    name: "postern_stream_bytes_total",
    type: "counter",
    help: "Bytes on the streams of sessions: in is towards the pod, out towards the client. " +
      "The connections of port-forwards are all called data.",
    labels: ["stream", "direction"],
  },
  backpressure: {
    name: "postern_backpressure_seconds_total",
    type: "counter",
    help:
      "Time that bytes waited because client, upstream or recording did not take them, all sessions together. " +
      "For connections, writes of less than 5 ms are not counted.",
    labels: ["party"],
  },
  cacheHits: {
    name: "postern_cache_hits_total",
    type: "counter",
    help:
      "Questions to the API server that were answered out of memory, or by the answer to somebody who asked the same at once.",
    labels: ["cache"],
  },
  cacheMisses: {
    name: "postern_cache_misses_total",
    type: "counter",
    help: "Questions that the API server had to be asked.",
    labels: ["cache"],
  },
  upstreamErrors: {
    name: "postern_upstream_errors_total",
    type: "counter",
    help:
      "What went wrong with an upstream. Of the apiserver, as the gateway asks it: unreachable, timeout, unauthorized, " +
      "forbidden, throttled, server_error. Of that which a session is opened at: dial, refused, protocol, other.",
    labels: ["upstream", "kind"],
  },
  auditEvents: {
    name: "postern_audit_events_written_total",
    type: "counter",
    help: "Audit events that a sink has, by the sink's type and its place in the configuration.",
    labels: ["sink"],
  },
  auditFailed: {
    name: "postern_audit_events_failed_total",
    type: "counter",
    help:
      "Audit events that a sink did not take. Where the sink is required, what they were about did not happen.",
    labels: ["sink"],
  },
  auditPending: {
    name: "postern_audit_events_pending",
    type: "gauge",
    help: "Audit events that wait for a sink.",
    labels: ["sink"],
  },
  auditLag: {
    name: "postern_audit_lag_seconds",
    type: "gauge",
    help: "Age of the oldest audit event that waits for a sink to say that it has it; 0 where none does. " +
      "A webhook has what is in its spool.",
    labels: ["sink"],
  },
  auditHealthy: {
    name: "postern_audit_sink_healthy",
    type: "gauge",
    help: "1 where a sink's last write went well and none hangs, otherwise 0.",
    labels: ["sink"],
  },
  recordingsOpen: {
    name: "postern_recordings_open",
    type: "gauge",
    help: "Recordings that were begun and have not ended.",
  },
  recordingLag: {
    name: "postern_recording_lag_seconds",
    type: "gauge",
    help: "For how long the session that is furthest ahead of its recording has been so; 0 where none is.",
  },
  connectionsLive: {
    name: "postern_connections_live",
    type: "gauge",
    help: "Connections of clients, TLS handshakes included.",
  },
  handshakesFailed: {
    name: "postern_handshakes_failed_total",
    type: "counter",
    help: "TLS handshakes that clients broke off or took too long for.",
  },
  badRequests: {
    name: "postern_bad_requests_total",
    type: "counter",
    help: "What came in as a request and is none, by the code that it was answered.",
    labels: ["code"],
  },
  draining: {
    name: "postern_draining",
    type: "gauge",
    help: "1 from the signal to end on: nothing new is taken. Otherwise 0.",
  },
  eventLoopLag: {
    name: "postern_event_loop_lag_seconds",
    type: "histogram",
    help: "How late a timer was that is due every 500 ms: for so long nothing else was done either.",
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
  },
  processCpu: {
    name: "process_cpu_seconds_total",
    type: "counter",
    help: "Processor time of the process, user and system.",
  },
  processMemory: {
    name: "process_resident_memory_bytes",
    type: "gauge",
    help: "Memory of the process that is resident.",
  },
  processHeap: {
    name: "process_heap_bytes",
    type: "gauge",
    help: "Memory of the JavaScript heap that is in use.",
  },
  processStart: {
    name: "process_start_time_seconds",
    type: "gauge",
    help: "When the process started, in seconds since 1970.",
  },
} as const satisfies Record<string, Definition>;

/** What metrics are called in the code. */
export type MetricKey = keyof typeof DEFINITIONS;
