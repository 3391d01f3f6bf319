import {
  type ControlFrame,
  dataFrame,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  synStream,
} from "../../protocol/spdy/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";

/** A frame as a test sees it: data as text, its pieces joined as they were read. */
export type SeenFrame = Exclude<Frame, { type: "data" }> | {
  type: "data";
  id: number;
  text: string;
  fin: boolean;
};

/** A SPDY peer for tests, of either role, over any connection. */
export class SpdyPeer {
  readonly #connection: ByteConnection;
  readonly #encoder = new FrameEncoder();
  readonly #decoder = new FrameDecoder();
  readonly #seen: SeenFrame[] = [];

  constructor(connection: ByteConnection) {
    this.#connection = connection;
  }

  async send(...frames: ControlFrame[]): Promise<void> {
    for (const frame of frames) await this.#connection.write(this.#encoder.encode(frame));
  }

  /** Opens streams as client-go does: ids 1, 3, 5, … in this order. */
  async open(...names: string[]): Promise<void> {
    let id = 1;
    for (const streamtype of names) {
      await this.send(synStream(id, { streamtype }));
      id += 2;
    }
  }

  async data(id: number, text: string | Uint8Array, fin = false): Promise<void> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    await this.#connection.write(dataFrame(id, bytes, fin));
  }

  async sendRaw(bytes: Uint8Array): Promise<void> {
    await this.#connection.write(bytes);
  }

  /** The next frame, or `null` at the end of the connection. */
  async next(): Promise<SeenFrame | null> {
    while (this.#seen.length === 0) {
      const chunk = await this.#connection.read();
      if (chunk === null) return null;
      for (const frame of this.#decoder.push(chunk)) {
        if (frame.type !== "data") this.#seen.push(frame);
        else {
          const { type, id, fin } = frame;
          this.#seen.push({ type, id, fin, text: new TextDecoder().decode(frame.bytes) });
        }
      }
    }
    return this.#seen.shift()!;
  }

  /** The next `count` frames. */
  async take(count: number): Promise<SeenFrame[]> {
    const frames: SeenFrame[] = [];
    for (let index = 0; index < count; index++) {
      const frame = await this.next();
      if (frame === null) throw new Error(`the connection ended after ${index} of ${count} frames`);
      frames.push(frame);
    }
    return frames;
  }

  /** All frames up to the end of the connection. */
  async rest(): Promise<SeenFrame[]> {
    const frames: SeenFrame[] = [];
    for (let frame = await this.next(); frame !== null; frame = await this.next()) frames.push(frame);
    return frames;
  }

  close(): void {
    this.#connection.close();
  }
}
