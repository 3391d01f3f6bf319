import { ProtocolError } from "../protocol/errors.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { type SessionEnd, SessionFailure } from "./stream_event.ts";

/** How long a session may take for what; all in milliseconds. */
export interface SessionLimits {
  /** From the upgrade until all expected streams are open; the kubelet gives up at 30 s, without a word. */
  setupTimeoutMs: number;
  /** Without a byte either way, pings included. */
  idleTimeoutMs: number;
  /** How long a client is waited for that has been told the end. */
  lingerMs: number;
  /**
   * How often a client is spoken to whose stdin nobody takes: it cannot be read then, so nothing else tells that it is gone.
   * @default {10000}
   */
  probeMs?: number;
}

/** Which end of a session. */
export type Party = "client" | "upstream";

/**
 * Decides how a session ends: the first cause counts. Watches the clock and the gateway's own shutdown, so that
 * every wait in a session has an end.
 */
export class Lifetime implements Disposable {
  readonly #ended = Promise.withResolvers<SessionEnd>();
  readonly #signal: AbortSignal;
  readonly #idleTimer: ReturnType<typeof setInterval>;
  readonly #setupTimer: ReturnType<typeof setTimeout>;
  readonly #probeTimer: ReturnType<typeof setInterval>;
  #lastActivityMs = performance.now();
  #end: SessionEnd | undefined;

  /**
   * @param signal aborted when the gateway can keep the session no longer
   * @param probe speaks to the client; called while it is not read
   */
  constructor(limits: SessionLimits, signal: AbortSignal, probe: () => Promise<void>) {
    this.#signal = signal;
    this.#probeTimer = setInterval(() => {
      if (!this.isBlocked || this.isOver) return;
      probe().catch((lost) => this.fail("client", lost));
    }, limits.probeMs ?? 10_000);
    this.#setupTimer = setTimeout(
      () =>
        this.end({
          reason: "setup_timeout",
          by: "gateway",
          message: "timed out waiting for the client's streams",
        }),
      limits.setupTimeoutMs,
    );
    this.#idleTimer = setInterval(() => {
      if (performance.now() - this.#lastActivityMs < limits.idleTimeoutMs) return;
      this.end({ reason: "idle_limit", by: "gateway", message: "the session was idle for too long" });
    }, Math.max(10, Math.min(10_000, limits.idleTimeoutMs / 4)));
    signal.addEventListener("abort", this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  /** Set while what the client sent waits for the upstream to take it. */
  isBlocked = false;

  /** Resolves once, with the first cause. */
  get ended(): Promise<SessionEnd> {
    return this.#ended.promise;
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** Something was said: the idle clock starts again. */
  touch(): void {
    this.#lastActivityMs = performance.now();
  }

  /** All expected streams are open. */
  setUp(): void {
    clearTimeout(this.#setupTimer);
  }

  end(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#ended.resolve(end);
  }

  /** Ends the session for what was thrown while reading or writing for `party`. */
  fail(party: Party, thrown: unknown): void {
    if (thrown instanceof SessionFailure) return this.end(thrown.end);
    if (thrown instanceof ProtocolError) {
      const message = `the ${party} broke the protocol: ${thrown.message} (${thrown.code})`;
      return this.end({ reason: "protocol_error", by: party, message });
    }
    this.end({ reason: "gateway_error", by: "gateway", message: "the gateway failed", cause: thrown });
  }

  readonly #onAbort = () => {
    this.end({ reason: "gateway_draining", by: "gateway", message: "the gateway is shutting down" });
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#setupTimer);
    clearInterval(this.#idleTimer);
    clearInterval(this.#probeTimer);
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

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

  async write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#connection.write(bytes);
    } catch (cause) {
      throw this.#lost(cause);
    }
  }

  close(): void {
    this.#connection.close();
  }

  #lost(cause: unknown): SessionFailure {
    const party = this.#party;
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
