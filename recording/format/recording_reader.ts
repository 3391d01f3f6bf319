import { BLOCK, BlockReader } from "./block.ts";
import { CHUNK, type Chunk, ChunkDecoder } from "./chunk.ts";
import { decodeDocument } from "./document.ts";
import { unpackPayload } from "./payload.ts";
import { RecordingError } from "./recording_error.ts";

/** `in` is towards the pod, `out` is towards the client. */
export type Direction = "in" | "out";

/** What a recording tells, in its order. `atUs` counts from the session's begin, in microseconds. */
export type RecordingEvent =
  | { type: "header"; header: Record<string, unknown> }
  | { type: "opened"; atUs: number; stream: number; name: string }
  | { type: "data"; atUs: number; stream: number; name: string; direction: Direction; bytes: Uint8Array }
  | { type: "half_closed"; atUs: number; stream: number; name: string; direction: Direction }
  | { type: "reset"; atUs: number; stream: number; name: string; direction: Direction; status: number }
  | { type: "ended"; atUs: number; stream: number; name: string; totals: Record<string, unknown> }
  | { type: "trailer"; trailer: Record<string, unknown> };

/** A recording's bytes in, what happened out. Each block's link is checked; signatures are `RecordingVerifier`'s to check. */
export class RecordingReader {
  readonly #blocks = new BlockReader();
  readonly #chunks = new ChunkDecoder();
  readonly #names = new Map<number, string>();
  readonly #key: Uint8Array | undefined;

  /** @param key 32 bytes, for a recording that is encrypted */
  constructor(key?: Uint8Array) {
    this.#key = key;
  }

  /**
   * @param chunk the next bytes of the file
   * @throws {RecordingError}
   */
  *push(chunk: Uint8Array): Generator<RecordingEvent, void, undefined> {
    let number = this.#blocks.position.block;
    for (const block of this.#blocks.push(chunk)) {
      if (block.kind === BLOCK.HEADER) yield { type: "header", header: decodeDocument(block.payload) };
      if (block.kind === BLOCK.TRAILER) yield { type: "trailer", trailer: decodeDocument(block.payload) };
      if (block.kind === BLOCK.DATA) {
        const plain = unpackPayload(block, number, this.#key);
        for (const each of this.#chunks.read(plain)) yield this.#event(each);
      }
      number++;
    }
  }

  #event({ atUs, stream, kind, bytes }: Chunk): RecordingEvent {
    if (kind === CHUNK.OPENED) {
      const { stream: name } = decodeDocument(bytes);
      if (typeof name !== "string") throw new RecordingError("chunk_invalid", "a stream without a name");
      this.#names.set(stream, name);
      return { type: "opened", atUs, stream, name };
    }
    const name = this.#names.get(stream);
    if (name === undefined) {
      throw new RecordingError("chunk_invalid", "a chunk of a stream that was not opened");
    }
    const about = { atUs, stream, name };
    switch (kind) {
      case CHUNK.IN:
      case CHUNK.OUT:
        return { type: "data", ...about, direction: kind === CHUNK.IN ? "in" : "out", bytes };
      case CHUNK.CLOSED_IN:
      case CHUNK.CLOSED_OUT:
        return { type: "half_closed", ...about, direction: kind === CHUNK.CLOSED_IN ? "in" : "out" };
      case CHUNK.RESET_IN:
      case CHUNK.RESET_OUT: {
        const status = Number(new TextDecoder().decode(bytes));
        return { type: "reset", ...about, direction: kind === CHUNK.RESET_IN ? "in" : "out", status };
      }
      case CHUNK.ENDED:
        this.#names.delete(stream);
        return { type: "ended", ...about, totals: decodeDocument(bytes) };
    }
  }
}
