import { FrameEncoder, type PingFrame } from "../protocol/spdy/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import type { Pings } from "./keepalive.ts";

/** Go peers hand pings to five workers in turn, and data to the worker of its stream: all five must have answered. */
const ROUND = 5;

/** Pings of a peer that takes no answers; of more, the oldest are forgotten. Go peers have one under way. */
const MAX_UNANSWERED = 64;

/** Highest ping id of each parity. Nobody counts up to them, and a peer ignores an id of its own kind that it did not send. */
const UNASKED_ID = { server: 0x7fff_ffff, client: 0x7fff_fffe } as const;

/**
 * The pings on one side of a SPDY session, hop by hop: the peer's are answered here, and ours are sent.
 *
 * A question is a round of pings. Ids are even where we are the server and odd where we are the client.
 *
 * @see draft-mbelshe-httpbis-spdy-00, 2.6.5; moby/spdystream connection.go, frame workers and handlePingFrame
 */
export class SpdyPings implements Pings {
  readonly #connection: ByteConnection;
  readonly #role: "server" | "client";
  readonly #encoder = new FrameEncoder();
  #lastId: number;
  #unanswered: number[] = [];
  #isAnswering = false;
  #awaited = new Set<number>();

  constructor(connection: ByteConnection, role: "server" | "client") {
    this.#connection = connection;
    this.#role = role;
    this.#lastId = role === "server" ? 0 : -1;
  }

  async ask(): Promise<void> {
    const ids = Array.from({ length: ROUND }, () => this.#lastId += 2);
    this.#awaited = new Set(ids);
    await this.#send(ids);
  }

  async tell(): Promise<void> {
    await this.#send([UNASKED_ID[this.#role]]);
  }

  /**
   * A ping came. The peer's own is answered without waiting for that: while a peer takes nothing it is heard all the same. An
   * echo of nothing is dropped (E-33).
   *
   * @returns true where it completes the answer to our latest question
   */
  received({ id }: PingFrame): boolean {
    const isOurs = id % 2 === (this.#role === "server" ? 0 : 1);
    if (id === UNASKED_ID[this.#role]) return false; // an echo, after all: to answer it would go on for ever
    if (isOurs) return this.#awaited.delete(id) && this.#awaited.size === 0;
    this.#unanswered.push(id);
    if (this.#unanswered.length > MAX_UNANSWERED) this.#unanswered.shift();
    if (!this.#isAnswering) this.#answer();
    return false;
  }

  async #answer(): Promise<void> {
    this.#isAnswering = true;
    try {
      while (this.#unanswered.length > 0) await this.#send(this.#unanswered.splice(0));
    } catch {
      // Whoever reads from the connection notices that it is lost.
    }
    this.#isAnswering = false;
  }

  /** In one write: no other frame comes between, so each ping of a round goes to another worker. */
  #send(ids: readonly number[]): Promise<void> {
    const [id = 0] = ids;
    // Thousands of idle sessions do nothing but this.
    if (ids.length === 1) return this.#connection.write(this.#encoder.encode({ type: "ping", id }));
    const pings = ids.map((id) => this.#encoder.encode({ type: "ping", id }));
    const bytes = new Uint8Array(pings.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const ping of pings) {
      bytes.set(ping, offset);
      offset += ping.length;
    }
    return this.#connection.write(bytes);
  }
}
