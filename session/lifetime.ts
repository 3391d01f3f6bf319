import { printable } from "../kube/printable.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { spokenDuration } from "./duration.ts";
import { Keepalive, type KeepaliveLimits, type Party, type Pings } from "./keepalive.ts";
import { type SessionEnd, SessionFailure } from "./stream_event.ts";
import { countWait } from "./write_waits.ts";

export type { Party } from "./keepalive.ts";

/** How long a session may take for what; all in milliseconds. */
export interface SessionLimits extends KeepaliveLimits {
  /** From the upgrade until all expected streams are open; the kubelet gives up at 30 s, without a word. */
  setupTimeoutMs: number;
  /** Without stream data either way. Pings are none: clients send them for as long as they run. */
  idleTimeoutMs: number;
  /**
   * From the upgrade to the end, whatever happens; 0: no limit. Timers of the platform hold 24 days at most.
   * @default {0}
   */
  timeLimitMs?: number;
  /** How long a client is waited for that has been told the end, and for the last words of an upstream that takes nothing more. */
  lingerMs: number;
}

/** How each side of a session is spoken to when there is nothing to say. */
export interface SessionPings {
  client: Pings;
  upstream: Pings;
}

/**
 * Decides how a session ends: the first cause counts. Watches the clock, both sides' signs of life and the gateway's own
 * shutdown, so that every wait in a session has an end.
 */
export class Lifetime implements Disposable {
  readonly client: Keepalive;
  readonly upstream: Keepalive;
  readonly #ended = Promise.withResolvers<SessionEnd>();
  readonly #signal: AbortSignal;
  readonly #idleTimer: ReturnType<typeof setInterval>;
  readonly #setupTimer: ReturnType<typeof setTimeout>;
  readonly #limitTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #lingerMs: number;
  #lastActivityMs = performance.now();
  #end: SessionEnd | undefined;
  /** The upstream takes nothing more: how the session ends unless something else is read from it. */
  #deaf: { end: SessionEnd; timer: ReturnType<typeof setTimeout> } | undefined;

  /** @param signal aborted when the gateway can keep the session no longer; a `SessionFailure` as its reason says how it ends */
  constructor(
    limits: SessionLimits,
    signal: AbortSignal,
    pings: SessionPings,
  ) {
    const { setupTimeoutMs, idleTimeoutMs, timeLimitMs = 0, lingerMs } = limits;
    this.#signal = signal;
    this.#lingerMs = lingerMs;
    this.client = new Keepalive("client", pings.client, limits, (thrown) => this.fail("client", thrown));
    // An upstream that is not read may have said all and closed. What it gets then makes TCP drop all that is still to be read.
    const mute = { ...limits, probeMs: 0 };
    this.upstream = new Keepalive(
      "upstream",
      pings.upstream,
      mute,
      (thrown) => this.fail("upstream", thrown),
    );
    const message = "timed out waiting for the client's streams";
    this.#setupTimer = setTimeout(
      () => this.end({ reason: "setup_timeout", by: "gateway", message }),
      setupTimeoutMs,
    );
    this.#idleTimer = setInterval(() => {
      if (performance.now() - this.#lastActivityMs < idleTimeoutMs) return;
      this.end({
        reason: "idle_limit",
        by: "gateway",
        message: `nothing was sent either way for ${spokenDuration(idleTimeoutMs)}`,
      });
    }, Math.max(10, Math.min(10_000, idleTimeoutMs / 4)));
    if (timeLimitMs > 0) {
      const message = `the session reached its time limit of ${spokenDuration(timeLimitMs)}`;
      this.#limitTimer = setTimeout(
        () => this.end({ reason: "time_limit", by: "gateway", message }),
        timeLimitMs,
      );
    }
    signal.addEventListener("abort", this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  /** Resolves once, with the first cause. */
  get ended(): Promise<SessionEnd> {
    return this.#ended.promise;
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** Stream data moved, or a stream opened, either way: the idle clock starts again. */
  touch(): void {
    this.#lastActivityMs = performance.now();
    this.client.moved();
    this.upstream.moved();
  }

  /** All expected streams are open. */
  setUp(): void {
    clearTimeout(this.#setupTimer);
  }

  end(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    if (this.#deaf !== undefined && end.reason === "upstream_closed") end = this.#deaf.end;
    // Clients show it as it comes, and it may quote what a peer has sent.
    this.#end = { ...end, message: printable(end.message) };
    this.client[Symbol.dispose]();
    this.upstream[Symbol.dispose]();
    this.#ended.resolve(this.#end);
  }

  /** Ends the session for what was thrown while reading or writing for `party`. */
  fail(party: Party, thrown: unknown): void {
    if (thrown instanceof UpstreamDeaf) return this.#endOnceRead(thrown.end);
    if (thrown instanceof SessionFailure) return this.end(thrown.end);
    if (thrown instanceof ProtocolError) {
      const where = thrown.frame === undefined ? "" : ` in its frame ${thrown.frame}`;
      const message = `the ${party} broke the protocol${where}: ${thrown.message} (${thrown.code})`;
      return this.end({ reason: "protocol_error", by: party, message });
    }
    this.end({ reason: "gateway_error", by: "gateway", message: "the gateway failed", cause: thrown });
  }

  /**
   * Whoever is done says so and closes, and what reaches it after that breaks the connection: but only the way there. What it
   * said, how the command ended above all, is still to be read, so that whoever reads finds the end.
   */
  #endOnceRead(end: SessionEnd): void {
    if (this.isOver || this.#deaf !== undefined) return;
    this.upstream[Symbol.dispose]();
    this.#deaf = { end, timer: setTimeout(() => this.end(end), this.#lingerMs) };
  }

  readonly #onAbort = () => {
    const { reason } = this.#signal;
    if (reason instanceof SessionFailure) return this.end(reason.end);
    this.end({ reason: "gateway_draining", by: "gateway", message: "the gateway is shutting down" });
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#setupTimer);
    clearInterval(this.#idleTimer);
    clearTimeout(this.#limitTimer);
    clearTimeout(this.#deaf?.timer);
    this.client[Symbol.dispose]();
    this.upstream[Symbol.dispose]();
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

/** Thrown where the upstream takes nothing more. What it said before may still be read. */
class UpstreamDeaf extends SessionFailure {}

/** A connection whose loss is named: what it throws says which party vanished. */
export class GuardedConnection implements ByteConnection {
  readonly #connection: ByteConnection;
  readonly #party: Party;

  constructor(connection: ByteConnection, party: Party) {
    this.#connection = connection;
    this.#party = party;
  }

  async read(): Promise<Uint8Array | null> {
    try {
      return await this.#connection.read();
    } catch (cause) {
      throw this.#lost(cause);
    }
  }

  get headroomBytes(): number {
    return this.#connection.headroomBytes ?? 0;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const startMs = performance.now();
    try {
      await this.#connection.write(bytes);
    } catch (cause) {
      const lost = this.#lost(cause);
      const isDeaf = this.#party === "upstream" && lost instanceof SessionFailure;
      throw isDeaf ? new UpstreamDeaf(lost.end, { cause }) : lost;
    } finally {
      countWait(this.#party, startMs);
    }
  }

  async endWrites(): Promise<void> {
    await this.#connection.endWrites?.().catch(() => {}); // whoever reads notices that it is lost
  }

  close(): void {
    this.#connection.close();
  }

  #lost(cause: unknown): Error {
    const party = this.#party;
    // An upstream may have a wire of its own below what is spliced: that it was broken is no loss.
    if (party === "upstream" && cause instanceof ProtocolError) return cause;
    const reason = `${party}_vanished` as const;
    return new SessionFailure({ reason, by: party, message: `the connection to the ${party} was lost` }, {
      cause,
    });
  }
}

/** Waits for `work`, but no longer than `ms`. Never throws. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work.catch(() => {}), timeout]);
  clearTimeout(timer);
}
