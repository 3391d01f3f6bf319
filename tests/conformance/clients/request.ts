import type { User } from "../../e2e/support/cluster.ts";
import type { Column } from "../columns.ts";
import { type Answer, answerText } from "../transcript.ts";
import type { Seen } from "../matrix.ts";
import { Wire } from "./wire.ts";

/** A request in the words of its head. */
export interface Request {
  /** @default {"GET"} */
  method?: string;
  /** Path and query, as they are to stand on the wire. */
  target: string;
  /** Whole lines, without their ends. */
  headers?: readonly string[];
  /** Whose token is shown; `null` for none. @default {"root"} */
  user?: Exclude<User, "admin"> | null;
  body?: string;
}

/** Parameters of a session's request; a list is repeated, `undefined` left out. */
export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The key that RFC 6455 takes as its example (1.3): answers to it can be compared. */
const WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ==";

/** The path of a pod's subresource in `default`. */
export function podTarget(pod: string, subresource: string, query: Query | string = ""): string {
  const parameters = typeof query === "string" ? query : queryOf(query);
  return `/api/v1/namespaces/default/pods/${pod}/${subresource}${parameters && `?${parameters}`}`;
}

/** The parameters in the order given. */
export function queryOf(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((each) => [name, each])
  );
  return new URLSearchParams(pairs).toString();
}

/** What opens a SPDY session; each protocol stands in a line of its own, as client-go has it. */
export function spdyUpgrade(...protocols: string[]): string[] {
  return [
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    ...protocols.map((protocol) => `X-Stream-Protocol-Version: ${protocol}`),
  ];
}

/** What opens a WebSocket; the protocols stand in one line, and none at all where there are none. */
export function webSocketUpgrade(...protocols: string[]): string[] {
  return [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${WEBSOCKET_KEY}`,
    ...(protocols.length > 0 ? [`Sec-WebSocket-Protocol: ${protocols.join(", ")}`] : []),
  ];
}

/** Sends a request and reads its answer; the wire is the caller's. */
export async function ask(at: Column, request: Request): Promise<{ wire: Wire; answer: Answer }> {
  const { method = "GET", target, headers = [], user = "root", body } = request;
  const wire = await Wire.open(at);
  const credential = user === null ? [] : [`Authorization: Bearer ${at.tokens.get(user)}`];
  const length = body === undefined ? [] : [`Content-Length: ${body.length}`];
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `Host: 127.0.0.1:${at.port}`,
    ...credential,
    ...headers,
    ...length,
    "",
    body ?? "",
  ];
  try {
    await wire.send(lines.join("\r\n"));
    return { wire, answer: await wire.answer() };
  } catch (error) {
    wire.close();
    throw error;
  }
}

/** The whole of a conversation that is one request and its answer. */
export async function askOnce(at: Column, request: Request): Promise<Seen> {
  const { wire, answer } = await ask(at, request);
  using _ = wire;
  return { answer: answerText(at, answer) };
}
