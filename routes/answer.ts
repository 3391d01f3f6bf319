import { safeJson } from "../audit/line.ts";
import { printable } from "../kube/printable.ts";
import { DialError } from "../session/kubelet_dial.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import { Refusal, type Status, toStatus } from "../kube/status.ts";
import type { HeaderLine, Upgrade } from "./handler.ts";
import { NegotiationRefusal } from "./negotiation.ts";

/** How a request that failed is answered, and what the audit says of it. */
export interface Answer {
  code: number;
  /** A `metav1.StatusReason`; empty where the API server gives none. */
  reason: string;
  /** What the client is told, as text. */
  message: string;
  rule?: string;
  headers: readonly HeaderLine[];
  /** Bytes of the body. */
  body: Uint8Array;
  /** What the body says, where an API server refused. */
  status?: Partial<Status>;
  /** A WebSocket refusal in the bytes of Go's server, which clients have been seen to depend on. */
  isRaw: boolean;
}

/** The one place where something thrown becomes an answer. What is no refusal says nothing of itself. */
export function answerOf(thrown: unknown): Answer {
  if (thrown instanceof NegotiationRefusal) {
    const headers: HeaderLine[] = thrown.isRaw ? [...thrown.headers] : [TEXT, ...thrown.headers];
    const { status: code, isRaw } = thrown;
    const message = printable(thrown.message.trim());
    const body = thrown.body.split("\n").map(printable).join("\n");
    return { code, reason: "BadRequest", message, headers, body: utf8(body), isRaw };
  }
  if (thrown instanceof UpstreamRefusal) {
    const { status: code, body } = thrown;
    if (code < 400) return statusAnswer(withoutReason(`invalid upgrade response: status code ${code}`));
    const kept = thrown.headers.filter(([name]) => PASSED_ON.has(name.toLowerCase()));
    const { text, status } = shownWords(body);
    const message = status?.message ?? (text.trim() || `the upstream answered ${code}`);
    const reason = printable(status?.reason ?? "");
    return {
      code,
      reason,
      message,
      headers: kept,
      body: utf8(text),
      isRaw: false,
      ...(status && { status }),
    };
  }
  // As the API server says it: a failure without a reason.
  if (thrown instanceof DialError) return statusAnswer(withoutReason(printable(thrown.message)));
  const status = toStatus(thrown);
  const { rule, headers = {} } = thrown instanceof Refusal ? thrown : {};
  return { ...statusAnswer(status, Object.entries(headers)), ...(rule !== undefined && { rule }) };
}

/** The HTTP response of an answer. */
export function toResponse(answer: Answer, auditId: string, upgrade?: Upgrade): Response {
  if (answer.isRaw && upgrade !== undefined) return upgrade.answerRaw(rawBytes(answer));
  const headers = new Headers([["Audit-Id", auditId], ["Cache-Control", "no-cache, private"]]);
  for (const [name, value] of answer.headers) headers.append(name, value);
  return new Response(answer.body.slice(), { status: answer.code, headers });
}

const JSON_TYPE: HeaderLine = ["Content-Type", "application/json"];
const TEXT: HeaderLine = ["Content-Type", "text/plain; charset=utf-8"];

/** Headers of a kubelet's refusal that say something about its body, or about when to try again. */
const PASSED_ON: ReadonlySet<string> = new Set(["content-type", "retry-after", "x-content-type-options"]);

function statusAnswer(status: Status, headers: readonly HeaderLine[] = []): Answer {
  return {
    code: status.code ?? 500,
    reason: status.reason ?? "",
    message: status.message ?? "",
    headers: [JSON_TYPE, ...headers],
    body: utf8(`${safeJson(status)}\n`),
    isRaw: false,
  };
}

function withoutReason(message: string): Status {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, code: 500 };
}

/**
 * An upstream's words, and the Status among them. Clients show them as they come, so that what a terminal would act on is
 * escaped; other words stay as they are, byte for byte.
 */
function shownWords(body: Uint8Array): { text: string; status?: Partial<Status> } {
  const text = printableLines(new TextDecoder("utf-8", { ignoreBOM: true }).decode(body));
  const status = readStatus(text.trim());
  const message = printableLines(status?.message ?? "");
  if (status === undefined || message === status.message) return { text, ...(status && { status }) };
  const shown = { ...status, message };
  return { text: `${safeJson(shown)}\n`, status: shown };
}

/** As {@linkcode printable}, but lines and tabs stay. */
function printableLines(text: string): string {
  return text.split(/(\r?\n|\t)/).map((part, index) => index % 2 === 0 ? printable(part) : part).join("");
}

/** A Status, where an upstream answered with one: an API server does, a kubelet does not. */
function readStatus(text: string): Partial<Status> | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const value: Partial<Status> = JSON.parse(text);
    return value.kind === "Status" && typeof value.message === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** `golang.org/x/net/websocket` writes its refusals without a length, and closes. */
function rawBytes({ code, headers, body }: Answer): Uint8Array {
  const text: Record<number, string> = { 400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed" };
  const lines = [`HTTP/1.1 ${code} ${text[code]}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  return new Uint8Array([...utf8(`${lines.join("\r\n")}\r\n\r\n`), ...body]);
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
