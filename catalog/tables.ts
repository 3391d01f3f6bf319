import { z } from "zod";

/**
 * What the index keeps, described once: the types that callers see, and the columns behind them. What a migration creates is
 * held against this by a test.
 */

/** How a value stands in a database. `list` is JSON in a text. */
export type ColumnType = "text" | "integer" | "boolean" | "list";

/** A value as databases take it. */
export type Cell = string | number | boolean | null;

/** One row, by column. */
export type Cells = Record<string, Cell>;

const text = (description: string) => z.string().optional().meta({ description });
const count = (description: string) => z.int().optional().meta({ description });
const flag = (description: string) => z.boolean().optional().meta({ description });
const list = (description: string) => z.array(z.string()).optional().meta({ description });

/** What every event of a session says alike. */
const facts = {
  username: text("Who authenticated."),
  impersonatedUser: text("As whom the request was made, where that is someone else."),
  sourceIp: text("Where the client is."),
  userAgent: text("What the client calls itself."),
  verb: text("The verb that was authorized."),
  kind: text(
    "`exec`, `attach`, `portforward`, `ephemeralcontainers`, `proxy`; `other` for what is none of them.",
  ),
  namespace: text("The pod's namespace."),
  pod: text("The pod's name."),
  podUid: text("The pod's UID."),
  node: text("The pod's node."),
  container: text("The container; a port-forward has none."),
  containerKind: text("`regular`, `init` or `ephemeral`."),
  image: text("The container's image."),
  argv: list("The command, masked and cut as in the events."),
  tty: flag("Whether a terminal was asked for."),
  stdin: flag("Whether stdin was asked for."),
  protocol: text("What the client speaks."),
  denied: flag("Something in it was forbidden: the session, or a connection."),
  recording: text("Where the recording lies."),
  recordingLink: text("The link of the recording's last block, hexadecimal, where it is whole."),
  recordingError: text("Why the recording is not whole."),
  fallbackOf: text("The audit ID of the refused attempt that this one follows."),
  upstreamAuditId: text("The audit ID of the session in the API server's own log."),
};

const decided = {
  decidedBy: text("`decision`, or `refusal` where the request was forbidden before the policy was asked."),
  decidedAt: text("RFC 3339 with microseconds, UTC."),
  allowed: flag("What the decision was."),
  rule: text("The rule that decided."),
  reason: text("Why, in a sentence."),
  obligations: list("What an allowed session must carry along."),
  privileged: flag("The target is one that the policy guards for cluster-admins."),
};

const opened = {
  openedAt: text("When both sides had switched protocols; RFC 3339 with microseconds, UTC."),
  upstream: text("`host:port`."),
  upstreamProtocol: text("What the gateway speaks there."),
};

const ended = {
  outcome: text("`end` of a session, `response` to a request that is none, or `refusal`."),
  endedAt: text("RFC 3339 with microseconds, UTC."),
  endReason: text("Why a session ended."),
  endedBy: text("`client`, `upstream` or `gateway`."),
  message: text("One sentence, as the client is told it."),
  code: count("HTTP status."),
  exitCode: count("Of the command, 0 to 255."),
  bytesIn: count("From the client to the pod."),
  bytesOut: count("From the pod to the client."),
  durationMs: count("In milliseconds."),
};

/** One session, or one attempt at one. What is not known is left out. */
export const SessionRow = z.object({
  auditId: z.string().meta({ description: "Joins the session with its events and its recording." }),
  startedAt: z.string().meta({ description: "When the request came; RFC 3339 with microseconds, UTC." }),
  ...facts,
  ...decided,
  ...opened,
  ...ended,
});
export type SessionRow = z.infer<typeof SessionRow>;

/** What the policy said, of a session or of a connection in it. */
export const DecisionRow = z.object({
  at: z.string(),
  allowed: z.boolean(),
  rule: text("The rule that decided."),
  reason: text("Why, in a sentence."),
  obligations: list("What an allowed session must carry along."),
});
export type DecisionRow = z.infer<typeof DecisionRow>;

/** What one stream of a command came to. */
export const StreamRow = z.object({
  name: z.string(),
  streamId: count("Its number in the protocol."),
  bytesIn: z.int(),
  bytesOut: z.int(),
  openedAt: z.string(),
  durationMs: z.int(),
  endedBy: text("Who ended it."),
});
export type StreamRow = z.infer<typeof StreamRow>;

/** What one connection of a port-forward came to. */
export const ConnectionRow = z.object({
  requestId: z.string(),
  port: z.int().meta({ description: "In the pod." }),
  bytesIn: z.int(),
  bytesOut: z.int(),
  openedAt: z.string(),
  durationMs: z.int(),
  endedBy: text("Who ended it."),
  error: text("What the client was told on its error stream."),
  denied: z.boolean().meta({ description: "The policy refused it." }),
});
export type ConnectionRow = z.infer<typeof ConnectionRow>;

/** A session with all that is kept of it. */
export const SessionDetail = SessionRow.extend({
  decisions: z.array(DecisionRow),
  streams: z.array(StreamRow),
  connections: z.array(ConnectionRow),
  more: z.boolean().meta({ description: "There are more streams or connections than are listed." }),
});
export type SessionDetail = z.infer<typeof SessionDetail>;

/** A table: its columns by the keys of its rows. */
export interface Table {
  name: string;
  schema: z.ZodObject;
  columns: Readonly<Record<string, { name: string; type: ColumnType }>>;
}

function tableOf(name: string, schema: z.ZodObject): Table {
  const columns = Object.entries(schema.shape).map(([key, type]) =>
    [key, { name: columnOf(key), type: columnTypeOf(type) }] as const
  );
  return { name, schema, columns: Object.fromEntries(columns) };
}

/** `podUid` is `pod_uid`. */
function columnOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function columnTypeOf(type: unknown): ColumnType {
  const plain = type instanceof z.ZodOptional ? type.unwrap() : type;
  if (plain instanceof z.ZodArray) return "list";
  if (plain instanceof z.ZodBoolean) return "boolean";
  return plain instanceof z.ZodString ? "text" : "integer";
}

export const SESSIONS: Table = tableOf("sessions", SessionRow);
export const DECISIONS: Table = tableOf("decisions", DecisionRow);
export const STREAMS: Table = tableOf("streams", StreamRow);
export const CONNECTIONS: Table = tableOf("connections", ConnectionRow);

/** Columns that are merged as one: all of them are from the same event. */
export const UNITS = {
  decided: Object.keys(decided).map(columnOf),
  opened: Object.keys(opened).map(columnOf),
  ended: Object.keys(ended).map(columnOf),
};

/** Columns that are merged one by one. */
export const FACTS: readonly string[] = Object.keys(facts).map(columnOf);

/** A row's cells; `undefined` is null. Databases hold no NUL and no half of a surrogate pair in a text. */
export function toCells(table: Table, row: Readonly<Record<string, unknown>>): Cells {
  return Object.fromEntries(
    Object.entries(table.columns).map(([key, { name }]) => [name, toCell(row[key])]),
  );
}

function toCell(value: unknown): Cell {
  if (value === undefined || value === null) return null;
  if (typeof value === "boolean" || typeof value === "number") return value;
  return typeof value === "string" ? storable(value) : JSON.stringify(value);
}

/** Text as both databases can hold it. */
export function storable(value: string): string {
  return value.replaceAll("\0", "\ufffd").toWellFormed();
}

/**
 * The row that a database gave, as plain values by key; nulls are left out. To be parsed by the table's schema.
 *
 * SQLite has booleans as 0 and 1.
 */
export function fromColumns(table: Table, row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, { name, type }] of Object.entries(table.columns)) {
    const value = row[name];
    if (value === null || value === undefined) continue;
    values[key] = type === "boolean"
      ? value === true || value === 1
      : type === "list"
      ? JSON.parse(String(value))
      : value;
  }
  return values;
}

/** The cells of a row that a database gave. */
export function cellsOf(table: Table, row: Readonly<Record<string, unknown>>): Cells {
  return toCells(table, fromColumns(table, row));
}
