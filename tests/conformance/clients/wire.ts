import { Buffer } from "node:buffer";
import { eventually, within } from "../../e2e/support/wait.ts";
import type { Column } from "../columns.ts";
import type { Answer } from "../transcript.ts";

/** What an answer may take to come. */
const ANSWER_MS = 15_000;

/** A header block is never larger here. */
const MAX_HEAD_BYTES = 64 << 10;

/** Bytes both ways, as a session needs them. */
export interface BytePipe {
  readonly ended: "closed" | "reset" | undefined;
  /** When something came last. */
  readonly lastMs: number;
  send(bytes: Uint8Array): Promise<void>;
  hand(take: (bytes: Uint8Array) => void): void;
  until(holds: () => boolean, deadlineMs?: number): Promise<boolean>;
  /** Waits for the end of the connection, but no longer than nothing comes for so long. */
  end(quietMs: number): Promise<void>;
  close(): void;
}

/**
 * A TLS connection on which bytes go out exactly as they are given. All that comes is handed on at once, so that nothing that
 * a server says is missed while a case does something else.
 */
export class Wire implements BytePipe, Disposable {
  /** Bytes as they come; what came before this was set is kept for it. */
  #take: ((bytes: Uint8Array) => void) | undefined;
  #held: Uint8Array = new Uint8Array();
  /** How it ended; `undefined` while it is open. A server that closes with our bytes unread resets the connection. */
  ended: "closed" | "reset" | undefined;
  readonly #conn: Deno.TlsConn;
  readonly #reading: Promise<void>;
  /** When something came last. */
  lastMs = performance.now();

  private constructor(conn: Deno.TlsConn) {
    this.#conn = conn;
    this.#reading = this.#read();
  }

  static async open({ port, caCerts }: Column): Promise<Wire> {
    return new Wire(await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts }));
  }

  /** Writes all of it. A server that has gone takes nothing: that shows in what it answers. */
  async send(bytes: Uint8Array | string): Promise<void> {
    const all = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    try {
      for (let at = 0; at < all.length;) at += await this.#conn.write(all.subarray(at));
    } catch (error) {
      if (!isLoss(error)) throw error;
    }
  }

  /** Writes it in pieces, each a TLS record of its own. */
  async sendSplit(bytes: Uint8Array, pieceBytes = 1): Promise<void> {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      await this.send(bytes.subarray(at, at + pieceBytes));
    }
  }

  /** Says that nothing more comes, as `shutdown(SHUT_WR)` does; what the server still sends is read. */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite().catch(() => {});
  }

  /** Reads an HTTP answer whole: of a 101 its head, so that what follows is the session's. */
  async answer(): Promise<Answer> {
    let received: Uint8Array = new Uint8Array();
    const whole = Promise.withResolvers<Answer>();
    const look = () => {
      try {
        const read = readAnswer(received, this.ended !== undefined);
        if (read === undefined) return;
        // At once: what comes from now on is not the answer's.
        this.#take = undefined;
        this.#held = read.rest;
        whole.resolve(read.answer);
      } catch (error) {
        whole.reject(error);
      }
    };
    this.hand((bytes) => {
      received = Buffer.concat([received, bytes]);
      look();
    });
    this.#reading.then(() => this.#take !== undefined && look());
    return await within(ANSWER_MS, "an answer", whole.promise);
  }

  /** Says who takes what comes; first what came already. */
  hand(take: (bytes: Uint8Array) => void): void {
    const held = this.#held;
    this.#held = new Uint8Array();
    this.#take = take;
    if (held.length > 0) take(held);
  }

  /** How many bytes came that nobody has taken yet. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** Waits for something to hold. @returns whether it came to hold in time, or the connection ended before */
  async until(holds: () => boolean, deadlineMs = 10_000): Promise<boolean> {
    const endsAt = performance.now() + deadlineMs;
    return await eventually("", () => {
      if (holds()) return true;
      return this.ended !== undefined || performance.now() > endsAt ? false : undefined;
    }, { deadlineMs: deadlineMs + 1_000, everyMs: 5 });
  }

  /** Waits for the end of the connection, but no longer than nothing comes for so long. */
  async end(quietMs: number, deadlineMs = 20_000): Promise<void> {
    await this.until(() => performance.now() - this.lastMs > quietMs, deadlineMs);
  }

  close(): void {
    try {
      this.#conn.close();
    } catch { /* it was closed */ }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(64 << 10);
    try {
      for (;;) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        this.lastMs = performance.now();
        const bytes = buffer.slice(0, count);
        if (this.#take === undefined) this.#held = Buffer.concat([this.#held, bytes]);
        else this.#take(bytes);
      }
      this.ended = "closed";
    } catch (error) {
      this.ended = error instanceof Deno.errors.UnexpectedEof ? "closed" : "reset";
    }
    this.lastMs = performance.now();
  }
}

function isLoss(error: unknown): boolean {
  return error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted || error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted;
}

/** `undefined` where more is needed. */
function readAnswer(received: Uint8Array, isEnd: boolean): { answer: Answer; rest: Uint8Array } | undefined {
  const bytes = Buffer.from(received.buffer, received.byteOffset, received.length);
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) {
    if (isEnd) throw new Error(`no answer, but ${JSON.stringify(bytes.toString("latin1").slice(0, 200))}`);
    if (bytes.length > MAX_HEAD_BYTES) throw new Error("the answer's head has no end");
    return undefined;
  }
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n");
  const match = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(statusLine);
  if (match === null) throw new Error(`not an HTTP status line: ${statusLine}`);
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  const head = { status: Number(match[1]), reason: match[2]!, headers };
  const body = bytes.subarray(headEnd + 4);
  if (head.status === 101) return { answer: { ...head, body: new Uint8Array() }, rest: body };
  const value = (name: string) => headers.find(([key]) => key.toLowerCase() === name)?.[1];
  const length = value("content-length");
  if (value("transfer-encoding") === "chunked") {
    const read = readChunks(body);
    return read && { answer: { ...head, body: read.body }, rest: read.rest };
  }
  if (length !== undefined) {
    if (body.length < Number(length)) return undefined;
    return {
      answer: { ...head, body: body.subarray(0, Number(length)) },
      rest: body.subarray(Number(length)),
    };
  }
  return isEnd ? { answer: { ...head, body }, rest: new Uint8Array() } : undefined;
}

function readChunks(bytes: Buffer): { body: Uint8Array; rest: Uint8Array } | undefined {
  const chunks: Uint8Array[] = [];
  for (let at = 0;;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const length = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    const end = lineEnd + 2 + length + 2;
    if (bytes.length < end) return undefined;
    if (length === 0) return { body: Buffer.concat(chunks), rest: bytes.subarray(end) };
    chunks.push(bytes.subarray(lineEnd + 2, end - 2));
    at = end;
  }
}
