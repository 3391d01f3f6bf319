import { commandOf } from "./command_of.ts";
import { GzipInflater } from "./gzip_inflater.ts";
import type { RsyncFacts } from "./rsync_facts.ts";
import { beginsTar, BLOCK_BYTES } from "./tar_header.ts";
import { type ManifestBounds, type TarListing, TarManifest } from "./tar_manifest.ts";

/** What files passed through a session, as far as it can be known. */
export type Manifest =
  | ({
    kind: "tar";
    /** `in` is towards the pod. */
    direction: "in" | "out";
    /** How it was found: the command said so, or a stream of another command began as an archive does. */
    foundBy: "command" | "content";
    compression?: "gzip";
  } & TarListing)
  | ({ kind: "rsync" } & RsyncFacts);

/** What a session tells of its streams, as far as a manifest wants it. */
export type ManifestEvent =
  | { type: "data"; stream: string; direction: "in" | "out"; bytes: Uint8Array }
  | { type: "opened" | "half_closed" | "reset" };

/** What begins so is compressed, in a way that is not looked into. */
const COMPRESSIONS: readonly { name: string; magic: readonly number[] }[] = [
  { name: "bzip2", magic: [0x42, 0x5a, 0x68] },
  { name: "xz", magic: [0xfd, 0x37, 0x7a] },
  { name: "zstd", magic: [0x28, 0xb5, 0x2f] },
  { name: "compress", magic: [0x1f, 0x9d] },
];

/**
 * Looks at a session's stdin and stdout while they pass, and lists the files in them. It is a tap that never refuses:
 * what it cannot read it says in the manifest, and the session goes on.
 *
 * A stream is read as a tar where the command is one that reads or writes it there ({@linkcode commandOf}), with gzip
 * or without, whatever its flags say; and where, without a terminal, its first block is a tar's header with the right
 * checksum, whatever the command.
 */
export class ManifestTap {
  readonly #streams: ReadonlyMap<string, StreamManifest>;
  readonly #rsync: RsyncFacts | undefined;

  constructor(
    { argv = [], tty, bounds }: { argv?: readonly string[]; tty: boolean; bounds?: ManifestBounds },
  ) {
    const transfer = commandOf(argv);
    this.#rsync = transfer?.kind === "rsync" ? transfer.facts : undefined;
    const streams = new Map<string, StreamManifest>();
    if (!tty && this.#rsync === undefined) {
      for (const [stream, direction] of [["stdin", "in"], ["stdout", "out"]] as const) {
        const isTar = transfer?.kind === "tar" && transfer.direction === direction;
        const startsAtByte = isTar ? transfer.startsAtByte : undefined;
        streams.set(stream, new StreamManifest(direction, isTar, startsAtByte, bounds));
      }
    }
    this.#streams = streams;
  }

  /** Never rejects. Waits only where gzip is inflated. */
  push(event: ManifestEvent): void | Promise<void> {
    if (event.type !== "data") return;
    const stream = this.#streams.get(event.stream);
    if (stream?.direction === event.direction) return stream.push(event.bytes);
  }

  /** The session is over. @returns one for each stream that is known to have carried files */
  async end(): Promise<readonly Manifest[]> {
    const manifests: Manifest[] = this.#rsync ? [{ kind: "rsync", ...this.#rsync }] : [];
    for (const stream of this.#streams.values()) {
      const manifest = await stream.end();
      if (manifest !== undefined) manifests.push(manifest);
    }
    return manifests;
  }
}

/** One direction of a session. */
class StreamManifest {
  /** The first bytes, until it is known what they are; then undefined. */
  #head: Uint8Array | undefined = new Uint8Array();
  #manifest: TarManifest | undefined;
  #gzip: GzipInflater | undefined;

  constructor(
    readonly direction: "in" | "out",
    readonly isTarByCommand: boolean,
    startsAtByte: number | undefined,
    readonly bounds: ManifestBounds | undefined,
  ) {
    if (!isTarByCommand) return;
    this.#manifest = new TarManifest(bounds);
    if (startsAtByte === undefined) return;
    this.#manifest.stop(`the archive is continued from its byte ${startsAtByte}`);
  }

  push(bytes: Uint8Array): void | Promise<void> {
    if (this.#head === undefined) return this.#read(bytes);
    this.#head = joined(this.#head, bytes);
    if (this.#head.length >= BLOCK_BYTES) return this.#begin();
  }

  async end(): Promise<Manifest | undefined> {
    await this.#begin();
    await this.#gzip?.end();
    if (this.#manifest === undefined) return undefined;
    return {
      kind: "tar",
      direction: this.direction,
      foundBy: this.isTarByCommand ? "command" : "content",
      ...(this.#gzip && { compression: "gzip" }),
      ...this.#manifest.end(),
    };
  }

  /** Decides by the first block what the stream is, and reads it. */
  #begin(): void | Promise<void> {
    const head = this.#head;
    this.#head = undefined;
    if (head === undefined) return;
    if (this.#manifest === undefined) {
      if (!beginsTar(head)) return;
      this.#manifest = new TarManifest(this.bounds);
    }
    const compression = COMPRESSIONS.find(({ magic }) => magic.every((byte, at) => head[at] === byte));
    if (compression !== undefined && !beginsTar(head)) {
      this.#manifest.stop(`compressed by ${compression.name}, which is not looked into`);
    } else if (head[0] === 0x1f && head[1] === 0x8b && !beginsTar(head)) {
      this.#gzip = new GzipInflater(this.#manifest);
    }
    return this.#read(head);
  }

  #read(bytes: Uint8Array): void | Promise<void> {
    if (this.#manifest?.isReading !== true) return;
    if (this.#gzip !== undefined) return this.#gzip.push(bytes);
    this.#manifest.push(bytes);
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
