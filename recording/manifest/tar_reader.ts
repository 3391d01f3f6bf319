import { type PaxRecords, readPaxRecords } from "./pax_records.ts";
import {
  BLOCK_BYTES,
  type EntryType,
  type MetaType,
  readTarHeader,
  TarFault,
  type TarHeader,
  WITHOUT_CONTENT,
} from "./tar_header.ts";

/** An entry of an archive, with all that was said of it. */
export interface TarEntry {
  path: string;
  type: EntryType;
  /** Empty of what is no link. */
  linkTarget: string;
  /** 0 to 0o7777. */
  mode: number;
  /** As it is unpacked. */
  sizeBytes: number;
  /** Of its content in the stream: less than `sizeBytes` of a sparse file. */
  storedBytes: number;
  isSparse: boolean;
}

/** Is told of an archive in the order of the stream: an entry, its content in pieces, its end. */
export interface TarVisitor {
  entry(entry: TarEntry): void;
  /** A view of what was pushed. */
  content(bytes: Uint8Array): void;
  entryEnd(): void;
}

/** Where in the stream we are. */
type State =
  | { type: "header" }
  | { type: "sparse_map"; header: TarHeader }
  | { type: "meta"; of: MetaType; left: number; pieces: Uint8Array[]; padding: number }
  | { type: "content"; left: number; padding: number }
  | { type: "padding"; left: number }
  | { type: "ended" };

/** Pax records and long names that stand before an entry and are of it. */
interface Said {
  pax?: PaxRecords;
  path?: string;
  linkTarget?: string;
}

/**
 * Takes a tar stream apart as it passes: ustar, pax, GNU and old ones, told apart header by header. Of content nothing
 * is kept.
 */
export class TarReader {
  readonly #visitor: TarVisitor;
  readonly #maxMetaBytes: number;
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #blockBytes = 0;
  #state: State = { type: "header" };
  #hadZeroBlock = false;
  #said: Said = {};
  #metaBytes = 0;

  /** @param maxMetaBytes of pax records and long names before one entry */
  constructor(visitor: TarVisitor, maxMetaBytes: number) {
    this.#visitor = visitor;
    this.#maxMetaBytes = maxMetaBytes;
  }

  /** Whether the archive has said that it is over. One block of zeros is half a word, which all readers understand. */
  get isEnded(): boolean {
    return this.#state.type === "ended" || (this.#hadZeroBlock && this.#blockBytes === 0);
  }

  /**
   * Bytes of the stream, cut anywhere.
   *
   * @throws {TarFault} where the stream is no tar, or readers understand it differently; push no more then
   */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#take(bytes.subarray(at));
  }

  /** @returns how many bytes were taken: at least one */
  #take(bytes: Uint8Array): number {
    const state = this.#state;
    switch (state.type) {
      case "header":
      case "sparse_map": {
        const taken = bytes.subarray(0, BLOCK_BYTES - this.#blockBytes);
        this.#block.set(taken, this.#blockBytes);
        this.#blockBytes += taken.length;
        if (this.#blockBytes === BLOCK_BYTES) {
          this.#blockBytes = 0;
          if (state.type === "header") this.#header();
          else if (this.#block[504] === 0) this.#entry(state.header);
          else this.#spend(BLOCK_BYTES);
        }
        return taken.length;
      }
      case "meta": {
        const taken = bytes.slice(0, state.left);
        state.pieces.push(taken);
        state.left -= taken.length;
        if (state.left === 0) {
          this.#learn(state.of, concat(state.pieces));
          this.#skip(state.padding);
        }
        return taken.length;
      }
      case "content": {
        const taken = bytes.subarray(0, state.left);
        this.#visitor.content(taken);
        state.left -= taken.length;
        if (state.left === 0) {
          this.#visitor.entryEnd();
          this.#skip(state.padding);
        }
        return taken.length;
      }
      case "padding": {
        const taken = Math.min(bytes.length, state.left);
        this.#skip(state.left - taken);
        return taken;
      }
      case "ended":
        // The last record is filled up with zeros. Whoever reads on behind them, as `tar -i` does, unpacks what we do not list.
        if (bytes.some((byte) => byte !== 0)) {
          throw new TarFault("more follows behind the end of the archive");
        }
        return bytes.length;
    }
  }

  #header(): void {
    if (this.#block.every((byte) => byte === 0)) {
      if (this.#hadZeroBlock) this.#state = { type: "ended" };
      this.#hadZeroBlock = true;
      return;
    }
    if (this.#hadZeroBlock) throw new TarFault("more follows behind the end of the archive");
    const header = readTarHeader(this.#block);
    const { type, sizeBytes } = header;
    switch (type) {
      case "pax":
      case "pax-global":
      case "long-path":
      case "long-link":
        this.#spend(sizeBytes);
        if (sizeBytes === 0) this.#learn(type, new Uint8Array());
        else {this.#state = {
            type: "meta",
            of: type,
            left: sizeBytes,
            pieces: [],
            padding: paddingOf(sizeBytes),
          };}
        break;
      default:
        if (header.sparse?.hasMore) this.#state = { type: "sparse_map", header };
        else this.#entry(header);
    }
  }

  #learn(of: MetaType, bytes: Uint8Array): void {
    const { pax, path, linkTarget } = this.#said;
    const isTwice = of === "pax"
      ? (pax ?? path ?? linkTarget) !== undefined
      : of === "long-path"
      ? (pax ?? path) !== undefined
      : of === "long-link" && (pax ?? linkTarget) !== undefined;
    if (isTwice) throw new TarFault("an entry is named twice, of which readers of tar take one or the other");
    if (of === "pax") {
      this.#said.pax = readPaxRecords(bytes);
    } else if (of === "pax-global") {
      const said = Object.keys(readPaxRecords(bytes));
      if (said.length > 0) {
        throw new TarFault("a global pax record names all files alike, which not all readers of tar heed");
      }
    } else {
      this.#said[of === "long-path" ? "path" : "linkTarget"] = upToNul(bytes);
    }
  }

  #entry(header: TarHeader): void {
    const { pax = {}, path = pax.path ?? header.path, linkTarget = pax.linkTarget ?? header.linkTarget } =
      this.#said;
    const storedBytes = pax.sizeBytes ?? header.sizeBytes;
    const { type, mode } = header;
    this.#said = {};
    this.#metaBytes = 0;
    if (!isEntry(type)) throw new TarFault("a header of no entry stands where one of an entry should");
    if (storedBytes !== 0 && WITHOUT_CONTENT.has(type)) {
      throw new TarFault(
        `content follows a ${type}, which readers of tar take for the next header or pass over`,
      );
    }
    const isSparse = header.sparse !== undefined || pax.isSparse === true;
    const sizeBytes = header.sparse?.realSizeBytes ?? pax.realSizeBytes ?? storedBytes;
    this.#visitor.entry({ path, type, linkTarget, mode, sizeBytes, storedBytes, isSparse });
    if (storedBytes > 0) {
      this.#state = { type: "content", left: storedBytes, padding: paddingOf(storedBytes) };
      return;
    }
    this.#visitor.entryEnd();
    this.#skip(0);
  }

  #skip(left: number): void {
    this.#state = left > 0 ? { type: "padding", left } : { type: "header" };
  }

  #spend(bytes: number): void {
    this.#metaBytes += bytes;
    if (this.#metaBytes > this.#maxMetaBytes) {
      throw new TarFault(`more than ${this.#maxMetaBytes} bytes are said of one entry`);
    }
  }
}

function isEntry(type: TarHeader["type"]): type is EntryType {
  return type !== "pax" && type !== "pax-global" && type !== "long-path" && type !== "long-link";
}

function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - sizeBytes % BLOCK_BYTES) % BLOCK_BYTES;
}

function upToNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end === -1 ? bytes : bytes.subarray(0, end));
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
