import {
  type ForwardedStreamHeaders,
  readStreamHeaders,
  writeStreamHeaders,
} from "../protocol/port_forward/mod.ts";
import {
  type DataFrame,
  dataFrame,
  dataHeader,
  RST_STATUS,
  type RstStreamFrame,
  type SynReplyFrame,
  type SynStreamFrame,
} from "../protocol/spdy/mod.ts";
import { GuardedTap } from "./guarded_tap.ts";
import type { Party } from "./lifetime.ts";
import {
  type ForwardedConnection,
  type ForwardedStream,
  newStream,
  OpenConnection,
} from "./port_forward_connection.ts";
import type { FrameSender } from "./frame_sender.ts";
import { RefusedStreams } from "./refused_streams.ts";
import {
  type Direction,
  type SessionEnd,
  SessionFailure,
  type StreamEvent,
  type Tap,
} from "./stream_event.ts";

/** How long a kubelet waits for the second stream of a connection, in milliseconds (E-105). */
const PAIRING_TIMEOUT_MS = 30_000;

/** Connections whose end may wait to be written down before no more is read. */
const MAX_UNWRITTEN = 64;

const MAX_STREAM_ID = 0x7fff_ffff;

/** What is forwarded, and who wants to know of it. */
export interface ForwardingOptions {
  tap: Tap;
  /** What the policy says of a port: the sentence of a denial. */
  checkPort(port: number): string | undefined;
  /**
   * Called once for each forwarded connection when it has ended, refused ones included. The last frame of its streams
   * waits for it; other connections do not. If it rejects, the session ends as `audit_failure`.
   */
  onConnection(connection: ForwardedConnection): void | Promise<void>;
  /** A client of the OpenShift documents: a stream with a port and nothing else is a connection's only one. */
  isLegacy: boolean;
  /** Connections that may be open at once; each has two streams. */
  maxConnections: number;
}

/** Where a relay puts what it sends. Whoever feeds it flushes both. */
export interface Senders {
  toClient: FrameSender;
  toUpstream: FrameSender;
}

/** A frame that says something of a stream. */
export type StreamFrame = SynStreamFrame | SynReplyFrame | RstStreamFrame | DataFrame;

/**
 * The streams of a port-forward between its two sides: frames in, frames out, and a summary of each connection. It neither
 * reads nor waits; what it returns is to be awaited before the next frame of that side.
 *
 * The port of each stream is read before the stream is opened upstream, and nothing of a port that is denied goes there.
 * Which streams belong together is said to the kubelet in words of our own reading, headers and numbers written anew, so that
 * it cannot find other pairs than we did.
 */
export class PortForwardRelay {
  readonly #toClient: FrameSender;
  readonly #toUpstream: FrameSender;
  readonly #options: ForwardingOptions;
  readonly #tap: GuardedTap;
  readonly #fail: (end: SessionEnd) => void;
  /** By the client's numbers, and by ours upstream. */
  readonly #streams = new Map<number, ForwardedStream>();
  readonly #upstreamStreams = new Map<number, ForwardedStream>();
  readonly #connections = new Set<OpenConnection>();
  readonly #refusedToClient = new RefusedStreams();
  readonly #refusedToUpstream = new RefusedStreams();
  /** Those that have one of their two streams, by request ID. */
  readonly #halves = new Map<string, OpenConnection>();
  /** What is being written down. */
  readonly #reports = new Set<Promise<void>>();
  #lastClientId = 0;
  #lastUpstreamId = 0;
  #lastRefused: string | undefined;

  /** @param fail ends the session */
  constructor(
    { toClient, toUpstream }: Senders,
    options: ForwardingOptions,
    fail: (end: SessionEnd) => void,
  ) {
    this.#toClient = toClient;
    this.#toUpstream = toUpstream;
    this.#options = options;
    this.#tap = new GuardedTap(options.tap);
    this.#fail = fail;
  }

  /** The highest stream number that the client has used. */
  get lastClientId(): number {
    return this.#lastClientId;
  }

  /** Streams that are remembered: the bound of all memory. */
  get openStreams(): number {
    return this.#streams.size;
  }

  fromClient(frame: StreamFrame): void | Promise<void> {
    if (frame.type === "syn_stream") return this.#syn(frame);
    const stream = this.#streams.get(frame.id);
    if (stream === undefined) return; // it has ended, and Go peers say nothing either
    if (frame.type === "data") return this.#data(stream, frame, "in", isReadUpstream(stream));
    if (frame.type === "rst_stream") return this.#rst(stream, "in", frame.status);
    // Nobody opens streams towards a client: a SYN_REPLY is nothing.
  }

  fromUpstream(frame: StreamFrame): void | Promise<void> {
    if (frame.type === "syn_stream") {
      this.#refusedToUpstream.add();
      return this.#resetUpstream(frame.id, RST_STATUS.REFUSED_STREAM);
    }
    const stream = this.#upstreamStreams.get(frame.id);
    if (stream === undefined) return;
    if (frame.type === "data") return this.#data(stream, frame, "out", true);
    if (frame.type === "rst_stream") return this.#rst(stream, "out", frame.status);
    this.#accept(stream);
    return frame.fin ? this.#fin(stream, "out") : undefined;
  }

  /** Resolves when there is room again for connections whose end is not yet written down. */
  async room(): Promise<void> {
    while (this.#reports.size > MAX_UNWRITTEN) await Promise.race(this.#reports);
  }

  /** Puts a sentence on every error stream that the client has open, which ends its connection. Comes into its summary too. */
  tellAll(sentence: string): void {
    const text = new TextEncoder().encode(sentence);
    for (const { error } of this.#connections) {
      if (error?.id === undefined || error.upstreamEnded) continue;
      error.connection.fail(text);
      this.#tellError(error.connection, sentence);
    }
  }

  /** Ends all connections that are open. @returns when every one is written down; never rejects */
  async endAll(): Promise<void> {
    for (const connection of this.#connections) {
      if (!connection.data?.upstreamEnded) connection.endedBy = "session";
      this.#close(connection);
    }
    await Promise.all(this.#reports);
  }

  #syn(frame: SynStreamFrame): void | Promise<void> {
    // As spdystream does: the connection lives, the stream does not.
    if (frame.id < this.#lastClientId + (this.#lastClientId === 0 ? 1 : 2)) {
      this.#refusedToClient.add();
      return this.#reset(frame.id, RST_STATUS.PROTOCOL_ERROR);
    }
    this.#lastClientId = frame.id;
    const said = readStreamHeaders(frame.id, frame.headers, this.#options);
    if (!said.ok) return this.#refuse(frame.id, RST_STATUS.CANCEL, said.requestId, 0, said.reason);
    const { requestId, port } = said.stream;
    if (frame.unidirectional) {
      return this.#refuse(frame.id, RST_STATUS.CANCEL, requestId, port, "a forwarded stream goes both ways");
    }
    return this.#open(frame, said.stream);
  }

  #open(frame: SynStreamFrame, { type, port, requestId, isAlone }: ForwardedStreamHeaders) {
    const { maxConnections, checkPort } = this.#options;
    const half = isAlone ? undefined : this.#half(requestId);
    const isSpare = half?.[type] !== undefined;
    if (this.#streams.size >= 2 * maxConnections || (!half && this.#connections.size >= maxConnections)) {
      const why = `no more than ${maxConnections} connections can be forwarded at once`;
      return this.#refuse(frame.id, RST_STATUS.REFUSED_STREAM, requestId, port, why);
    }
    if (isSpare && half.denial !== undefined) return this.#reset(frame.id);

    const connection = half ?? new OpenConnection(requestId, port);
    const stream = newStream(connection, type, port, { id: frame.id, isSpare, clientEnded: frame.fin });
    this.#connections.add(connection);
    this.#streams.set(frame.id, stream);
    if (!isSpare) {
      connection[type] = stream;
      if (connection.denial === undefined) {
        connection.denial = checkPort(port);
        if (type === "data" || connection.denial !== undefined) connection.port = port;
      }
      if (half) this.#halves.delete(requestId);
      else if (!isAlone) this.#halves.set(requestId, connection);
    }
    const told = this.#tell({ type: "opened", id: frame.id, stream: stream.name });
    const admit = () => this.#admit(stream, port, isAlone || half !== undefined && !isSpare);
    return told ? told.then(admit) : admit();
  }

  /** A connection that waits for its second stream. A kubelet's patience has an end, after which the request ID is free again. */
  #half(requestId: string): OpenConnection | undefined {
    const half = this.#halves.get(requestId);
    if (half === undefined || half.ageMs < PAIRING_TIMEOUT_MS) return half;
    this.#halves.delete(requestId);
    return undefined;
  }

  #admit(stream: ForwardedStream, port: number, isComplete: boolean): void | Promise<void> {
    const { connection } = stream;
    if (connection.denial !== undefined) {
      this.#accept(stream);
      return isComplete ? this.#deny(connection, connection.denial) : undefined;
    }
    if (isComplete && connection.error === undefined) {
      const own = { id: undefined, isAccepted: true, clientEnded: true };
      connection.error = newStream(connection, "error", port, own);
      this.#openUpstream(connection.error, port);
    }
    this.#openUpstream(stream, port);
  }

  /** Opens a stream upstream, under the client's number as long as that is free there. */
  #openUpstream(stream: ForwardedStream, port: number): void {
    const { type, connection: { requestId }, clientEnded } = stream;
    const id = Math.max(stream.id ?? 0, this.#lastUpstreamId === 0 ? 1 : this.#lastUpstreamId + 2);
    if (id > MAX_STREAM_ID) {
      const message = "the session has used up all stream numbers";
      throw new SessionFailure({ reason: "gateway_error", by: "gateway", message });
    }
    this.#lastUpstreamId = id;
    stream.upstreamId = id;
    this.#upstreamStreams.set(id, stream);
    this.#toUpstream.addFrame({
      ...{ type: "syn_stream", id, associatedId: 0, priority: 0, slot: 0, unidirectional: false },
      // The end of our own error stream is told at once, as client-go does.
      fin: clientEnded,
      headers: writeStreamHeaders({ type, port, requestId }),
    });
  }

  /** Refuses a stream with no word but a reset, as kubelets do (E-101), and writes down why. */
  #refuse(id: number, status: number, requestId: string, port: number, error: string): void {
    // The other stream of a connection is refused for the same reason: that is no second connection.
    const what = JSON.stringify([requestId, port, error]);
    const isKnown = what === this.#lastRefused;
    this.#lastRefused = what;
    const refused = { requestId, port, bytesIn: 0, bytesOut: 0, openedAt: new Date(), durationMs: 0, error };
    const written = isKnown ? undefined : this.#report({ ...refused, endedBy: "gateway" });
    this.#toClient.after(written, () => this.#reset(id, status));
  }

  /** Ends a connection that the policy refuses. What went upstream of it, before its port was known, is taken back. */
  async #deny(connection: OpenConnection, sentence: string): Promise<void> {
    const streams = [connection.error, connection.data].filter((stream) => stream !== undefined);
    for (const stream of streams) {
      await this.#tell({ ...about(stream), type: "reset", direction: "out", status: RST_STATUS.CANCEL });
    }
    let written: Promise<void> | undefined;
    for (const stream of streams) {
      this.#resetUpstream(stream.upstreamId);
      written = this.#end(stream) ?? written;
    }
    this.#toClient.after(written, () => this.#tellError(connection, sentence));
  }

  /** @param isRead whether the other side reads what is sent there; if not, only its end is passed on */
  #data(
    stream: ForwardedStream,
    frame: DataFrame,
    direction: Direction,
    isRead: boolean,
  ): void | Promise<void> {
    if (direction === "in" ? stream.clientEnded : stream.upstreamEnded) return;
    const told = isRead && frame.bytes.length > 0 && stream.id !== undefined
      ? this.#tell({ ...about(stream), type: "data", direction, bytes: frame.bytes })
      : undefined;
    if (told) return told.then(() => this.#pass(stream, frame, direction, isRead));
    return this.#pass(stream, frame, direction, isRead);
  }

  #pass(
    stream: ForwardedStream,
    frame: DataFrame,
    direction: Direction,
    isRead: boolean,
  ): void | Promise<void> {
    if (direction === "in" ? stream.clientEnded : stream.upstreamEnded) return; // reset while the tap looked at it
    const { connection, type } = stream;
    const [out, id] = this.#wayOut(stream, direction);
    if (isRead) {
      if (type === "error") {
        connection.fail(frame.bytes);
        connection.endedBy ??= "upstream";
      } else if (direction === "in") connection.bytesIn += frame.bytes.length;
      else connection.bytesOut += frame.bytes.length;
      // Its end goes by itself, when it is written down.
      if (id !== undefined && frame.bytes.length > 0) out.addData(unended(frame), id);
    }
    if (!frame.fin) return;
    const told = stream.id === undefined
      ? undefined
      : this.#tell({ ...about(stream), type: "half_closed", direction });
    if (told) return told.then(() => this.#fin(stream, direction));
    return this.#fin(stream, direction);
  }

  #fin(stream: ForwardedStream, direction: Direction): void | Promise<void> {
    if (direction === "in" ? stream.clientEnded : stream.upstreamEnded) return;
    const [out, id] = this.#wayOut(stream, direction);
    if (stream.type === "data") stream.connection.endedBy ??= sender(direction);
    const written = this.#end(stream, direction);
    if (id === undefined) return this.#endAlone(stream.connection);
    return out.after(written, () => out.add(dataHeader(id, 0, true)));
  }

  #rst(stream: ForwardedStream, direction: Direction, status: number): void | Promise<void> {
    const told = stream.id === undefined
      ? undefined
      : this.#tell({ ...about(stream), type: "reset", direction, status });
    const pass = () => {
      const [out, id] = this.#wayOut(stream, direction);
      if (!stream.isSpare) stream.connection.endedBy ??= sender(direction);
      const written = this.#end(stream);
      if (id === undefined) return this.#endAlone(stream.connection);
      return out.after(written, () => out.addFrame({ type: "rst_stream", id, status }));
    };
    return told ? told.then(pass) : pass();
  }

  /** The client of a connection without an error stream learns from a reset that it failed. */
  async #endAlone({ data, hasFailed }: OpenConnection): Promise<void> {
    if (!hasFailed || data === undefined || data.clientEnded && data.upstreamEnded) return;
    await this.#tell({ ...about(data), type: "reset", direction: "out", status: RST_STATUS.CANCEL });
    this.#resetUpstream(data.upstreamId);
    this.#toClient.after(this.#end(data), () => this.#reset(data.id));
  }

  /** Where what comes from `direction` goes, and the stream's number there. */
  #wayOut(stream: ForwardedStream, direction: Direction): [FrameSender, number | undefined] {
    return direction === "in" ? [this.#toUpstream, stream.upstreamId] : [this.#toClient, stream.id];
  }

  /**
   * Marks a stream as ended, one way or both, and forgets what has ended both ways.
   *
   * @returns what must be waited for before the end is told: its connection is being written down
   */
  #end(stream: ForwardedStream, direction?: Direction): Promise<void> | undefined {
    if (direction !== "out") stream.clientEnded = true;
    if (direction !== "in") stream.upstreamEnded = true;
    if (!stream.clientEnded || !stream.upstreamEnded) return undefined;
    if (stream.id !== undefined) this.#streams.delete(stream.id);
    if (stream.upstreamId !== undefined) this.#upstreamStreams.delete(stream.upstreamId);
    const { connection } = stream;
    return connection.hasEnded ? this.#close(connection) : undefined;
  }

  /** Writes a connection down, once. */
  #close(connection: OpenConnection): Promise<void> | undefined {
    if (!this.#connections.delete(connection)) return undefined;
    const { requestId } = connection;
    if (this.#halves.get(requestId) === connection) this.#halves.delete(requestId);
    return this.#report(connection.summary());
  }

  #report(connection: ForwardedConnection): Promise<void> | undefined {
    let told: void | Promise<void>;
    try {
      told = this.#options.onConnection(connection);
    } catch (thrown) {
      told = Promise.reject(thrown);
    }
    if (!told) return undefined;
    const written = told.catch((cause) => {
      this.#fail(auditFailure(cause));
      throw cause;
    });
    const settled = written.catch(() => {}).then(() => {
      this.#reports.delete(settled);
    });
    this.#reports.add(settled);
    return written;
  }

  #tell(event: StreamEvent): void | Promise<void> {
    return this.#tap.push(event);
  }

  /** As a kubelet does: text on the error stream, then both are reset (E-103). A client hears only what it knows as accepted. */
  #tellError({ data, error }: OpenConnection, text: string): void {
    const streams = [data, error].filter((stream) => stream !== undefined);
    for (const stream of streams) this.#accept(stream);
    if (error?.id !== undefined) {
      this.#toClient.add(dataFrame(error.id, new TextEncoder().encode(text)));
    }
    for (const { id } of streams) this.#reset(id);
  }

  #accept(stream: ForwardedStream): void {
    const { id } = stream;
    if (id === undefined || stream.isAccepted) return;
    stream.isAccepted = true;
    this.#toClient.addFrame({ type: "syn_reply", id, fin: false, headers: new Map() });
  }

  #reset(id: number | undefined, status: number = RST_STATUS.CANCEL): void {
    if (id !== undefined) this.#toClient.addFrame({ type: "rst_stream", id, status });
  }

  #resetUpstream(id: number | undefined, status: number = RST_STATUS.CANCEL): void {
    if (id !== undefined) this.#toUpstream.addFrame({ type: "rst_stream", id, status });
  }
}

/** A stream, as the tap knows it. */
function about({ id, name }: ForwardedStream): { id: number; stream: string } {
  return { id: id!, stream: name };
}

/** Nobody reads an error stream or a spare one: what is sent there would block the kubelet's connection. */
function isReadUpstream({ type, isSpare, upstreamId }: ForwardedStream): boolean {
  return type === "data" && !isSpare && upstreamId !== undefined;
}

/** A DATA frame without its FIN. */
function unended(frame: DataFrame): DataFrame {
  return frame.fin ? { type: "data", id: frame.id, bytes: frame.bytes, fin: false } : frame;
}

function sender(direction: Direction): Party {
  return direction === "in" ? "client" : "upstream";
}

function auditFailure(cause: unknown): SessionEnd {
  const message = "the audit log cannot be written, so the session ends";
  return { reason: "audit_failure", by: "gateway", message, cause };
}
