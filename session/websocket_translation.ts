import {
  CHANNEL,
  type ChannelEvent,
  type ChannelProtocol,
  ChannelReader,
  encodeChannel,
  encodeChannelViews,
  encodeGreeting,
  expectedStreams,
  type RequestedStreams,
  ResizeDecoder,
  STREAM_PROTOCOLS,
  type StreamName,
  type StreamProtocol,
} from "../protocol/remote_command/mod.ts";
import {
  type DataFrame,
  dataFrame,
  dataHeader,
  type Frame as SpdyFrame,
  FrameDecoder as SpdyDecoder,
  FrameEncoder as SpdyEncoder,
  GOAWAY_STATUS,
  RST_STATUS,
  type RstStreamFrame,
  synStream,
} from "../protocol/spdy/mod.ts";
import {
  CLOSE_CODE,
  encodeClose,
  FrameDecoder as WebSocketDecoder,
  WebSocketError,
  type WebSocketEvent,
} from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { atMost, GuardedConnection, Lifetime, type SessionLimits } from "./lifetime.ts";
import { Outbox } from "./outbox.ts";
import { errorChannelWords } from "./error_channel.ts";
import { GuardedTap } from "./guarded_tap.ts";
import { MAX_SPARE_REPLIES, RefusedStreams } from "./refused_streams.ts";
import { SpdyPings } from "./spdy_pings.ts";
import { type Purpose, StatusCollector } from "./status_collector.ts";
import {
  CLIENT_CLOSED,
  CLIENT_VANISHED,
  COMMAND_ENDED,
  type SessionEnd,
  SessionFailure,
  type Tap,
  UPSTREAM_CLOSED,
} from "./stream_event.ts";
import { WebSocketPings } from "./websocket_pings.ts";

/** What the kubelet is asked for, whatever the client speaks: the only one with half-close, resize and exit code. */
export const UPSTREAM_PROTOCOL: StreamProtocol = "v4.channel.k8s.io";

/** What a translation needs to know of its session. */
export interface TranslationOptions {
  /** Negotiated with the client. */
  protocol: ChannelProtocol;
  requested: RequestedStreams;
  /** What the streams are those of. @default {"exec"} */
  purpose?: Purpose;
  tap: Tap;
  limits: SessionLimits;
  /** Aborted when the gateway must end the session. */
  signal: AbortSignal;
}

/**
 * A WebSocket client translated to a SPDY kubelet, stream by stream. Closes both connections.
 *
 * @param upstream switched to SPDY {@linkcode UPSTREAM_PROTOCOL}, nothing sent yet
 * @returns how it ended, after the client was told
 */
export async function translateWebSocket(
  client: ByteConnection,
  upstream: ByteConnection,
  options: TranslationOptions,
): Promise<SessionEnd> {
  using translation = new Translation(client, upstream, options);
  return await translation.run();
}

/** One of the SPDY streams that the translation opened. */
interface TranslatedStream {
  id: number;
  name: StreamName;
  isAccepted: boolean;
  /** The kubelet will say no more on it. */
  hasEnded: boolean;
}

class Translation implements Disposable {
  readonly #client: GuardedConnection;
  readonly #upstream: GuardedConnection;
  readonly #options: TranslationOptions;
  readonly #tap: GuardedTap;
  readonly #lifetime: Lifetime;
  readonly #clientPings: WebSocketPings;
  readonly #upstreamPings: SpdyPings;
  readonly #fromClient = new WebSocketDecoder({ role: "server" });
  readonly #channels: ChannelReader;
  readonly #fromUpstream = new SpdyDecoder({ maxReplies: MAX_SPARE_REPLIES });
  readonly #toUpstream = new SpdyEncoder();
  readonly #sizes = new ResizeDecoder();
  readonly #status: StatusCollector;
  readonly #streams = new Map<number, TranslatedStream>();
  readonly #refused = new RefusedStreams();
  readonly #idOf = new Map<StreamName, number>();
  readonly #accepted = Promise.withResolvers<void>();
  /** What the client's chunk that is being read says to the upstream. */
  readonly #upstreamOut = new Outbox();
  #areAccepted = false;
  #clientSaidGoodbye = false;
  #closeCode: number = CLOSE_CODE.NORMAL;

  constructor(client: ByteConnection, upstream: ByteConnection, options: TranslationOptions) {
    this.#client = new GuardedConnection(client, "client");
    this.#upstream = new GuardedConnection(upstream, "upstream");
    this.#options = options;
    this.#tap = new GuardedTap(options.tap);
    this.#status = new StatusCollector(UPSTREAM_PROTOCOL, options.purpose);
    this.#channels = new ChannelReader(options.protocol, options.requested);
    expectedStreams(options.requested, STREAM_PROTOCOLS[UPSTREAM_PROTOCOL]).forEach((name, index) => {
      const id = 2 * index + 1;
      this.#streams.set(id, { id, name, isAccepted: false, hasEnded: false });
      this.#idOf.set(name, id);
    });
    this.#clientPings = new WebSocketPings(this.#client);
    this.#upstreamPings = new SpdyPings(this.#upstream, "client");
    const pings = { client: this.#clientPings, upstream: this.#upstreamPings };
    this.#lifetime = new Lifetime(options.limits, options.signal, pings);
    // Some clients, those of Python among them, answer only while their program reads. Who pings reads, too.
    this.#lifetime.client.answersPings = false;
  }

  [Symbol.dispose](): void {
    this.#lifetime[Symbol.dispose]();
  }

  async run(): Promise<SessionEnd> {
    const { lingerMs } = this.#options.limits;
    const fromClient = this.#pumpClient();
    const fromUpstream = this.#pumpUpstream();
    const end = this.#status.settle(await this.#lifetime.ended);
    this.#accepted.resolve();
    await atMost(lingerMs, this.#leaveUpstream());
    this.#upstream.close();
    await atMost(lingerMs, fromUpstream);
    await atMost(lingerMs, this.#farewell(end).then(() => this.#client.endWrites()));
    // The client answers the Close; what it still says is read and dropped, lest TCP reset the connection.
    if (end.reason !== "client_vanished") await atMost(lingerMs, fromClient);
    this.#client.close();
    await Promise.all([fromClient, fromUpstream]);
    return this.#status.complete(end);
  }

  async #leaveUpstream(): Promise<void> {
    if (this.#lifetime.client.isBlocked) return;
    await this.#upstream.write(
      this.#toUpstream.encode({ type: "goaway", lastGoodId: 0, status: GOAWAY_STATUS.OK }),
    );
  }

  /** Status, then Close 1000: after any other end a Go client forgets the status that it was told. */
  async #farewell(end: SessionEnd): Promise<void> {
    const { protocol } = this.#options;
    if (!this.#clientSaidGoodbye && end.reason !== "client_vanished") {
      const document = this.#status.failure(end.message) ?? this.#status.document();
      const words = errorChannelWords(protocol, document, end.reason === "command_ended");
      if (words.length > 0) await this.#client.write(encodeChannel(protocol, CHANNEL.ERROR, words));
    }
    await this.#client.write(encodeClose(this.#closeCode));
  }

  async #pumpClient(): Promise<void> {
    try {
      for (;;) {
        const chunk = await this.#client.read();
        if (chunk === null) break;
        if (this.#lifetime.isOver) continue;
        this.#lifetime.client.heard();
        try {
          for (const event of this.#fromClient.push(chunk)) {
            const done = this.#clientEvent(event);
            if (done) await done;
          }
        } finally {
          await this.#writeUpstream(); // what came before a fault, too
        }
        if (this.#clientSaidGoodbye) break;
      }
      if (this.#status.hasEnded) this.#lifetime.end(COMMAND_ENDED);
      else this.#lifetime.end(this.#clientSaidGoodbye ? CLIENT_CLOSED : CLIENT_VANISHED);
    } catch (thrown) {
      if (thrown instanceof WebSocketError) this.#closeCode = thrown.closeCode;
      if (thrown instanceof ProtocolError) thrown.frame ??= this.#fromClient.frameNumber;
      this.#lifetime.fail("client", thrown);
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

  #clientEvent(event: WebSocketEvent): void | Promise<void> {
    switch (event.type) {
      case "ping":
        this.#lifetime.client.answersPings = true;
        return this.#clientPings.received(event.payload);
      case "pong":
        if (this.#clientPings.isAnswer(event.payload)) this.#lifetime.client.answered();
        return;
      case "close":
        this.#clientSaidGoodbye = true;
        return;
      case "data": {
        this.#lifetime.touch();
        const said = this.#channels.read(event);
        return said && this.#channelEvent(said);
      }
      default:
        event satisfies never;
    }
  }

  /** Waits for the kubelet to have accepted the streams: what is sent earlier may be lost, and no tap knows them yet. */
  #channelEvent(event: ChannelEvent): void | Promise<void> {
    return this.#areAccepted ? this.#pass(event) : this.#passLater(event);
  }

  async #passLater(event: ChannelEvent): Promise<void> {
    this.#lifetime.client.isBlocked = true;
    await this.#accepted.promise;
    this.#lifetime.client.isBlocked = false;
    await this.#pass(event);
  }

  #pass(event: ChannelEvent): void | Promise<void> {
    if (this.#lifetime.isOver) return;
    switch (event.type) {
      case "stdin": {
        const id = this.#idOf.get("stdin")!;
        if (this.#streams.get(id)!.hasEnded) return; // the command closed its stdin
        const { bytes } = event;
        const told = this.#tap.push({ type: "data", id, stream: "stdin", direction: "in", bytes });
        const pass = () => {
          this.#upstreamOut.add(dataHeader(id, bytes.length));
          this.#upstreamOut.add(bytes);
        };
        return told ? told.then(pass) : pass();
      }
      case "resize":
        return this.#resize(event.bytes);
      case "stdin_closed":
        return this.#halfClose("stdin");
      case "resize_closed":
        return this.#halfClose("resize");
      case "ignored":
        return;
      default:
        event satisfies never;
    }
  }

  async #resize(bytes: Uint8Array): Promise<void> {
    const id = this.#idOf.get("resize")!;
    await this.#tap.push({ type: "data", id, stream: "resize", direction: "in", bytes });
    for (const { columns, rows } of this.#sizes.push(bytes)) {
      const size = new TextEncoder().encode(`{"Width":${columns},"Height":${rows}}\n`);
      this.#upstreamOut.add(dataFrame(id, size));
    }
  }

  async #halfClose(stream: "stdin" | "resize"): Promise<void> {
    const id = this.#idOf.get(stream)!;
    await this.#tap.push({ type: "half_closed", id, stream, direction: "in" });
    this.#upstreamOut.add(dataHeader(id, 0, true));
  }

  /** Writes what a chunk of the client gave rise to. */
  async #writeUpstream(): Promise<void> {
    const views = this.#upstreamOut.take();
    this.#lifetime.client.isBlocked = true;
    for (const bytes of views) await this.#upstream.write(bytes);
    this.#lifetime.client.isBlocked = false;
    this.#upstreamOut.release(views);
  }

  async #pumpUpstream(): Promise<void> {
    try {
      await this.#client.write(encodeGreeting(this.#options.protocol, this.#options.requested));
      await this.#openStreams();
      const toClient = new Outbox();
      for (;;) {
        const chunk = await this.#upstream.read();
        if (chunk === null) break;
        if (this.#lifetime.isOver) continue;
        this.#lifetime.upstream.heard();
        let isLast = false;
        for (const frame of this.#fromUpstream.push(chunk)) {
          const done = this.#upstreamFrame(frame, toClient);
          isLast = typeof done === "boolean" ? done : await done;
          if (isLast) break;
        }
        const views = toClient.take();
        this.#lifetime.upstream.isBlocked = true;
        for (const bytes of views) await this.#client.write(bytes);
        this.#lifetime.upstream.isBlocked = false;
        toClient.release(views);
        if (isLast) break;
      }
      this.#lifetime.end(this.#status.hasEnded ? COMMAND_ENDED : UPSTREAM_CLOSED);
    } catch (thrown) {
      this.#lifetime.fail("upstream", thrown);
    }
  }

  async #openStreams(): Promise<void> {
    const out = new Outbox();
    for (const { id, name } of this.#streams.values()) {
      await this.#tap.push({ type: "opened", id, stream: name });
      out.add(this.#toUpstream.encode(synStream(id, { streamtype: name })));
    }
    for (const bytes of out.take()) await this.#upstream.write(bytes);
  }

  /** Returns true at the frame after which nothing comes that the client should see. */
  #upstreamFrame(frame: SpdyFrame, toClient: Outbox): boolean | Promise<boolean> {
    switch (frame.type) {
      case "syn_reply":
        this.#lifetime.touch();
        this.#accept(frame.id);
        return false;
      case "data":
        this.#lifetime.touch();
        return this.#upstreamData(frame, toClient);
      case "rst_stream":
        return this.#upstreamReset(frame);
      case "ping":
        if (this.#upstreamPings.received(frame)) this.#lifetime.upstream.answered();
        return false;
      case "syn_stream":
        this.#refused.add();
        return this.#refuseStream(frame.id);
      case "goaway":
        return true;
      case "headers":
      case "settings":
      case "window_update":
        return false;
      default:
        frame satisfies never;
        return false;
    }
  }

  async #upstreamReset({ id, status }: RstStreamFrame): Promise<boolean> {
    const stream = this.#streams.get(id);
    if (stream === undefined) return false;
    if (!stream.isAccepted) throw streamRefused(stream.name);
    await this.#tap.push({ type: "reset", id, stream: stream.name, direction: "out", status });
    return this.#endStream(stream);
  }

  async #refuseStream(id: number): Promise<boolean> {
    await this.#upstream.write(
      this.#toUpstream.encode({ type: "rst_stream", id, status: RST_STATUS.REFUSED_STREAM }),
    );
    return false;
  }

  #accept(id: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) stream.isAccepted = true;
    if (![...this.#streams.values()].every(({ isAccepted }) => isAccepted)) return;
    this.#lifetime.setUp();
    this.#areAccepted = true;
    this.#accepted.resolve();
  }

  #upstreamData({ id, bytes, fin }: DataFrame, toClient: Outbox): boolean | Promise<boolean> {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.hasEnded) return false;
    const told = bytes.length > 0
      ? this.#tap.push({ type: "data", id, stream: stream.name, direction: "out", bytes })
      : undefined;
    const pass = () => {
      this.#toClient(stream.name, bytes, toClient);
      return fin ? this.#upstreamFin(stream) : false;
    };
    return told ? told.then(pass) : pass();
  }

  async #upstreamFin(stream: TranslatedStream): Promise<boolean> {
    const { id, name } = stream;
    await this.#tap.push({ type: "half_closed", id, stream: name, direction: "out" });
    return this.#endStream(stream);
  }

  #toClient(name: StreamName, bytes: Uint8Array, out: Outbox): void {
    if (name === "error") this.#status.push(bytes);
    const channel = name === "stdout" ? CHANNEL.STDOUT : name === "stderr" ? CHANNEL.STDERR : undefined;
    if (channel === undefined) return;
    for (const view of encodeChannelViews(this.#options.protocol, channel, bytes)) out.add(view);
  }

  /** True once output and error stream have ended: an exit status alone may come before the output. */
  #endStream(stream: TranslatedStream): boolean {
    stream.hasEnded = true;
    const told: readonly StreamName[] = ["error", "stdout", "stderr"];
    return [...this.#streams.values()].every(({ name, hasEnded }) => hasEnded || !told.includes(name));
  }
}

function streamRefused(name: string): SessionFailure {
  const message = `the kubelet refused the ${name} stream`;
  return new SessionFailure({ reason: "upstream_refused", by: "upstream", message });
}
