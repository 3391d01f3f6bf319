import { randomBytes } from "node:crypto";
import { type ForwardedStreamHeaders, readStreamHeaders } from "../../protocol/port_forward/mod.ts";
import {
  type ControlFrame,
  dataFrame,
  dataHeader,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  RST_STATUS,
  type SynStreamFrame,
} from "../../protocol/spdy/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { Inbox } from "./inbox.ts";
import { within } from "./within.ts";

/** What one port-forward asks for. */
export interface PortForwardOptions {
  /** What stands for a port of the pod on this machine's loopback; `undefined`: nobody listens. */
  findPort(port: number): number | undefined;
  /** How long a stream may wait for the other of its connection, in milliseconds. */
  pairTimeoutMs: number;
  /** Aborted when the session is to end, whatever its client does. */
  signal: AbortSignal;
  /**
   * How long one direction goes on after the other has ended, in milliseconds; as containerd has it.
   * @default {1000}
   */
  halfClosedMs?: number;
}

interface ForwardedStream extends ForwardedStreamHeaders {
  id: number;
  /** What the client sends. */
  inbox: Inbox;
  /** We have said all on it. */
  isEnded: boolean;
}

/** The streams of one connection, which come in either order. */
interface Pair {
  data?: ForwardedStream;
  error?: ForwardedStream;
  timer: ReturnType<typeof setTimeout>;
}

/** What a program in the pod has not read yet, in bytes; a client that sends more waits, with all its connections. */
const MAX_HELD_BYTES = 256 * 1024;

/** Read from a program at once, in bytes. */
const READ_BYTES = 16 * 1024;

/**
 * The kubelet's end of a port-forward: any number of connections to the pod's ports, each a pair of streams with one request ID.
 *
 * What goes wrong with one is said on its error stream, and the others live on. When it returns, all of them have ended.
 *
 * @see k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go
 */
export async function servePortForward(
  connection: ByteConnection,
  options: PortForwardOptions,
): Promise<void> {
  await new PortForwardSession(connection, options).run();
}

class PortForwardSession {
  readonly #connection: ByteConnection;
  readonly #options: PortForwardOptions;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #streams = new Map<number, ForwardedStream>();
  readonly #pairs = new Map<string, Pair>();
  readonly #running = new Set<Promise<void>>();
  readonly #gone = new AbortController();
  /** What runtimes know a pod by. */
  readonly #sandbox = randomBytes(32).toString("hex");

  constructor(connection: ByteConnection, options: PortForwardOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const end = () => this.#connection.close();
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    try {
      await this.#read();
    } catch {
      // The connection was lost, or what came over it is no SPDY: it has ended either way.
    } finally {
      signal.removeEventListener("abort", end);
      this.#connection.close();
      this.#gone.abort();
      for (const { timer } of this.#pairs.values()) clearTimeout(timer);
      for (const { inbox } of this.#streams.values()) inbox.discard();
      await Promise.all(this.#running);
    }
  }

  async #read(): Promise<void> {
    for (;;) {
      const chunk = await this.#connection.read();
      if (chunk === null) return;
      for (const frame of this.#decoder.push(chunk)) {
        if (frame.type === "goaway") return;
        await this.#take(frame);
      }
    }
  }

  async #take(frame: Frame): Promise<void> {
    switch (frame.type) {
      case "syn_stream":
        return await this.#open(frame);
      case "data": {
        const inbox = this.#streams.get(frame.id)?.inbox;
        await inbox?.put(frame.bytes);
        if (frame.fin) inbox?.end();
        return;
      }
      case "rst_stream": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined) return;
        stream.isEnded = true;
        return stream.inbox.end();
      }
      case "ping":
        return frame.id % 2 === 1 ? await this.#send(frame) : undefined;
    }
  }

  async #open({ id, headers, fin }: SynStreamFrame): Promise<void> {
    if (this.#streams.has(id)) return await this.#reset(id, RST_STATUS.PROTOCOL_ERROR);
    const reading = readStreamHeaders(id, headers);
    if (!reading.ok) return await this.#reset(id);
    const stream = { ...reading.stream, id, inbox: new Inbox(MAX_HELD_BYTES), isEnded: false };
    this.#streams.set(id, stream);
    if (fin) stream.inbox.end();
    await this.#send({ type: "syn_reply", id, fin: false, headers: new Map() });
    await this.#pair(stream);
  }

  async #pair(stream: ForwardedStream): Promise<void> {
    const { requestId, type } = stream;
    const pair = this.#pairs.get(requestId) ??
      { timer: setTimeout(() => this.#giveUp(requestId), this.#options.pairTimeoutMs) };
    this.#pairs.set(requestId, pair);
    if (pair[type] !== undefined) {
      const text = `error processing stream for request ${requestId}: ${type} stream already assigned`;
      if (pair.error !== undefined) await this.#say(pair.error, text);
      return;
    }
    pair[type] = stream;
    const { data, error, timer } = pair;
    if (data === undefined || error === undefined) return;
    clearTimeout(timer);
    this.#pairs.delete(requestId);
    // What fails here is the client's connection, which reading notices too.
    const running = this.#forward(data, error).catch(() => {}).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** The other stream did not come. */
  #giveUp(requestId: string): void {
    const error = this.#pairs.get(requestId)?.error;
    this.#pairs.delete(requestId);
    const connection = `0xc${randomBytes(4).toString("hex").padStart(9, "0")}`;
    const text = `(conn=${connection}, request=${requestId}) timed out waiting for streams`;
    if (error !== undefined) this.#say(error, text).catch(() => {});
  }

  async #forward(data: ForwardedStream, error: ForwardedStream): Promise<void> {
    const failure = await this.#connect(data);
    if (failure === undefined) {
      for (const stream of [data, error]) await this.#end(stream);
    } else {
      const text = `error forwarding port ${data.port} to pod ${this.#sandbox}, uid : ${failure}`;
      await this.#say(error, text);
      for (const stream of [data, error]) if (!stream.isEnded) await this.#reset(stream.id);
    }
    for (const { id, inbox } of [data, error]) {
      inbox.discard();
      this.#streams.delete(id);
    }
  }

  /** One connection, from its first byte to its last. @returns why it failed, in containerd's words */
  async #connect(data: ForwardedStream): Promise<string | undefined> {
    const port = this.#options.findPort(data.port);
    if (port === undefined) return this.#refused(data.port);
    let conn: Deno.TcpConn;
    try {
      conn = await Deno.connect({ hostname: "127.0.0.1", port });
    } catch {
      return this.#refused(data.port);
    }
    const close = () => {
      try {
        conn.close();
      } catch {
        // It is closed.
      }
    };
    this.#gone.signal.addEventListener("abort", close);
    if (this.#gone.signal.aborted) close();
    try {
      const directions = [upload(data.inbox, conn), this.#download(conn, data)].map((copying) => {
        return copying.catch(() => {}); // a connection that breaks has ended, and that is all that containerd tells
      });
      await Promise.race(directions);
      await within(this.#options.halfClosedMs ?? 1_000, Promise.all(directions));
      close();
      data.inbox.discard();
      await Promise.all(directions);
      return undefined;
    } finally {
      this.#gone.signal.removeEventListener("abort", close);
      close();
    }
  }

  async #download(conn: Deno.TcpConn, data: ForwardedStream): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    for (let length = await conn.read(buffer); length !== null; length = await conn.read(buffer)) {
      if (data.isEnded) return;
      await this.#connection.write(dataFrame(data.id, buffer.subarray(0, length)));
    }
  }

  #refused(port: number): string {
    const name = randomBytes(16).toString("hex");
    return `failed to execute portforward in network namespace "/var/run/netns/cni-${name}": ` +
      `failed to connect to localhost:${port} inside namespace "${this.#sandbox}", ` +
      `IPv4: dial tcp4 127.0.0.1:${port}: connect: connection refused ` +
      "IPv6 dial tcp6: address localhost: no suitable address found ";
  }

  async #say({ id, isEnded }: ForwardedStream, text: string): Promise<void> {
    if (!isEnded) await this.#connection.write(dataFrame(id, new TextEncoder().encode(text)));
  }

  async #end(stream: ForwardedStream): Promise<void> {
    if (stream.isEnded) return;
    stream.isEnded = true;
    await this.#connection.write(dataHeader(stream.id, 0, true));
  }

  async #reset(id: number, status: number = RST_STATUS.CANCEL): Promise<void> {
    await this.#send({ type: "rst_stream", id, status });
  }

  async #send(frame: ControlFrame): Promise<void> {
    await this.#connection.write(this.#encoder.encode(frame));
  }
}

/** What the client sends, to its end; of which the program is not told: containerd cuts the connection a second later. */
async function upload(inbox: Inbox, conn: Deno.TcpConn): Promise<void> {
  for (let bytes = await inbox.take(); bytes !== undefined; bytes = await inbox.take()) {
    for (let offset = 0; offset < bytes.length;) offset += await conn.write(bytes.subarray(offset));
  }
}
