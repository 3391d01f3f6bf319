import { type GoJson, membersNamed, parseGoJson } from "./go_json.ts";

/** Largest status document that is read, in bytes. Who gathers one stops there. */
export const MAX_STATUS_DOCUMENT_BYTES = 64 * 1024;

/** A failure other than an exit code, in the fields of a `metav1.Status`. */
export interface Failure {
  message: string;
  /** As `metav1.StatusReason` spells it; left out where unknown. */
  reason?: string;
  details?: FailureDetails;
  /** HTTP status code. */
  code?: number;
}

/** The part of `metav1.StatusDetails` that failures of a session use. */
export interface FailureDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: readonly { reason?: string; message?: string; field?: string }[];
  retryAfterSeconds?: number;
}

/** How a command ended, as a Go client reads it from a status document. */
export type CommandEnd =
  /** Exit code 0. No bytes at all read as this too: who cuts a session without a document reports success (E-66). */
  | { type: "success" }
  /** `text` is what the client prints, `message` what the document said. */
  | { type: "exit"; exitCode: number; text: string; message: string }
  | { type: "failure"; message: string; reason?: string; code?: number }
  /** Not a document that a client can read; `message` is its error. */
  | { type: "malformed"; message: string };

/** `{"metadata":{},"status":"Success"}`: exit code 0, or the end of an attach (E-59). */
export function successDocument(): Uint8Array {
  return encode({ metadata: {}, status: "Success" });
}

/**
 * A non-zero exit.
 *
 * @param exitCode 1..255
 * @param text what a runtime adds; by default what an API server says over v5 (E-96)
 */
export function exitCodeDocument(
  exitCode: number,
  text = `command terminated with exit code ${exitCode}`,
): Uint8Array {
  return failureDocument({
    message: `command terminated with non-zero exit code: ${text}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  });
}

/** A failure of the machinery: `InternalError`, 500. `text` is for the client, and holds no secret. */
export function internalErrorDocument(text: string): Uint8Array {
  return failureDocument({
    message: `Internal error occurred: ${text}`,
    reason: "InternalError",
    details: { causes: [{ message: text }] },
    code: 500,
  });
}

/** The command could not be started. */
export function execFailureDocument(text: string): Uint8Array {
  return internalErrorDocument(`error executing command in container: ${text}`);
}

/** Any failure. Fields stand in the order of Go's struct; those that are absent are left out. */
export function failureDocument({ message, reason, details, code }: Failure): Uint8Array {
  const { name, group, kind, uid, causes, retryAfterSeconds } = details ?? {};
  return encode({
    metadata: {},
    status: "Failure",
    message: message || undefined,
    reason: reason || undefined,
    details: details && {
      name,
      group,
      kind,
      uid,
      causes: causes?.map(({ reason, message, field }) => ({ reason, message, field })),
      retryAfterSeconds,
    },
    code: code || undefined,
  });
}

/**
 * Reads a status document by the rules of Go clients (E-60, E-67). Never throws.
 *
 * @param bytes everything that the error stream carried, up to its end
 */
export function parseStatusDocument(bytes: Uint8Array): CommandEnd {
  if (bytes.length === 0) return { type: "success" };
  if (bytes.length > MAX_STATUS_DOCUMENT_BYTES) return malformed("status document is too long");
  try {
    return readEnd(parseGoJson(bytes));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return malformed(`${error.message} in ${JSON.stringify(new TextDecoder().decode(bytes))}`);
  }
}

/** The end as v1 to v3 tell it: nothing on success, otherwise plain text (E-59). */
export function toTextStatus(end: CommandEnd): Uint8Array {
  return new TextEncoder().encode(end.type === "success" ? "" : end.message);
}

function readEnd(document: GoJson): CommandEnd {
  if (document.type !== "object" && document.type !== "null") throw mismatch(document, "v1.Status");
  const status = text(document, "status");
  const message = text(document, "message");
  const reason = text(document, "reason");
  const code = integer(document, "code");
  const details = last(document, "details");
  if (details !== undefined && details.type !== "object") throw mismatch(details, "v1.StatusDetails");
  const causes = details && readCauses(details);

  if (status === "Success") return { type: "success" };
  if (status !== "Failure") return malformed("unknown error");
  if (reason === "NonZeroExitCode") return readExitCode(message, details !== undefined, causes ?? []);
  return { type: "failure", message, ...(reason !== "" && { reason }), ...(code !== 0 && { code }) };
}

interface Cause {
  reason: string;
  message: string;
}

function readCauses(details: GoJson): Cause[] {
  const causes = last(details, "causes");
  if (causes === undefined) return [];
  if (causes.type !== "array") throw mismatch(causes, "[]v1.StatusCause");
  return causes.items.map((cause) => {
    if (cause.type !== "object" && cause.type !== "null") throw mismatch(cause, "v1.StatusCause");
    return { reason: text(cause, "reason"), message: text(cause, "message") };
  });
}

function readExitCode(message: string, hasDetails: boolean, causes: readonly Cause[]): CommandEnd {
  if (!hasDetails) return malformed("details must be set");
  const cause = causes.find(({ reason }) => reason === "ExitCode");
  if (!cause) return malformed("no ExitCode cause given");
  const exitCode = Number(cause.message);
  if (!/^[0-9]+$/.test(cause.message) || exitCode > 255) {
    return malformed(`invalid exit code value ${JSON.stringify(cause.message)}`);
  }
  return { type: "exit", exitCode, text: `command terminated with exit code ${exitCode}`, message };
}

/** A string field by Go's rules: absent is `""`, `null` changes nothing, the last one wins. */
function text(value: GoJson, name: string): string {
  let text = "";
  for (const found of membersNamed(value, name)) {
    if (found.type === "null") continue;
    if (found.type !== "string") throw mismatch(found, "string");
    text = found.value;
  }
  return text;
}

function integer(value: GoJson, name: string): number {
  let integer = 0;
  for (const found of membersNamed(value, name)) {
    if (found.type === "null") continue;
    if (found.type !== "number" || !/^-?[0-9]{1,10}$/.test(found.source)) throw mismatch(found, "int32");
    integer = Number(found.source);
    if (integer !== (integer | 0)) throw mismatch(found, "int32");
  }
  return integer;
}

/** The last member of that name, unless it is `null`: that empties a pointer or a slice. */
function last(value: GoJson, name: string): GoJson | undefined {
  const found = membersNamed(value, name).at(-1);
  return found?.type === "null" ? undefined : found;
}

function mismatch(value: GoJson, type: string): SyntaxError {
  return new SyntaxError(`json: cannot unmarshal ${value.type} into Go value of type ${type}`);
}

function malformed(what: string): CommandEnd {
  return { type: "malformed", message: `error stream protocol error: ${what}` };
}

/** JSON as Go writes it, without a line end: `<`, `>`, `&` and the two line separators are escaped (E-72). */
function encode(document: unknown): Uint8Array {
  const json = JSON.stringify(
    document,
    (_, value) => typeof value === "string" ? value.toWellFormed() : value,
  );
  return new TextEncoder().encode(json.replace(/[<>&\u2028\u2029]/g, escape));
}

function escape(character: string): string {
  return "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");
}
