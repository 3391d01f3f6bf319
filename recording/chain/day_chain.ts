import { createHash } from "node:crypto";
import { timestamp } from "../format/document.ts";
import { RecordingError } from "../format/recording_error.ts";
import type { Signer, Verifier } from "../format/signer.ts";

/**
 * The list of all recordings that one gateway began and ended on one day, so that one that is missing is missed: JSON lines,
 * each with the SHA-256 of the line before it, in a file beside the recordings. Signed with the recordings' key.
 *
 * @module
 */

/** What a line says. */
export type ChainEntry =
  /** The first line. `after` is the chain that this gateway wrote before: its path, and the hash of its last line. */
  | { event: "chain"; instance: string; after?: { path: string; line: string } }
  /** The gateway lives, and so do sessions whose recordings have begun: written once a minute for as long as there are any. */
  | { event: "alive" }
  /** A recording's header is durable. */
  | { event: "began"; recording: string; auditId: string }
  /** A recording is whole; `link` is that of its last block, hexadecimal. */
  | { event: "ended"; recording: string; auditId: string; link: string }
  /** A recording broke, or was left behind by a gateway that is gone, and will get no further. */
  | { event: "broke"; recording: string; auditId: string; reason: string }
  /** A recording was deleted on purpose. */
  | { event: "deleted"; recording: string; reason: string };

/** A line of a chain. */
export interface ChainLine {
  /** From 1. */
  n: number;
  /** RFC 3339 with microseconds. */
  at: string;
  /** SHA-256 of the line before, without its newline, hexadecimal; of nothing before the first. */
  before: string;
  entry: ChainEntry;
  /** Of the public key, as in a recording's seal; absent where nothing is signed. */
  key?: string;
  /** Ed25519 over the JSON of this line without this property, base64. */
  signature?: string;
}

/** Entries in, lines out; no file, no clock. */
export class DayChain {
  readonly #signer: Signer | undefined;
  #n = 0;
  #last = lineHash("");

  constructor(signer: Signer | undefined) {
    this.#signer = signer;
  }

  /** Hash of the last line, hexadecimal. */
  get last(): string {
    return this.#last;
  }

  /** The next line, with its newline. It must be written before any further one. */
  add(entry: ChainEntry, atMs: number): string {
    const bare: ChainLine = { n: ++this.#n, at: timestamp(atMs), before: this.#last, entry };
    let line = JSON.stringify(bare);
    if (this.#signer !== undefined) {
      const claimed = { ...bare, key: this.#signer.keyId };
      const signature = this.#signer.sign(new TextEncoder().encode(JSON.stringify(claimed))).toBase64();
      line = JSON.stringify({ ...claimed, signature });
    }
    this.#last = lineHash(line);
    return `${line}\n`;
  }
}

/** What is wrong with a chain, and in which of its lines. */
export interface ChainFault {
  code: "line_invalid" | "gap" | "signature_wrong" | "key_unknown" | "tail_missing";
  /** From 1. */
  line: number;
  message: string;
}

/** Checks one chain file's text: each line's place, and its signature. */
export class DayChainVerifier {
  readonly #verifier: Verifier;
  readonly #entries: ChainEntry[] = [];
  #lastAt = "";
  #last = lineHash("");
  #lines = 0;
  #fault: ChainFault | undefined;
  #held = "";

  /** @param verifier whose signatures count; without keys only the lines' places are checked */
  constructor(verifier: Verifier) {
    this.#verifier = verifier;
  }

  /** What the lines say that are right. */
  get entries(): readonly ChainEntry[] {
    return this.#entries;
  }

  /** Hash of the last line that is right, hexadecimal. */
  get last(): string {
    return this.#last;
  }

  /** When the last line was written that is right: RFC 3339; empty where there is none. */
  get lastAt(): string {
    return this.#lastAt;
  }

  /** @param text the next of the file, cut anywhere between characters */
  push(text: string): void {
    const lines = (this.#held + text).split("\n");
    this.#held = lines.pop() ?? "";
    for (const line of lines) {
      if (this.#fault !== undefined) return;
      this.#line(line);
    }
  }

  /** The file has ended. @returns the first thing that is wrong */
  end(): ChainFault | undefined {
    if (this.#fault === undefined && this.#held !== "") {
      return { code: "tail_missing", line: this.#lines + 1, message: "the last line is cut" };
    }
    return this.#fault;
  }

  #line(text: string): void {
    this.#lines++;
    const fail = (code: ChainFault["code"], message: string) => {
      this.#fault = { code, line: this.#lines, message };
    };
    let line: ChainLine;
    try {
      line = parseLine(text);
    } catch (thrown) {
      if (!(thrown instanceof RecordingError)) throw thrown;
      return fail("line_invalid", thrown.message);
    }
    if (line.n !== this.#lines || line.before !== this.#last) {
      return fail(
        "gap",
        `line ${line.n} does not follow the line before it: lines are missing or were changed`,
      );
    }
    if (!this.#verifier.isEmpty) {
      const { signature, ...claimed } = line;
      if (signature === undefined || line.key === undefined) {
        return fail("signature_wrong", "the line is not signed");
      }
      const bytes = new TextEncoder().encode(JSON.stringify(claimed));
      const isRight = this.#verifier.verify(line.key, bytes, fromBase64(signature));
      if (isRight === undefined) {
        return fail("key_unknown", `signed with a key that is not known: ${line.key}`);
      }
      if (!isRight) return fail("signature_wrong", "the line's signature is wrong");
    }
    this.#last = lineHash(text);
    this.#lastAt = line.at;
    this.#entries.push(line.entry);
  }
}

const EVENTS: ReadonlySet<unknown> = new Set(["chain", "alive", "began", "ended", "broke", "deleted"]);

/** @throws {RecordingError} `payload_invalid` */
function parseLine(text: string): ChainLine {
  const invalid = new RecordingError("payload_invalid", "this is no line of a chain");
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    throw invalid;
  }
  if (!isRecord(line) || !isRecord(line.entry) || !EVENTS.has(line.entry.event)) throw invalid;
  // What is signed and hashed is the text itself: a line that reads back otherwise was not written by us.
  if (JSON.stringify(line) !== text) throw invalid;
  return line as unknown as ChainLine;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function lineHash(line: string): string {
  return createHash("sha256").update(line).digest("hex");
}

/** Nothing for what is not base64 as it is written: some other letters would stand for the same bytes. */
function fromBase64(text: string): Uint8Array {
  try {
    const bytes = Uint8Array.fromBase64(text);
    return bytes.toBase64() === text ? bytes : new Uint8Array();
  } catch {
    return new Uint8Array();
  }
}
