import { type ControlFrame, type DataFrame, dataHeader, FrameEncoder } from "../protocol/spdy/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { Outbox } from "./outbox.ts";

/** What may wait for a side that takes nothing before who answers it has to wait too, in bytes. */
const MAX_WAITING_BYTES = 256 * 1024;

/**
 * All that is sent to one side of a session, by whichever direction: frames leave in the order in which they were added,
 * as their header blocks require.
 *
 * What was added is written by the next flush, of whoever; so who added views of a buffer flushes before the buffer is used
 * again, and waits.
 */
export class FrameSender {
  readonly #connection: ByteConnection;
  readonly #encoder = new FrameEncoder();
  readonly #outbox = new Outbox();
  #written: Promise<unknown> = Promise.resolve();
  #waitingBytes = 0;
  /** Whose bytes may be written over, and from where on. */
  #chunk: { buffer: ArrayBufferLike; fromByte: number } | undefined;

  constructor(connection: ByteConnection) {
    this.#connection = connection;
  }

  add(bytes: Uint8Array): void {
    this.#outbox.add(bytes);
  }

  /**
   * Tells what is passed on from now on: frames of `chunk`, as a connection with so much headroom gave it. Headers are then written
   * into it.
   */
  passOn(chunk: Uint8Array, headroomBytes: number): void {
    const { buffer, byteOffset } = chunk;
    this.#chunk = headroomBytes === 0 ? undefined : { buffer, fromByte: byteOffset - headroomBytes };
  }

  /** Adds a DATA frame, or a piece of one as a frame of its own: a connection that is cut later never leaves a frame open. */
  addData({ raw, bytes, fin, id: from }: DataFrame, id = from): void {
    if (raw !== undefined && id === from) return this.add(raw);
    const header = dataHeader(id, bytes.length, fin);
    const at = bytes.byteOffset - header.length;
    if (bytes.buffer === this.#chunk?.buffer && at >= this.#chunk.fromByte) {
      // What lies there is the header that the frame came with, or what is left free in front of a chunk.
      const frame = new Uint8Array(bytes.buffer, at, header.length + bytes.length);
      frame.set(header);
      return this.add(frame);
    }
    this.add(header);
    this.add(bytes);
  }

  addFrame(frame: ControlFrame): void {
    this.#outbox.add(this.#encoder.encode(frame));
  }

  /**
   * Adds something when `done` resolves, and writes it then; never if it rejects. Nobody waits for it.
   *
   * @param done `undefined`: now, to be written with the next flush
   */
  after(done: Promise<void> | undefined, add: () => void): void {
    if (done === undefined) return add();
    done.then(() => {
      add();
      return this.flush();
    }).catch(() => {}); // whoever reads from the connection notices that it is lost
  }

  /** Resolves when all that was added up to now is written. */
  flush(): Promise<unknown> {
    const views = this.#outbox.take();
    if (views.length === 0) return this.#written;
    const bytes = views.reduce((sum, view) => sum + view.length, 0);
    this.#waitingBytes += bytes;
    const written = views.length === 1
      ? this.#connection.write(views[0]!)
      : Promise.all(views.map((view) => this.#connection.write(view)));
    this.#written = written;
    const taken = () => {
      this.#waitingBytes -= bytes;
      this.#outbox.release(views);
    };
    written.then(taken, taken);
    return written;
  }

  /**
   * The same for answers, by who reads from the side that gets them. It waits for that side only where much waits already: one
   * that reads nothing for a while must be heard all the same.
   */
  async flushAnswers(): Promise<void> {
    if (this.#outbox.isEmpty && this.#waitingBytes <= MAX_WAITING_BYTES) return;
    const written = this.flush();
    if (this.#waitingBytes > MAX_WAITING_BYTES) await written;
    else written.catch(() => {}); // whoever reads from the connection notices that it is lost
  }

  /** Forgets what was added and not written. */
  discard(): void {
    this.#outbox.take();
  }
}
