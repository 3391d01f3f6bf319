import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import type { ClientConnection } from "./client_connection.ts";
import type { HeaderAccount } from "./header_budget.ts";

/** How long a client may take for what, in milliseconds. */
export interface StreamDeadlines {
  /** From the first byte of a request to the end of its headers. */
  headerMs: number;
  /** Until the next request begins, or until the next bytes of a body that is read. */
  idleMs: number;
  /** For one write to be taken. */
  stalledWriteMs: number;
}

/** After the last answer on a connection: how long the client may take to close, and how much it may still send. */
export const LINGER = { lingerMs: 500, lingerBytes: 1 << 20 } as const;

/** Chunks up to this size together are copied into one write: a write costs more than the copy. */
const COPY_BELOW_BYTES = 256 * 1024;

/**
 * What is waited for. It decides which deadline holds: none while we are the ones who owe an answer.
 *
 * idle → headers → body → answer → idle; `body` is skipped where there is none.
 */
type Phase = "idle" | "headers" | "body" | "answer";

/**
 * A connection as `node:http` wants to see it, with a clock for everything a client may be slow in.
 *
 * Nothing is read unless the reader asks, and no more than one read ahead; what the client does not take is not
 * written. `encrypted` tells `node:http` that this is TLS.
 */
export class ConnectionStream extends Duplex {
  readonly encrypted = true;
  readonly connection: ClientConnection;
  /** Answers owed: 1, more when the client does not wait for them. */
  owed = 0;
  /** Whether bytes of the answer that is owed may have left. */
  isAnswering = false;
  /** The last request that came in; `complete` tells whether its body did, too. */
  message: { readonly complete: boolean } | undefined;
  /** Requests that came in so far. */
  requests = 0;
  /** The exchange before the next one. They take place one after the other. */
  turn: Promise<void> = Promise.resolve();
  readonly #deadlines: StreamDeadlines;
  readonly #headers: HeaderAccount;
  #phase: Phase = "idle";
  #isReading = false;
  #isReader = true;
  /** Bytes were read that are of a request whose turn has not come. */
  #isHolding = false;
  #readTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Emits `slow` when the headers of a request take too long, `crowded` when there is no room for them; closes by itself
   * on the other deadlines.
   */
  constructor(connection: ClientConnection, deadlines: StreamDeadlines, headers: HeaderAccount) {
    super({ highWaterMark: 64 * 1024, allowHalfOpen: true, emitClose: true });
    this.connection = connection;
    this.#deadlines = deadlines;
    this.#headers = headers;
    // A client that connects says at once what it wants.
    this.#setTimer(deadlines.headerMs, () => this.destroy());
    this.#closing.stream = this;
    destroyOnceClosed(connection, this.#closing);
  }

  /** Whether no request is under way. */
  get isIdle(): boolean {
    return this.owed === 0 && this.#phase === "idle";
  }

  /** The headers of a request are there. */
  headersCame(hasBody: boolean): void {
    this.#enter(hasBody ? "body" : "answer");
  }

  /** The answer is written: the next request may begin. */
  answered(): void {
    this.#enter("idle");
    if (this.owed > 0) return;
    this.#headers.clear();
    if (!this.#isHolding) return;
    this.#isHolding = false;
    void this.#readOnce();
  }

  /** Reads no more. Bytes that were read already and nobody has taken go back to the connection. */
  stopReading(head: Uint8Array): void {
    this.#isReader = false;
    this.#enter("answer");
    const rest: unknown = this.read();
    this.connection.unread(rest instanceof Uint8Array ? Buffer.concat([head, rest]) : head);
  }

  /** Gives the connection away: what happens to this stream does not matter to it any more. */
  release(): ClientConnection {
    this.#isReader = false;
    this.#isReleased = true;
    this.destroy();
    this.message = undefined;
    this.#closing.stream = undefined;
    return this.connection;
  }
  #isReleased = false;
  /** What the connection holds on to for as long as it is open: a session that has taken it over needs no stream. */
  readonly #closing: { stream?: ConnectionStream | undefined } = {};

  /** `node:http` calls it when an answer was the last one. */
  destroySoon(): void {
    this.end();
  }

  override _read(): void {
    if (!this.#isReading && this.#isReader) void this.#readOnce();
  }

  async #readOnce(): Promise<void> {
    this.#isReading = true;
    if (this.#phase === "body") this.#expectBody();
    try {
      const bytes = await this.connection.begin();
      this.#isReading = false;
      if (!this.#isReader) return;
      if (bytes !== null && this.#isOwing()) {
        // They wait for their turn where they are, so that requests sent ahead hold no memory.
        this.#isHolding = true;
        return;
      }
      this.connection.take();
      // A client that has closed its side waits for nothing: HTTP has no half-closed requests.
      if (bytes === null) return void this.destroy();
      if (this.#bytesCame(bytes.length)) this.push(bytes.slice());
    } catch {
      this.#isReading = false;
      if (this.#isReader) this.destroy();
    }
  }

  /** Whether an answer is owed to a request that is there as a whole: what comes then belongs to the next one. */
  #isOwing(): boolean {
    return this.owed > 0 && this.message?.complete !== false;
  }

  /** @returns whether there is room for them */
  #bytesCame(bytes: number): boolean {
    if (this.#phase === "idle") this.#enter("headers");
    if (this.#phase === "body") this.#clearTimer();
    if (this.#phase !== "headers" || this.#headers.add(bytes)) return true;
    this.emit("crowded");
    return false;
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    void this.#writeAll([chunk], done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    void this.#writeAll(together(chunks.map(({ chunk }) => chunk)), done);
  }

  async #writeAll(chunks: readonly Uint8Array[], done: (error?: Error | null) => void): Promise<void> {
    const timer = setTimeout(() => this.destroy(), this.#deadlines.stalledWriteMs);
    try {
      for (const chunk of chunks) await this.connection.write(chunk);
    } catch (thrown) {
      return done(thrown instanceof Error ? thrown : new Error("the write failed"));
    } finally {
      clearTimeout(timer);
    }
    done();
  }

  /** All was written, and nothing more will be. */
  override _final(done: (error?: Error | null) => void): void {
    this.#isReader = false;
    this.#clearTimer();
    void this.connection.closeGracefully(LINGER).then(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#isReader = false;
    this.#clearTimer();
    if (!this.#isReleased) this.connection.close();
    // Whoever has taken the connection over keeps the request for as long.
    const headers = this.#headers;
    void this.connection.closed.then(() => headers.clear());
    done(error);
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#clearTimer();
    if (phase === "idle") this.#setTimer(this.#deadlines.idleMs, () => this.destroy());
    if (phase === "headers") this.#setTimer(this.#deadlines.headerMs, () => this.emit("slow"));
    if (phase === "body" && this.#isReading) this.#expectBody();
  }

  /** Bytes of the body are waited for; not when the reader is the one who is slow. */
  #expectBody(): void {
    this.#setTimer(this.#deadlines.idleMs, () => this.message?.complete || this.destroy());
  }

  #setTimer(ms: number, action: () => void): void {
    this.#clearTimer();
    this.#readTimer = setTimeout(action, ms);
  }

  #clearTimer(): void {
    clearTimeout(this.#readTimer);
    this.#readTimer = undefined;
  }
}

/** A function of its own: what is made where `this` is at hand holds on to it. */
function destroyOnceClosed(
  { closed }: ClientConnection,
  closing: { stream?: ConnectionStream | undefined },
): void {
  void closed.then(() => closing.stream?.destroy());
}

function together(chunks: readonly Uint8Array[]): readonly Uint8Array[] {
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
  return bytes > COPY_BELOW_BYTES ? chunks : [Buffer.concat(chunks)];
}
