import { ProtocolError } from "../protocol/errors.ts";
import { ResizeDecoder } from "../protocol/remote_command/resize_decoder.ts";
import type { StreamProtocol } from "../protocol/remote_command/protocols.ts";
import {
  type DataFrame,
  dataFrame,
  dataHeader,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  GOAWAY_STATUS,
  RST_STATUS,
  type SynStreamFrame,
} from "../protocol/spdy/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { atMost, GuardedConnection, Lifetime, type SessionLimits } from "./lifetime.ts";
import { Outbox } from "./outbox.ts";
import { StatusCollector } from "./status_collector.ts";
import {
  CLIENT_CLOSED,
  CLIENT_VANISHED,
  COMMAND_ENDED,
  type SessionEnd,
  SILENT_END,
  type Tap,
  UPSTREAM_CLOSED,
} from "./stream_event.ts";

/** Streams that one remote command session may open; a client needs five at most. */
const MAX_STREAMS = 32;

/** Streams whose bytes a kubelet reads. What is sent on others would block its connection, so it goes no further. */
const READ_BY_KUBELET: ReadonlySet<string> = new Set(["stdin", "resize"]);

/** A stream of the session, opened by the client. */
interface SplicedStream {
  id: number;
  name: string;
  clientEnded: boolean;
  upstreamEnded: boolean;
  sizes?: ResizeDecoder;
}

/** What a splice needs to know of its session. */
export interface SpdySpliceOptions {
  /** Negotiated with both sides: it says what an error stream without a word means. */
  protocol: StreamProtocol;
  /** How many streams the client has to open before the command starts. */
  expectedStreams: number;
  tap: Tap;
  limits: SessionLimits;
  /** Aborted when the gateway must end the session. */
  signal: AbortSignal;
}

/**
 * A SPDY client spliced to a SPDY kubelet. Data passes as it is; each frame is read, shown to the tap, then forwarded.
 *
 * Header blocks are written anew, so the kubelet sees only headers that we understood. What a kubelet would drop or
 * choke on (data of ended or unread streams, HEADERS, sizes that are none) goes no further. Both directions
 * are read only while the other side takes what was read. Closes both connections.
 *
 * @returns how it ended, after the client was told
 */
export async function spliceSpdy(
  client: ByteConnection,
  upstream: ByteConnection,
  options: SpdySpliceOptions,
): Promise<SessionEnd> {
  using splice = new SpdySplice(client, upstream, options);
  return await splice.run();
}

class SpdySplice implements Disposable {
  readonly #client: GuardedConnection;
  readonly #upstream: GuardedConnection;
  readonly #options: SpdySpliceOptions;
  readonly #lifetime: Lifetime;
  readonly #fromClient = new FrameDecoder();
  readonly #fromUpstream = new FrameDecoder();
  readonly #toClient = new FrameEncoder();
  readonly #toUpstream = new FrameEncoder();
  readonly #streams = new Map<number, SplicedStream>();
  readonly #status: StatusCollector;
  #errorStream: SplicedStream | undefined;
  #lastClientId = 0;
  #goawayToClient = false;
  #nextProbeId = 2;
  #clientSaidGoodbye = false;

  constructor(client: ByteConnection, upstream: ByteConnection, options: SpdySpliceOptions) {
    this.#client = new GuardedConnection(client, "client");
    this.#upstream = new GuardedConnection(upstream, "upstream");
    this.#options = options;
    this.#status = new StatusCollector(options.protocol);
    this.#lifetime = new Lifetime(options.limits, options.signal, () => this.#probe());
  }

  [Symbol.dispose](): void {
    this.#lifetime[Symbol.dispose]();
  }

  async run(): Promise<SessionEnd> {
    const fromClient = this.#pumpClient();
    const fromUpstream = this.#pumpUpstream();
    const end = await this.#lifetime.ended;
    this.#upstream.close();
    await atMost(this.#options.limits.lingerMs, fromUpstream);
    await atMost(this.#options.limits.lingerMs, this.#farewell(end));
    // The client reads the end, then closes; what it still says is read and dropped, lest TCP reset the connection.
    await atMost(this.#options.limits.lingerMs, fromClient);
    this.#client.close();
    await Promise.all([fromClient, fromUpstream]);
    return this.#status.complete(end);
  }

  /** Tells a client whose command did not end what happened: never exit 0 for a cut connection. */
  async #farewell(end: SessionEnd): Promise<void> {
    if (end.by === "client" && end.reason !== "protocol_error") return;
    const out = new Outbox();
    this.#tellError(out, this.#status.failure(end.message));
    if (!this.#goawayToClient) {
      const status = end.reason === "protocol_error" ? GOAWAY_STATUS.PROTOCOL_ERROR : GOAWAY_STATUS.OK;
      out.add(this.#toClient.encode({ type: "goaway", lastGoodId: this.#lastClientId, status }));
    }
    for (const bytes of out.take()) await this.#client.write(bytes);
  }

  /** Puts a failure on the client's error stream, where it is still open. */
  #tellError(out: Outbox, failure: Uint8Array | undefined): void {
    const stream = this.#errorStream;
    if (failure !== undefined && stream !== undefined && !stream.upstreamEnded) {
      out.add(dataFrame(stream.id, failure));
    }
  }

  async #pumpClient(): Promise<void> {
    const toUpstream = new Outbox();
    const toClient = new Outbox();
    try {
      for (;;) {
        const chunk = await this.#client.read();
        if (chunk === null) break;
        if (this.#lifetime.isOver) continue;
        this.#lifetime.touch();
        for (const frame of this.#fromClient.push(chunk)) {
          const told = this.#clientFrame(frame, toUpstream, toClient);
          if (told) await told;
          if (frame.type === "goaway") break; // what follows a GOAWAY is read by nobody
        }
        for (const bytes of toClient.take()) await this.#client.write(bytes);
        this.#lifetime.isBlocked = true;
        for (const bytes of toUpstream.take()) await this.#upstream.write(bytes);
        this.#lifetime.isBlocked = false;
        if (this.#clientSaidGoodbye) break;
      }
      if (this.#status.hasEnded) this.#lifetime.end(COMMAND_ENDED);
      else this.#lifetime.end(this.#clientSaidGoodbye ? CLIENT_CLOSED : CLIENT_VANISHED);
    } catch (thrown) {
      this.#lifetime.fail("client", thrown);
      await this.#discardClient();
    }
  }

  /** A ping with a server's even id, which every client echoes. */
  async #probe(): Promise<void> {
    await this.#client.write(this.#toClient.encode({ type: "ping", id: this.#nextProbeId }));
    this.#nextProbeId += 2;
  }

  /** After a failure: the client's bytes are read, so that it can read our last words. */
  async #discardClient(): Promise<void> {
    try {
      while (await this.#client.read() !== null);
    } catch {
      // It is gone.
    }
  }

  async #pumpUpstream(): Promise<void> {
    const toClient = new Outbox();
    const toUpstream = new Outbox();
    try {
      for (;;) {
        const chunk = await this.#upstream.read();
        if (chunk === null) break;
        this.#lifetime.touch();
        for (const frame of this.#fromUpstream.push(chunk)) {
          const told = this.#upstreamFrame(frame, toClient, toUpstream);
          if (told) await told;
          if (frame.type === "goaway") break;
        }
        for (const bytes of toUpstream.take()) await this.#upstream.write(bytes);
        for (const bytes of toClient.take()) await this.#client.write(bytes);
        if (this.#goawayToClient) break;
      }
      this.#lifetime.end(this.#status.hasEnded ? COMMAND_ENDED : UPSTREAM_CLOSED);
    } catch (thrown) {
      this.#lifetime.fail("upstream", thrown);
    }
  }

  #clientFrame(frame: Frame, toUpstream: Outbox, toClient: Outbox): void | Promise<void> {
    switch (frame.type) {
      case "data":
        return this.#clientData(frame, toUpstream);
      case "syn_stream":
        return this.#open(frame, toUpstream, toClient);
      case "rst_stream": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined || stream.clientEnded && stream.upstreamEnded) return;
        stream.clientEnded = stream.upstreamEnded = true;
        toUpstream.add(this.#toUpstream.encode(frame));
        return this.#tell(stream, { type: "reset", direction: "in", status: frame.status });
      }
      case "goaway":
        this.#clientSaidGoodbye = true;
        toUpstream.add(this.#toUpstream.encode(frame));
        return;
      case "ping":
        if (frame.id % 2 === 0) return; // the echo of a probe
        toUpstream.add(this.#toUpstream.encode(frame));
        return;
      case "settings":
      case "window_update":
        toUpstream.add(this.#toUpstream.encode(frame));
        return;
      case "syn_reply": // a kubelet opens no streams: there is nothing to reply to
      case "headers": // a kubelet would wait for ever for someone to read them
        return;
      default:
        frame satisfies never;
    }
  }

  #open(frame: SynStreamFrame, toUpstream: Outbox, toClient: Outbox): void | Promise<void> {
    const refuse = (status: number) => {
      toClient.add(this.#toClient.encode({ type: "rst_stream", id: frame.id, status }));
    };
    // As spdystream does: the connection lives, the stream does not.
    if (frame.id < this.#lastClientId + (this.#lastClientId === 0 ? 1 : 2)) {
      return refuse(RST_STATUS.PROTOCOL_ERROR);
    }
    this.#lastClientId = frame.id;
    if (this.#streams.size >= MAX_STREAMS) return refuse(RST_STATUS.REFUSED_STREAM);
    const name = frame.headers.get("streamtype") ?? "";
    if (name.includes("\0")) throw new ProtocolError("header_ambiguous", "streamtype has several values");
    const stream: SplicedStream = {
      id: frame.id,
      name,
      clientEnded: frame.fin,
      upstreamEnded: frame.unidirectional,
    };
    if (name === "resize") stream.sizes = new ResizeDecoder();
    if (name === "error") this.#errorStream = stream;
    this.#streams.set(frame.id, stream);
    if (this.#streams.size >= this.#options.expectedStreams) this.#lifetime.setUp();
    toUpstream.add(this.#toUpstream.encode(frame));
    return this.#options.tap.push({ type: "opened", id: stream.id, stream: name });
  }

  #clientData(frame: DataFrame, toUpstream: Outbox): void | Promise<void> {
    const stream = this.#streams.get(frame.id);
    if (stream === undefined || stream.clientEnded) return;
    stream.clientEnded = frame.fin;
    if (READ_BY_KUBELET.has(stream.name) && !stream.sizes) forward(frame, toUpstream);
    else this.#forwardSizes(stream, frame, toUpstream);
    return this.#tellData(stream, frame, "in");
  }

  /** Sizes are written anew: what a kubelet takes for none would end its resizing and block its connection. */
  #forwardSizes(stream: SplicedStream, frame: DataFrame, toUpstream: Outbox): void {
    for (const { columns, rows } of stream.sizes?.push(frame.bytes) ?? []) {
      const size = new TextEncoder().encode(`{"Width":${columns},"Height":${rows}}\n`);
      toUpstream.add(dataFrame(stream.id, size));
    }
    if (frame.fin) toUpstream.add(dataHeader(stream.id, 0, true));
  }

  #upstreamFrame(frame: Frame, toClient: Outbox, toUpstream: Outbox): void | Promise<void> {
    switch (frame.type) {
      case "data": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined || stream.upstreamEnded) return;
        if (stream === this.#errorStream) {
          this.#status.push(frame.bytes);
          if (frame.fin) this.#endStatus(toClient);
        }
        stream.upstreamEnded = frame.fin;
        forward(frame, toClient);
        return this.#tellData(stream, frame, "out");
      }
      case "rst_stream": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined || stream.clientEnded && stream.upstreamEnded) return;
        if (stream === this.#errorStream) this.#endStatus(toClient);
        stream.clientEnded = stream.upstreamEnded = true;
        toClient.add(this.#toClient.encode(frame));
        return this.#tell(stream, { type: "reset", direction: "out", status: frame.status });
      }
      case "syn_reply":
        if (this.#streams.has(frame.id)) toClient.add(this.#toClient.encode(frame));
        return;
      case "goaway":
        this.#endStatus(toClient);
        this.#goawayToClient = true;
        toClient.add(this.#toClient.encode(frame));
        return;
      case "ping":
      case "settings":
      case "window_update":
        toClient.add(this.#toClient.encode(frame));
        return;
      case "syn_stream":
        toUpstream.add(
          this.#toUpstream.encode({ type: "rst_stream", id: frame.id, status: RST_STATUS.REFUSED_STREAM }),
        );
        return;
      case "headers":
        return;
      default:
        frame satisfies never;
    }
  }

  #endStatus(toClient: Outbox): void {
    this.#tellError(toClient, this.#status.silentEnd(SILENT_END));
    this.#status.close();
  }

  #tellData(stream: SplicedStream, frame: DataFrame, direction: "in" | "out"): void | Promise<void> {
    const { id, name } = stream;
    const { tap } = this.#options;
    const told = frame.bytes.length > 0
      ? tap.push({ type: "data", id, stream: name, direction, bytes: frame.bytes })
      : undefined;
    if (!frame.fin) return told;
    return told
      ? told.then(() => tap.push({ type: "half_closed", id, stream: name, direction }))
      : tap.push({ type: "half_closed", id, stream: name, direction });
  }

  #tell(
    stream: SplicedStream,
    event: { type: "reset"; direction: "in" | "out"; status: number },
  ): void | Promise<void> {
    return this.#options.tap.push({ ...event, id: stream.id, stream: stream.name });
  }
}

/** Passes a DATA frame on, or its piece as a frame of its own: a connection cut later never leaves a frame open. */
function forward(frame: DataFrame, out: Outbox): void {
  if (frame.raw !== undefined) return out.add(frame.raw);
  out.add(dataHeader(frame.id, frame.bytes.length, frame.fin));
  out.add(frame.bytes);
}
