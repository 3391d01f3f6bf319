import { Buffer } from "node:buffer";
import {
  channelsOf,
  encodePortMessages,
  type PortForwardChannelProtocol,
  writeStreamHeaders,
} from "../protocol/port_forward/mod.ts";
import {
  encodeChannel,
  encodeChannelViews,
  type MessagePiece,
  MessageReader,
} from "../protocol/remote_command/mod.ts";
import {
  type ControlFrame,
  type DataFrame,
  dataHeader,
  FrameDecoder,
  FrameEncoder,
  GOAWAY_STATUS,
  RST_STATUS,
  type RstStreamFrame,
} from "../protocol/spdy/mod.ts";
import { type DataEvent, encodePong, OPCODE, WebSocketError } from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { type PortForwardOptions, splicePortForward } from "./port_forward_splice.ts";
import type { SessionEnd } from "./stream_event.ts";
import { WebSocketPeer } from "./websocket_peer.ts";

/** What was negotiated with a client whose ports are channels of a WebSocket. */
export interface ChannelsRequest {
  protocol: PortForwardChannelProtocol;
  /** In the order of the query, 128 at most; one may stand there more than once. */
  ports: readonly number[];
}

const ALL_ENDED: SessionEnd = {
  reason: "upstream_closed",
  by: "upstream",
  message: "every forwarded connection has ended",
};

/**
 * {@linkcode splicePortForward} for a client whose ports are channels of a WebSocket: one connection to each, from the start.
 *
 * @param client switched to WebSocket, nothing sent yet
 */
export async function forwardChannels(
  client: ByteConnection,
  upstream: ByteConnection,
  request: ChannelsRequest,
  options: PortForwardOptions,
): Promise<SessionEnd> {
  const channels = new ChannelsConnection(client, request, options.limits.lingerMs);
  const end = await splicePortForward(channels, upstream, options);
  await channels.closed;
  return channels.haveAllEnded && end.reason === "client_closed" ? ALL_ENDED : end;
}

/** A port of the request and its two streams. */
interface ChannelPort {
  index: number;
  port: number;
  errorId: number;
  dataId: number;
  dataEnded: boolean;
  errorEnded: boolean;
}

/**
 * A client whose ports are channels of a WebSocket, as one that speaks SPDY: so that it is checked, counted and limited like any
 * other.
 *
 *     client                                      here
 *                                                 SYN_STREAM error and data of each port, request ID = index
 *     [2i, low, high] [2i+1, low, high]   <-
 *     [2i, bytes]                         <->     DATA of the data stream
 *     [2i+1, text]                        <-      DATA of the error stream
 *     Close                               ->      GOAWAY
 *     Close 1000                          <-      every port has ended, or GOAWAY
 *
 * A port that has ended, on one way or both, cannot be told: the client learns of the end of all.
 */
class ChannelsConnection implements ByteConnection {
  readonly #protocol: PortForwardChannelProtocol;
  readonly #socket: WebSocketPeer;
  readonly #messages: MessageReader;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #ports: readonly ChannelPort[];
  /** By the number of either stream. */
  readonly #portOf = new Map<number, ChannelPort>();
  /** Frames of ours that wait to be read. */
  #frames: Uint8Array[] = [];
  #woken = Promise.withResolvers<"woken">();
  #reading: Promise<DataEvent[] | null> | undefined;
  /** Pings of the gateway that the client's next pong answers. */
  #asked: number[] = [];
  #hasStarted = false;
  #hasEnded = false;

  constructor(client: ByteConnection, { protocol, ports }: ChannelsRequest, lingerMs: number) {
    this.#protocol = protocol;
    this.#messages = new MessageReader(protocol);
    const onPong = (payload: Uint8Array) => this.#pong(payload);
    this.#socket = new WebSocketPeer(client, { role: "server", lingerMs, onPong });
    this.#ports = ports.map((port, index) => {
      const state = { index, port, errorId: 4 * index + 1, dataId: 4 * index + 3 };
      return { ...state, dataEnded: false, errorEnded: false };
    });
    for (const port of this.#ports) {
      this.#portOf.set(port.errorId, port);
      this.#portOf.set(port.dataId, port);
    }
  }

  get closed(): Promise<void> {
    return this.#socket.closed;
  }

  get haveAllEnded(): boolean {
    return this.#ports.every(hasEnded);
  }

  async read(): Promise<Uint8Array | null> {
    if (!this.#hasStarted) await this.#start();
    for (;;) {
      if (this.#frames.length > 0) return Buffer.concat(this.#frames.splice(0));
      if (this.#hasEnded) return null;
      this.#reading ??= this.#socket.read();
      this.#reading.catch(() => {}); // rejects for who waits for it next, if now nobody does
      const heard = await Promise.race([this.#reading, this.#woken.promise]);
      if (heard === "woken") {
        this.#woken = Promise.withResolvers();
        continue;
      }
      this.#reading = undefined;
      if (heard === null) this.#leave();
      else for (const piece of heard) this.#message(piece);
    }
  }

  /** First the port messages, then the streams, so that nothing can come before the former. */
  async #start(): Promise<void> {
    this.#hasStarted = true;
    await this.#socket.write(...encodePortMessages(this.#protocol, this.#ports.map(({ port }) => port)));
    for (const { index, port, errorId, dataId } of this.#ports) {
      const requestId = String(index);
      const open = (id: number, type: "error" | "data") =>
        this.#say({
          ...{ type: "syn_stream", id, associatedId: 0, priority: 0, slot: 0, unidirectional: false },
          fin: type === "error",
          headers: writeStreamHeaders({ type, port, requestId }),
        });
      open(errorId, "error");
      open(dataId, "data");
    }
  }

  #message(event: DataEvent): void {
    const piece = this.#readMessage(event);
    if (piece?.bytes === undefined || piece.bytes.length === 0) return;
    const port = this.#ports[piece.channel / 2]; // none for error channels, which are ours to write
    if (port === undefined || hasEnded(port)) return;
    // Copied: it may be read later than the socket is.
    this.#frames.push(Buffer.concat([dataHeader(port.dataId, piece.bytes.length), piece.bytes]));
  }

  #readMessage(event: DataEvent): MessagePiece | undefined {
    try {
      return this.#messages.read(event);
    } catch (thrown) {
      if (thrown instanceof WebSocketError) this.#socket.refuse(thrown);
      throw thrown;
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    const messages: Uint8Array[] = [];
    const pings: number[] = [];
    for (const frame of this.#decoder.push(bytes)) {
      switch (frame.type) {
        case "data":
          messages.push(...this.#data(frame));
          break;
        case "rst_stream":
          messages.push(...this.#rst(frame));
          break;
        case "ping":
          pings.push(frame.id);
          break;
        case "goaway":
          await this.#socket.write(...messages.splice(0));
          this.#socket.close();
          break;
        default: // nothing that channels could tell
      }
    }
    messages.push(...this.#ping(pings));
    if (messages.length > 0) await this.#socket.write(...messages);
  }

  #data({ id, bytes, fin }: DataFrame): Iterable<Uint8Array> {
    const port = this.#portOf.get(id);
    if (port === undefined) return [];
    const channels = channelsOf(port.index);
    if (fin) this.#end(port, id);
    return encodeChannelViews(this.#protocol, id === port.dataId ? channels.data : channels.error, bytes);
  }

  #rst({ id, status }: RstStreamFrame): Uint8Array[] {
    const port = this.#portOf.get(id);
    if (port === undefined) return [];
    this.#end(port, id);
    if (status !== RST_STATUS.REFUSED_STREAM || id !== port.errorId) return [];
    const text = new TextEncoder().encode(
      `port ${port.port} is not forwarded: too many connections are open`,
    );
    return [encodeChannel(this.#protocol, channelsOf(port.index).error, text)];
  }

  /** The upstream says no more on a stream. With both ended the connection is over, whatever its client still has to say. */
  #end(port: ChannelPort, id: number): void {
    if (hasEnded(port)) return;
    if (id === port.dataId) port.dataEnded = true;
    else port.errorEnded = true;
    if (!hasEnded(port)) return;
    this.#say({ type: "rst_stream", id: port.dataId, status: RST_STATUS.CANCEL });
    if (this.haveAllEnded) this.#leave();
  }

  /**
   * Passes the gateway's pings on, a whole round as one. Some clients answer only while their program reads: for these we
   * answer at once.
   */
  #ping(ids: readonly number[]): Uint8Array[] {
    const asked = ids.filter((id) => id % 2 === 0);
    if (ids.length > asked.length) return [encodePong(new Uint8Array())]; // nothing is asked, something is told
    if (asked.length === 0) return [];
    this.#asked = asked;
    const payload = new TextEncoder().encode(String(asked.at(-1)));
    if (!this.#socket.hasPinged) this.#pong(payload);
    return [this.#socket.frame(OPCODE.PING, payload)];
  }

  #pong(payload: Uint8Array): void {
    if (new TextDecoder().decode(payload) !== String(this.#asked.at(-1))) return;
    for (const id of this.#asked.splice(0)) this.#say({ type: "ping", id });
  }

  #leave(): void {
    if (this.#hasEnded) return;
    this.#say({ type: "goaway", lastGoodId: 0, status: GOAWAY_STATUS.OK });
    this.#hasEnded = true;
  }

  /** Puts a frame where the next read finds it. */
  #say(frame: ControlFrame): void {
    this.#frames.push(this.#encoder.encode(frame));
    this.#woken.resolve("woken");
  }

  close(): void {
    this.#socket.close();
  }
}

function hasEnded({ dataEnded, errorEnded }: ChannelPort): boolean {
  return dataEnded && errorEnded;
}
