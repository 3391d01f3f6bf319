import { type Definition, DEFINITIONS } from "./definitions.ts";

/** docs/observability.md: what is said about the admin port, and a table of all metrics. */
export function reference(): string {
  const definitions: Definition[] = Object.values(DEFINITIONS);
  const rows = definitions.map(({ name, type, labels = [], help }) => {
    const names = labels.map((label) => `\`${label}\``).join(", ");
    return `| \`${name}\` | ${type} | ${names} | ${help.replaceAll("|", "\\|")} |`;
  });
  return INTRODUCTION.replace("METRICS", rows.join("\n"));
}

const INTRODUCTION = `<!-- deno-fmt-ignore-file -->

# Seeing how a gateway does

<!-- Made from observability/ by \`deno task generate\`; change it there. -->

## The admin port

It is off until the configuration opens it, plain HTTP, without credentials, and never the port that clients use:

\`\`\`yaml
admin:
  listener: "on"
  address: 0.0.0.0 # the default, 127.0.0.1, is reached from the same pod only
  port: 9464
\`\`\`

Whoever reaches it learns how many sessions there are, not whose: it names no user, pod or namespace. Keep it to probes and
Prometheus by a NetworkPolicy all the same. It has room for 64 connections; who comes when they are taken is sent away.

| path | answer |
| --- | --- |
| \`/healthz\` | 200 as long as the process answers: for liveness probes |
| \`/readyz\` | 200 \`ok\`, or 503 and a line for each thing that is wrong: for readiness probes, with a timeout of 4 seconds or more |
| \`/readyz?verbose\` | the same as JSON: \`{"ready":false,"checks":[{"name":"apiServer","ok":false,"message":"…"}]}\` |
| \`/metrics\` | the metrics below, in the text format of Prometheus |

What \`/readyz\` asks about; answers hold for one second, and what has not answered within two is down:

| check | it is down when |
| --- | --- |
| \`gateway\` | the gateway was told to end: it says so at once, and live sessions go on until the drain time is over |
| \`apiServer\` | the API server cannot be reached, answers 5xx, or does not accept the gateway's own credentials |
| \`audit\` | the sinks that must have every event do not take them |
| \`recording\` | recordings are required, and one could not be written |
| \`index\` | the index of sessions does not take events. The gateway stays ready (\`"needed":false\`, and a line below \`ok\`): sessions go on without it |

A sink or a recording that failed counts for 30 seconds. Then the gateway is ready again although nothing was tried: no session
comes to one that is not, so whoever comes first tries. Sessions that live are not touched by any of this.

The public port answers \`/readyz\` too, without details, and only says whether the gateway drains.

## Metrics

Each label has few values, whatever clients and upstreams send: what is made up is called \`other\`. A protocol, a reason or a rule
has 64 values at most.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
METRICS

The open sessions of a replica, which it can be scaled by, are \`sum(postern_sessions_live)\`. The metrics that
\`prom-client\` reads of a process are replaced by the four at the end: it reads files under \`/proc\`, which the gateway may not, and its
event loop metrics are of another runtime.

## Traces

The gateway traces with the platform's own OpenTelemetry, which is off until the environment says otherwise, and then costs a third
to half of the rate of short requests:

\`\`\`sh
OTEL_DENO=true OTEL_SERVICE_NAME=postern OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318
\`\`\`

- A request for a session is a span (\`exec\`, \`attach\`, \`portforward\`; every other is \`request\`) from its first byte to the end of the
  session, with a span in it for each phase: \`authenticate\`, \`resolve\`, \`authorize\`, \`decide\`, \`record\`, \`dial\`. What is asked of
  the API server lies below the phase that asks.
- \`traceparent\` and \`tracestate\` of the request are taken up. They are passed on to the API server with every question, and to the
  kubelet or API server that the session is opened at.
- A span's attributes are \`postern.audit_id\`, by which the audit events are found, \`postern.session.kind\`, \`postern.session.protocol\`,
  \`postern.session.end\`, \`postern.refusal.reason\` and \`postern.refusal.rule\`. The gateway puts no user and no token into a span; the
  platform's own spans hold the URLs that are asked for, and so the names of pods and namespaces.
- An answer that several requests share, such as a TokenReview, is traced below the first of them.

## The log

On the standard error, an object a line or, on a terminal, text for people (\`log.format\`: \`auto\`, \`json\`, \`text\`; \`log.level\`). What is about
a request has its \`auditId\`, as the audit events and the client's \`Audit-Id\` header do. Tokens and bytes of sessions are never in it.
`;
