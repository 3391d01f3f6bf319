import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import {
  encodeClose,
  encodeFrame,
  type HeaderLines,
  OPCODE,
  type Opcode,
  readUpgradeResponse,
  upgradeRequestHeaders,
} from "../../protocol/websocket/mod.ts";
import { type ChannelProtocol, encodeChannel } from "../../protocol/remote_command/mod.ts";

/** What to ask for. */
export interface UpgradeOptions {
  /** Path and query. */
  path: string;
  host: string;
  /** Sent besides those of the handshake, such as `Authorization`. */
  headers?: HeaderLines;
  /** Offered in this order, in one line. */
  protocols?: readonly string[];
  /** How long any one wait may take. @default {10000} */
  timeoutMs?: number;
}

/** An HTTP answer as it stood on the wire. Of a 101 the body is empty. */
export interface HttpAnswer {
  status: number;
  headers: HeaderLines;
  /** As long as `Content-Length` says, or else up to the end of the connection. */
  body: string;
}

/** One frame, as it came. */
export interface ReceivedFrame {
  opcode: number;
  fin: boolean;
  payload: Uint8Array;
}

/** Everything that a server sent up to its end. */
export interface Transcript {
  /** Every frame but the Close. */
  frames: ReceivedFrame[];
  /** Bytes of each channel, joined. */
  channels: Map<number, Uint8Array>;
  /** Of the Close frame; 1005 where it had none, 1006 where the connection ended without one. */
  closeCode: number;
}

/**
 * Asks for a WebSocket and returns the answer, with a client if it was a 101. Closing the connection is the caller's.
 */
export async function upgrade(
  conn: Deno.Conn,
  { path, host, headers = [], protocols = [], timeoutMs = 10_000 }: UpgradeOptions,
): Promise<{ answer: HttpAnswer; client?: WebSocketClient }> {
  const key = randomBytes(16).toString("base64");
  const lines = [["Host", host] as const, ...upgradeRequestHeaders(key, protocols), ...headers];
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const bytes = new ByteReader(conn, timeoutMs);
  await writeAll(conn, new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n${head}\r\n`));
  const answer = await readAnswer(bytes);
  if (answer.status !== 101) return { answer };
  const protocol = readUpgradeResponse(answer.status, answer.headers, { key, protocols });
  return { answer, client: new WebSocketClient(conn, bytes, protocol) };
}

/**
 * A WebSocket client that hides nothing: frames go out and come in one by one, pings are not answered. It reads frames by
 * code of its own, so that a test does not hold the gateway's decoder against itself.
 */
export class WebSocketClient {
  readonly #conn: Deno.Conn;
  readonly #bytes: ByteReader;

  /** @param protocol the subprotocol that the server chose */
  constructor(conn: Deno.Conn, bytes: ByteReader, readonly protocol: string) {
    this.#conn = conn;
    this.#bytes = bytes;
  }

  /** Bytes as they are: for frames that no client should send. */
  async sendRaw(bytes: Uint8Array): Promise<void> {
    await writeAll(this.#conn, bytes);
  }

  /** One masked frame. @param fin false where a continuation follows */
  async sendFrame(opcode: Opcode, payload: Uint8Array, fin = true): Promise<void> {
    await this.sendRaw(encodeFrame(opcode, payload, { fin, key: randomBytes(4) }));
  }

  /** One message on a channel, in the protocol that was negotiated. Text is sent as UTF-8. */
  async sendChannel(channel: number, payload: Uint8Array | string): Promise<void> {
    const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
    const protocol = channelProtocol(this.protocol);
    await this.sendRaw(encodeChannel(protocol, channel, bytes, { key: randomBytes(4) }));
  }

  /** A Close frame. The connection stays open. */
  async sendClose(code = 1000, reason = ""): Promise<void> {
    await this.sendRaw(encodeClose(code, reason, { key: randomBytes(4) }));
  }

  /** The next frame; `null` at the end of the connection, even inside a frame. */
  async receive(): Promise<ReceivedFrame | null> {
    const start = await this.#bytes.take(2);
    if (start === null) return null;
    const short = start[1]! & 0x7f;
    const extended = await this.#bytes.take(short === 126 ? 2 : short === 127 ? 8 : 0);
    if (extended === null) return null;
    const length = extended.length === 0 ? short : Number(`0x${Buffer.from(extended).toString("hex")}`);
    const payload = await this.#bytes.take(length);
    return payload && { opcode: start[0]! & 0x0f, fin: start[0]! >= 0x80, payload };
  }

  /** Reads everything up to the server's Close frame, or the end of the connection. */
  async receiveAll(): Promise<Transcript> {
    const frames: ReceivedFrame[] = [];
    let closeCode = 1006;
    for (let frame = await this.receive(); frame !== null; frame = await this.receive()) {
      if (frame.opcode === OPCODE.CLOSE) {
        closeCode = frame.payload.length < 2 ? 1005 : frame.payload[0]! * 256 + frame.payload[1]!;
        break;
      }
      frames.push(frame);
    }
    return { frames, channels: joinChannels(frames, this.protocol.includes("base64")), closeCode };
  }

  close(): void {
    this.#conn.close();
  }
}

/** Bytes of a connection in the portions one asks for. */
class ByteReader {
  #held: Uint8Array = new Uint8Array();
  constructor(readonly conn: Deno.Conn, readonly timeoutMs: number) {}

  /** Exactly `count` bytes; `null` where the connection ends before. */
  async take(count: number): Promise<Uint8Array | null> {
    while (this.#held.length < count) if (!await this.#more()) return null;
    const taken = this.#held.slice(0, count);
    this.#held = this.#held.subarray(count);
    return taken;
  }

  /** What comes before `delimiter`, which is taken too. */
  async takeUntil(delimiter: string): Promise<string> {
    for (;;) {
      const at = Buffer.from(this.#held.buffer, this.#held.byteOffset, this.#held.length).indexOf(delimiter);
      if (at >= 0) {
        return Buffer.from((await this.take(at + delimiter.length))!).toString("latin1").slice(0, at);
      }
      if (!await this.#more()) throw new Error("connection ended inside the HTTP head");
    }
  }

  async takeRest(): Promise<Uint8Array> {
    while (await this.#more());
    return this.#held;
  }

  async #more(): Promise<boolean> {
    const chunk = new Uint8Array(64 * 1024);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing came for ${this.timeoutMs} ms`)), this.timeoutMs);
    });
    try {
      const count = await Promise.race([this.conn.read(chunk), late]);
      if (count === null) return false;
      this.#held = Buffer.concat([this.#held, chunk.subarray(0, count)]);
      return true;
    } catch (error) {
      // A server that closes with our bytes unread resets the connection: an end like any other.
      if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.UnexpectedEof) {
        return false;
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

async function readAnswer(bytes: ByteReader): Promise<HttpAnswer> {
  const [statusLine = "", ...lines] = (await bytes.takeUntil("\r\n\r\n")).split("\r\n");
  const status = Number(statusLine.split(" ")[1]);
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  if (status === 101) return { status, headers, body: "" };
  const length = headers.find(([name]) => name.toLowerCase() === "content-length")?.[1];
  const body = length === undefined ? await bytes.takeRest() : await bytes.take(Number(length));
  return { status, headers, body: new TextDecoder().decode(body ?? new Uint8Array()) };
}

function joinChannels(frames: readonly ReceivedFrame[], base64: boolean): Map<number, Uint8Array> {
  const channels = new Map<number, Uint8Array>();
  for (const { opcode, payload } of frames) {
    if (opcode >= OPCODE.CLOSE || payload.length === 0) continue;
    const channel = base64 ? payload[0]! - 0x30 : payload[0]!;
    const rest = Buffer.from(payload.subarray(1));
    const bytes = base64 ? Buffer.from(rest.toString("latin1"), "base64") : rest;
    channels.set(channel, Buffer.concat([channels.get(channel) ?? new Uint8Array(), bytes]));
  }
  return channels;
}

function channelProtocol(name: string): ChannelProtocol {
  const known: readonly ChannelProtocol[] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
  ];
  const protocol = known.find((candidate) => candidate === name);
  if (protocol === undefined) throw new Error(`${name} has no channels`);
  return protocol;
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}
