import { createHash, type Hash } from "node:crypto";
import { type EntryType, TarFault } from "./tar_header.ts";
import { type TarEntry, TarReader } from "./tar_reader.ts";

/** An entry of an archive that passed. */
export interface ManifestFile {
  /** As the archive has it. What is no UTF-8 reads U+FFFD. */
  path: string;
  type: EntryType;
  /** As it is unpacked. Of what has no content, 0. */
  sizeBytes: number;
  /** Permissions in four octal digits or less: `644`, `4755`. */
  mode: string;
  /** Of links. */
  linkTarget?: string;
  /** Of a file's content, in hex; absent of what has none, is sparse or partial. */
  sha256?: string;
  /** Holes are left out in the stream, so that what passed is not the content as it is unpacked. */
  isSparse?: true;
  /** Not all of the content passed, or not all of it was read. */
  isPartial?: true;
  /** The path or the link's target goes on. */
  isCut?: true;
}

/** What an archive held, as far as it was read. */
export interface TarListing {
  files: readonly ManifestFile[];
  /** Of all entries, also of those that are not listed. */
  count: number;
  /** Of all content, in bytes. */
  contentBytes: number;
  /** There are more entries than are listed. */
  truncated: boolean;
  /** Why the archive was not read to its end, for people; absent where it was. */
  reason?: string;
}

/** Bounds of a manifest: it holds no more, whatever passes. */
export interface ManifestBounds {
  /** Entries that are listed; the others are counted. @default {1000} */
  maxFiles?: number;
  /** Of one path or link target, in bytes of UTF-8. @default {1024} */
  maxNameBytes?: number;
  /** Of all paths and link targets, in bytes of UTF-8; what comes behind is counted. @default {262144} */
  maxNamesBytes?: number;
  /** Of pax records and long names before one entry, in bytes. @default {262144} */
  maxMetaBytes?: number;
}

/**
 * Lists what is in a tar stream while it passes.
 *
 * Bytes in, a list out: no I/O, nothing kept of contents, and nothing thrown. Where the stream is no tar, or readers
 * could take it for something else than we do, the manifest ends and says why; what becomes of the stream is none of
 * its business.
 */
export class TarManifest {
  readonly #maxFiles: number;
  readonly #maxNameBytes: number;
  readonly #reader: TarReader;
  readonly #files: ManifestFile[] = [];
  #namesLeft: number;
  #current: { file: ManifestFile; hash: Hash | undefined } | undefined;
  #isFull = false;
  #count = 0;
  #contentBytes = 0;
  #reason: string | undefined;

  constructor(
    { maxFiles = 1000, maxNameBytes = 1024, maxNamesBytes = 262144, maxMetaBytes = 262144 }: ManifestBounds =
      {},
  ) {
    this.#maxFiles = maxFiles;
    this.#maxNameBytes = maxNameBytes;
    this.#namesLeft = maxNamesBytes;
    this.#reader = new TarReader({
      entry: (entry) => this.#enter(entry),
      content: (bytes) => this.#pass(bytes),
      entryEnd: () => this.#leave(),
    }, maxMetaBytes);
  }

  /** Whether more bytes would be read. */
  get isReading(): boolean {
    return this.#reason === undefined;
  }

  /** Bytes of the stream, cut anywhere. */
  push(bytes: Uint8Array): void {
    if (!this.isReading) return;
    try {
      this.#reader.push(bytes);
    } catch (thrown) {
      this.stop(thrown instanceof TarFault ? thrown.message : "the archive could not be read");
    }
  }

  /** Reads no further, for a reason of which people are told. The first one stands. */
  stop(reason: string): void {
    this.#reason ??= reason;
  }

  /** The stream is over. */
  end(): TarListing {
    if (!this.#reader.isEnded) this.stop("the stream ended before the archive did");
    const partial: ManifestFile[] = this.#current ? [{ ...this.#current.file, isPartial: true }] : [];
    const files = [...this.#files, ...partial];
    return {
      files,
      count: this.#count,
      contentBytes: this.#contentBytes,
      truncated: this.#count > files.length,
      ...(this.#reason !== undefined && { reason: this.#reason }),
    };
  }

  #enter({ path, type, linkTarget, mode, sizeBytes, isSparse }: TarEntry): void {
    this.#count++;
    if (this.#isFull) return;
    const [name, nameBytes] = this.#cut(path);
    const [target, targetBytes] = this.#cut(linkTarget);
    this.#namesLeft -= nameBytes + targetBytes;
    this.#isFull = this.#files.length === this.#maxFiles || this.#namesLeft < 0;
    if (this.#isFull) return;
    const isCut = name !== path || target !== linkTarget;
    const hash = type === "file" && !isSparse ? createHash("sha256") : undefined;
    const file: ManifestFile = {
      ...{ path: name, type, sizeBytes, mode: mode.toString(8).padStart(3, "0") },
      ...(target !== "" && { linkTarget: target }),
      ...(isSparse && { isSparse }),
      ...(isCut && { isCut }),
    };
    this.#current = { file, hash };
  }

  #pass(bytes: Uint8Array): void {
    this.#contentBytes += bytes.length;
    this.#current?.hash?.update(bytes);
  }

  #leave(): void {
    if (this.#current === undefined) return;
    const { file, hash } = this.#current;
    this.#files.push(hash === undefined ? file : { ...file, sha256: hash.digest("hex") });
    this.#current = undefined;
  }

  #cut(name: string): [kept: string, bytes: number] {
    const { read, written } = new TextEncoder().encodeInto(name, new Uint8Array(this.#maxNameBytes));
    return [name.slice(0, read), written];
  }
}
