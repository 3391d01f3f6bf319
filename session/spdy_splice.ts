import { ProtocolError } from "../protocol/errors.ts";
import { ResizeDecoder } from "../protocol/remote_command/resize_decoder.ts";
import type { StreamProtocol } from "../protocol/remote_command/protocols.ts";
import {
  type DataFrame,
  dataFrame,
  dataHeader,
  type Frame,
  FrameDecoder,
  GOAWAY_STATUS,
  RST_STATUS,
  synStream,
  type SynStreamFrame,
} from "../protocol/spdy/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { GuardedTap } from "./guarded_tap.ts";
import { atMost, GuardedConnection, Lifetime, type SessionLimits } from "./lifetime.ts";
import { FrameSender } from "./frame_sender.ts";
import { MAX_SPARE_REPLIES, RefusedStreams } from "./refused_streams.ts";
import { SpdyPings } from "./spdy_pings.ts";
import { type Purpose, StatusCollector } from "./status_collector.ts";
import {
  CLIENT_CLOSED,
  CLIENT_VANISHED,
  COMMAND_ENDED,
  type Direction,
  type SessionEnd,
  SILENT_END,
  type Tap,
  UPSTREAM_CLOSED,
} from "./stream_event.ts";

const MAX_STREAM_ID = 0x7fff_ffff;

/** Streams that one remote command session may open; a client needs five at most. */
const MAX_STREAMS = 32;

/** Streams whose bytes a kubelet reads. What is sent on others would block its connection, so it goes no further. */
const READ_BY_KUBELET: ReadonlySet<string> = new Set(["stdin", "resize"]);

/** A stream of the session, opened by the client, or by us in its place. */
interface SplicedStream {
  id: number;
  name: string;
  /** The client does not know it. */
  isHidden: boolean;
  clientEnded: boolean;
  upstreamEnded: boolean;
  sizes?: ResizeDecoder;
}

/** What a splice needs to know of its session. */
export interface SpdySpliceOptions {
  /** Negotiated with both sides: it says what an error stream without a word means. */
  protocol: StreamProtocol;
  /** What the streams are those of. @default {"exec"} */
  purpose?: Purpose;
  /** How many streams the client has to open before the command starts. */
  expectedStreams: number;
  /**
   * Whether the error stream is opened for a client that has opened all others. The OpenShift documents know none, and a
   * kubelet waits for one. A client that opens its own all the same, right after the others, gets this one.
   * @default {false}
   */
  opensErrorStream?: boolean;
  tap: Tap;
  limits: SessionLimits;
  /** Aborted when the gateway must end the session. */
  signal: AbortSignal;
}

/**
 * A SPDY client spliced to a SPDY kubelet. Data passes as it is; each frame is read, shown to the tap, then forwarded.
 *
 * Header blocks are written anew, so the kubelet sees only headers that we understood. What a kubelet would drop or
 * choke on (data of ended or unread streams, HEADERS, sizes that are none) goes no further, and pings go hop by hop. Both
 * directions are read only while the other side takes what was read. Closes both connections.
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
  readonly #tap: GuardedTap;
  readonly #lifetime: Lifetime;
  readonly #fromClient = new FrameDecoder({ maxReplies: MAX_SPARE_REPLIES });
  readonly #fromUpstream = new FrameDecoder({ maxReplies: MAX_STREAMS + MAX_SPARE_REPLIES });
  readonly #toClient: FrameSender;
  readonly #toUpstream: FrameSender;
  readonly #clientPings: SpdyPings;
  readonly #upstreamPings: SpdyPings;
  readonly #streams = new Map<number, SplicedStream>();
  readonly #refusedToClient = new RefusedStreams();
  readonly #refusedToUpstream = new RefusedStreams();
  readonly #status: StatusCollector;
  #errorStream: SplicedStream | undefined;
  /** We opened the error stream upstream, the client did not. */
  #hasOwnErrorStream = false;
  /** What stood on the error stream if the client knew it. */
  #missedFailure: Uint8Array | undefined;
  #lastClientId = 0;
  #goawayToClient = false;
  #clientSaidGoodbye = false;

  constructor(client: ByteConnection, upstream: ByteConnection, options: SpdySpliceOptions) {
    this.#client = new GuardedConnection(client, "client");
    this.#upstream = new GuardedConnection(upstream, "upstream");
    this.#options = options;
    this.#tap = new GuardedTap(options.tap);
    this.#status = new StatusCollector(options.protocol, options.purpose);
    this.#toClient = new FrameSender(this.#client);
    this.#toUpstream = new FrameSender(this.#upstream);
    this.#clientPings = new SpdyPings(this.#client, "server");
    this.#upstreamPings = new SpdyPings(this.#upstream, "client");
    const pings = { client: this.#clientPings, upstream: this.#upstreamPings };
    this.#lifetime = new Lifetime(options.limits, options.signal, pings);
  }

  [Symbol.dispose](): void {
    this.#lifetime[Symbol.dispose]();
  }

  async run(): Promise<SessionEnd> {
    const fromClient = this.#pumpClient();
    const fromUpstream = this.#pumpUpstream();
    const end = this.#status.settle(await this.#lifetime.ended);
    this.#upstream.close();
    await atMost(this.#options.limits.lingerMs, fromUpstream);
    await atMost(this.#options.limits.lingerMs, this.#farewell(end).then(() => this.#client.endWrites()));
    // The client reads the end, then closes; what it still says is read and dropped, lest TCP reset the connection.
    if (end.reason !== "client_vanished") await atMost(this.#options.limits.lingerMs, fromClient);
    this.#client.close();
    await Promise.all([fromClient, fromUpstream]);
    return this.#status.complete(end);
  }

  /** Tells a client whose command did not end what happened: never exit 0 for a cut connection. */
  async #farewell(end: SessionEnd): Promise<void> {
    if (end.by === "client" && end.reason !== "protocol_error") return;
    this.#tellError(this.#status.failure(end.message));
    if (!this.#goawayToClient) {
      const status = end.reason === "protocol_error" ? GOAWAY_STATUS.PROTOCOL_ERROR : GOAWAY_STATUS.OK;
      this.#toClient.addFrame({ type: "goaway", lastGoodId: this.#lastClientId, status });
    }
    await this.#toClient.flush();
  }

  /** Puts a failure on the client's error stream, where it is still open. */
  #tellError(failure: Uint8Array | undefined): void {
    const stream = this.#errorStream;
    if (failure === undefined || stream === undefined || stream.upstreamEnded) return;
    if (stream.isHidden) this.#missedFailure = failure;
    else this.#toClient.add(dataFrame(stream.id, failure));
  }

  async #pumpClient(): Promise<void> {
    try {
      for (;;) {
        const chunk = await this.#client.read();
        if (chunk === null) break;
        if (this.#lifetime.isOver) continue;
        this.#lifetime.client.heard();
        this.#toUpstream.passOn(chunk, this.#client.headroomBytes);
        const frames = this.#fromClient.push(chunk);
        if (frames.some(isUse)) this.#lifetime.touch();
        for (const frame of frames) {
          const told = this.#clientFrame(frame);
          if (told) await told;
          if (frame.type === "goaway") break; // what follows a GOAWAY is read by nobody
        }
        await this.#toClient.flushAnswers();
        this.#lifetime.client.isBlocked = true;
        await this.#toUpstream.flush();
        this.#lifetime.client.isBlocked = false;
        if (this.#clientSaidGoodbye) break;
      }
      if (this.#status.hasEnded) this.#lifetime.end(COMMAND_ENDED);
      else this.#lifetime.end(this.#clientSaidGoodbye ? CLIENT_CLOSED : CLIENT_VANISHED);
    } catch (thrown) {
      this.#lifetime.fail("client", thrown);
      this.#toUpstream.discard();
      await this.#discardClient();
    }
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
    try {
      for (;;) {
        const chunk = await this.#upstream.read();
        if (chunk === null) break;
        this.#lifetime.upstream.heard();
        this.#toClient.passOn(chunk, this.#upstream.headroomBytes);
        const frames = this.#fromUpstream.push(chunk);
        if (frames.some(isUse)) this.#lifetime.touch();
        for (const frame of frames) {
          const told = this.#upstreamFrame(frame);
          if (told) await told;
          if (frame.type === "goaway") break;
        }
        await this.#toUpstream.flushAnswers();
        this.#lifetime.upstream.isBlocked = true;
        await this.#toClient.flush();
        this.#lifetime.upstream.isBlocked = false;
        if (this.#goawayToClient) break;
      }
      this.#lifetime.end(this.#status.hasEnded ? COMMAND_ENDED : UPSTREAM_CLOSED);
    } catch (thrown) {
      this.#lifetime.fail("upstream", thrown);
    }
  }

  #clientFrame(frame: Frame): void | Promise<void> {
    switch (frame.type) {
      case "data":
        return this.#clientData(frame);
      case "syn_stream":
        return this.#open(frame);
      case "rst_stream": {
        const stream = this.#clientStream(frame.id);
        if (stream === undefined || stream.clientEnded && stream.upstreamEnded) return;
        stream.clientEnded = stream.upstreamEnded = true;
        return after(
          this.#tap.push({ ...about(stream), type: "reset", direction: "in", status: frame.status }),
          () => this.#toUpstream.addFrame(frame),
        );
      }
      case "goaway":
        this.#clientSaidGoodbye = true;
        this.#toUpstream.addFrame(frame);
        return;
      case "ping":
        if (this.#clientPings.received(frame)) this.#lifetime.client.answered();
        return;
      case "settings":
      case "window_update":
        this.#toUpstream.addFrame(frame);
        return;
      case "syn_reply": // a kubelet opens no streams: there is nothing to reply to
      case "headers": // a kubelet would wait for ever for someone to read them
        return;
      default:
        frame satisfies never;
    }
  }

  #open(frame: SynStreamFrame): void | Promise<void> {
    const refuse = (status: number) => {
      this.#refusedToClient.add();
      this.#toClient.addFrame({ type: "rst_stream", id: frame.id, status });
    };
    // As spdystream does: the connection lives, the stream does not.
    if (frame.id < this.#lastClientId + (this.#lastClientId === 0 ? 1 : 2)) {
      return refuse(RST_STATUS.PROTOCOL_ERROR);
    }
    this.#lastClientId = frame.id;
    if (this.#streams.size >= MAX_STREAMS) return refuse(RST_STATUS.REFUSED_STREAM);
    const name = frame.headers.get("streamtype") ?? "";
    if (name.includes("\0")) {
      throw new ProtocolError("header_ambiguous", `streamtype of stream ${frame.id} has several values`);
    }
    if (this.#hasOwnErrorStream && (name === "error" || frame.id === this.#errorStream?.id)) {
      if (name !== "error" || frame.id !== this.#errorStream?.id) return refuse(RST_STATUS.REFUSED_STREAM);
      return this.#handOver(this.#errorStream);
    }
    const stream: SplicedStream = {
      id: frame.id,
      name,
      isHidden: false,
      clientEnded: frame.fin,
      upstreamEnded: frame.unidirectional,
    };
    if (name === "resize") stream.sizes = new ResizeDecoder();
    if (name === "error") this.#errorStream = stream;
    this.#streams.set(frame.id, stream);
    return after(this.#tap.push({ ...about(stream), type: "opened" }), () => {
      this.#toUpstream.addFrame(frame);
      return this.#opened();
    });
  }

  /** Looks whether all streams are open now, or all but the error stream, which is ours to open then. */
  #opened(): void | Promise<void> {
    const { expectedStreams, opensErrorStream = false } = this.#options;
    if (this.#streams.size >= expectedStreams) return this.#lifetime.setUp();
    if (!opensErrorStream || this.#errorStream || this.#streams.size < expectedStreams - 1) return;
    const id = this.#lastClientId + 2;
    if (id > MAX_STREAM_ID) {
      throw new ProtocolError("stream_ids_used_up", "no stream number is left for errors");
    }
    const stream = { id, name: "error", isHidden: true, clientEnded: true, upstreamEnded: false };
    this.#errorStream = stream;
    this.#hasOwnErrorStream = true;
    this.#streams.set(id, stream);
    this.#lifetime.setUp();
    return after(this.#tap.push({ ...about(stream), type: "opened" }), () => {
      // Its end is told at once, as Go clients do.
      this.#toUpstream.addFrame(synStream(id, { streamtype: "error" }));
      this.#toUpstream.add(dataHeader(id, 0, true));
    });
  }

  /** The client opens the stream that was opened in its place: it is told all that it has missed. */
  #handOver(stream: SplicedStream): void {
    if (!stream.isHidden) return;
    stream.isHidden = false;
    const { id } = stream;
    this.#toClient.addFrame({ type: "syn_reply", id, fin: false, headers: new Map() });
    for (const missed of [this.#status.document(), this.#missedFailure]) {
      if (missed !== undefined && missed.length > 0) this.#toClient.add(dataFrame(id, missed));
    }
    if (stream.upstreamEnded) this.#toClient.add(dataHeader(id, 0, true));
  }

  /** A stream that the client knows. */
  #clientStream(id: number): SplicedStream | undefined {
    const stream = this.#streams.get(id);
    return stream?.isHidden ? undefined : stream;
  }

  #clientData(frame: DataFrame): void | Promise<void> {
    const stream = this.#clientStream(frame.id);
    if (stream === undefined || stream.clientEnded) return;
    return this.#seen(stream, frame, "in", () => {
      stream.clientEnded ||= frame.fin;
      if (READ_BY_KUBELET.has(stream.name) && !stream.sizes) this.#toUpstream.addData(frame);
      else this.#forwardSizes(stream, frame);
    });
  }

  /** Sizes are written anew: what a kubelet takes for none would end its resizing and block its connection. */
  #forwardSizes(stream: SplicedStream, frame: DataFrame): void {
    for (const { columns, rows } of stream.sizes?.push(frame.bytes) ?? []) {
      const size = new TextEncoder().encode(`{"Width":${columns},"Height":${rows}}\n`);
      this.#toUpstream.add(dataFrame(stream.id, size));
    }
    if (frame.fin) this.#toUpstream.add(dataHeader(stream.id, 0, true));
  }

  #upstreamFrame(frame: Frame): void | Promise<void> {
    switch (frame.type) {
      case "data": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined || stream.upstreamEnded) return;
        return this.#seen(stream, frame, "out", () => {
          if (stream === this.#errorStream) {
            this.#status.push(frame.bytes);
            if (frame.fin) this.#endStatus();
          }
          stream.upstreamEnded ||= frame.fin;
          if (!stream.isHidden) this.#toClient.addData(frame);
        });
      }
      case "rst_stream": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined || stream.clientEnded && stream.upstreamEnded) return;
        const told = this.#tap.push({
          ...about(stream),
          type: "reset",
          direction: "out",
          status: frame.status,
        });
        return after(told, () => {
          if (stream === this.#errorStream) this.#endStatus();
          stream.clientEnded = stream.upstreamEnded = true;
          if (!stream.isHidden) this.#toClient.addFrame(frame);
        });
      }
      case "syn_reply":
        // For a stream of ours the client has an answer of ours.
        if (this.#streams.has(frame.id) && !(this.#hasOwnErrorStream && frame.id === this.#errorStream?.id)) {
          this.#toClient.addFrame(frame);
        }
        return;
      case "goaway":
        this.#endStatus();
        this.#goawayToClient = true;
        this.#toClient.addFrame(frame);
        return;
      case "ping":
        if (this.#upstreamPings.received(frame)) this.#lifetime.upstream.answered();
        return;
      case "settings":
      case "window_update":
        this.#toClient.addFrame(frame);
        return;
      case "syn_stream":
        this.#refusedToUpstream.add();
        this.#toUpstream.addFrame({ type: "rst_stream", id: frame.id, status: RST_STATUS.REFUSED_STREAM });
        return;
      case "headers":
        return;
      default:
        frame satisfies never;
    }
  }

  #endStatus(): void {
    this.#tellError(this.#status.silentEnd(SILENT_END));
    this.#status.close();
  }

  /** Shows a DATA frame to the tap, then does `pass`. */
  #seen(
    stream: SplicedStream,
    { bytes, fin }: DataFrame,
    direction: Direction,
    pass: () => void,
  ): void | Promise<void> {
    const told = bytes.length > 0
      ? this.#tap.push({ ...about(stream), type: "data", direction, bytes })
      : undefined;
    if (!fin) return after(told, pass);
    const end = () => this.#tap.push({ ...about(stream), type: "half_closed", direction });
    return after(after(told, end), pass);
  }
}

/** Does `next` at once where there is nothing to wait for: most taps have none, for every frame. */
function after(told: void | Promise<void>, next: () => void | Promise<void>): void | Promise<void> {
  return told ? told.then(next) : next();
}

/** A stream, as the tap knows it. */
function about({ id, name }: SplicedStream): { id: number; stream: string } {
  return { id, stream: name };
}

/** Whether a frame is use of the session. Pings are none, lest no session were ever idle. */
function isUse({ type }: Frame): boolean {
  return type === "data" || type === "syn_stream" || type === "syn_reply" || type === "rst_stream";
}
