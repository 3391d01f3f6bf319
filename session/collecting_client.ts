import { expectedStreams, STREAM_PROTOCOLS, type StreamName } from "../protocol/remote_command/mod.ts";
import { FrameDecoder, FrameEncoder, synStream } from "../protocol/spdy/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { UPSTREAM_PROTOCOL } from "./websocket_translation.ts";

/** What a container runtime keeps of each output of a command whose output is asked for as a whole, in bytes. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * A client of a command, inside the gateway: it opens the streams for output and gathers what comes on them. Spliced like
 * any other client, so that a command that is run for its output is seen and limited like any other session.
 */
export class CollectingClient implements ByteConnection {
  /** The streams that a splice has to expect. */
  static readonly STREAMS: readonly StreamName[] = expectedStreams(
    { stdin: false, stdout: true, stderr: true, tty: false },
    STREAM_PROTOCOLS[UPSTREAM_PROTOCOL],
  );
  readonly #decoder = new FrameDecoder();
  readonly #outputs = new Map<number, Gathered>();
  readonly #ended = Promise.withResolvers<void>();
  #opening: Uint8Array | undefined;

  constructor() {
    const encoder = new FrameEncoder();
    const frames = CollectingClient.STREAMS.map((streamtype, index) => {
      const id = 2 * index + 1;
      this.#outputs.set(id, new Gathered(streamtype));
      return encoder.encode(synStream(id, { streamtype }));
    });
    this.#opening = new Uint8Array(frames.flatMap((frame) => [...frame]));
  }

  /** What came on a stream; of more than 16 MiB the beginning. */
  output(name: StreamName): Uint8Array {
    return [...this.#outputs.values()].find((output) => output.name === name)?.bytes() ?? new Uint8Array();
  }

  async read(): Promise<Uint8Array | null> {
    const opening = this.#opening;
    this.#opening = undefined;
    if (opening !== undefined) return opening;
    await this.#ended.promise;
    return null;
  }

  write(bytes: Uint8Array): Promise<void> {
    for (const frame of this.#decoder.push(bytes)) {
      if (frame.type === "data") this.#outputs.get(frame.id)?.push(frame.bytes);
      if (frame.type === "goaway") this.#ended.resolve();
    }
    return Promise.resolve();
  }

  close(): void {
    this.#ended.resolve();
  }
}

class Gathered {
  #pieces: Uint8Array[] = [];
  #length = 0;

  constructor(readonly name: StreamName) {}

  push(bytes: Uint8Array): void {
    const kept = bytes.slice(0, MAX_OUTPUT_BYTES - this.#length);
    this.#length += kept.length;
    if (kept.length > 0) this.#pieces.push(kept);
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}
