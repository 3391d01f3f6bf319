import { BLOCK, type Block, BlockReader, firstLink, MAGIC, type Position } from "./block.ts";
import { decodeDocument, sealedBytes } from "./document.ts";
import { RecordingError } from "./recording_error.ts";
import type { Verifier } from "./signer.ts";

/** What is wrong with a recording, and where: every byte before `at` is what was written. */
export interface Fault {
  code: RecordingError["code"] | "tail_missing" | "seal_missing" | "key_unknown" | "session_wrong";
  message: string;
  at: Position;
}

/** What holds of a recording. */
export interface Verification {
  /** The first thing that is wrong; absent where nothing is. */
  fault?: Fault;
  /** Whole blocks that stand in an unbroken chain. */
  blocks: number;
  /** The link of the last of them, hexadecimal: by it a day's chain knows the recording. */
  link: string;
  /** Seals whose signature is right. */
  seals: number;
  header: Record<string, unknown> | undefined;
  trailer: Record<string, unknown> | undefined;
}

/**
 * Checks a recording as its bytes come: each block's link, the order of the blocks, each seal. What is encrypted need not be
 * decrypted for it.
 *
 * @param verifier whose seals count; without keys links are checked, but anyone could have made them
 */
export class RecordingVerifier {
  readonly #verifier: Verifier;
  readonly #auditId: string | undefined;
  readonly #reader = new BlockReader();
  #at: Position = { offset: 0, block: 1 };
  #fault: Fault | undefined;
  #blocks = 0;
  #seals = 0;
  #link = firstLink();
  #isSealed = false;
  #unknownKey: string | undefined;
  #header: Record<string, unknown> | undefined;
  #trailer: Record<string, unknown> | undefined;

  /** @param auditId of the session whose recording it is said to be: another one, however whole, is in the wrong place */
  constructor(verifier: Verifier, auditId?: string) {
    this.#verifier = verifier;
    this.#auditId = auditId;
  }

  /** @param chunk the next bytes of the file */
  push(chunk: Uint8Array): void {
    if (this.#fault !== undefined) return;
    try {
      let before = this.#reader.link;
      this.#at = this.#reader.position;
      for (const block of this.#reader.push(chunk)) {
        this.#block(block, before);
        this.#blocks++;
        before = block.link;
        this.#link = block.link;
        this.#at = this.#reader.position;
      }
    } catch (thrown) {
      if (!(thrown instanceof RecordingError)) throw thrown;
      // The words at a recording's begin are no block. They are right where the reader is past them.
      if (this.#at.offset === 0 && this.#reader.position.offset > 0) {
        this.#at = { offset: MAGIC.length, block: 1 };
      }
      this.#fault = { code: thrown.code, message: thrown.message, at: this.#at };
    }
  }

  /** The file has ended. */
  end(): Verification {
    const fault = this.#fault ?? this.#missing() ?? this.#mistaken();
    const { header, trailer } = { header: this.#header, trailer: this.#trailer };
    const { blocks, seals, link } = { blocks: this.#blocks, seals: this.#seals, link: this.#link.toHex() };
    return { ...(fault && { fault }), blocks, link, seals, header, trailer };
  }

  #missing(): Fault | undefined {
    const at = this.#reader.position;
    const rest = this.#reader.heldBytes;
    if (this.#trailer === undefined || (rest > 0 && !this.#isSealed)) {
      const cut = rest > 0 ? `, within a block of which ${rest} bytes are there` : "";
      return { code: "tail_missing", message: `the recording ends before its end${cut}`, at };
    }
    if (rest > 0) return { code: "order_wrong", message: "bytes follow the recording's end", at };
    if (this.#verifier.isEmpty) return undefined;
    if (!this.#isSealed) {
      return { code: "seal_missing", message: "no signature stands behind the trailer", at };
    }
    if (this.#unknownKey === undefined) return undefined;
    return { code: "key_unknown", message: `signed with a key that is not known: ${this.#unknownKey}`, at };
  }

  #mistaken(): Fault | undefined {
    if (this.#auditId === undefined || this.#header?.auditId === this.#auditId) return undefined;
    const message = `it is the recording of another session: ${this.#header?.auditId}`;
    return { code: "session_wrong", message, at: { offset: MAGIC.length, block: 1 } };
  }

  #block({ kind, payload }: Block, before: Uint8Array): void {
    if ((kind === BLOCK.HEADER) !== (this.#blocks === 0)) {
      throw order("a header that is not the first block, or none");
    }
    if (this.#trailer !== undefined && (kind !== BLOCK.SEAL || this.#isSealed)) {
      throw order("a block behind the recording's end");
    }
    this.#isSealed = kind === BLOCK.SEAL;
    if (kind === BLOCK.HEADER) this.#header = decodeDocument(payload);
    if (kind === BLOCK.TRAILER) this.#trailer = decodeDocument(payload);
    if (kind === BLOCK.SEAL) this.#seal(decodeDocument(payload), before);
  }

  #seal({ at, key, signature }: Record<string, unknown>, before: Uint8Array): void {
    if (typeof at !== "string" || typeof key !== "string" || typeof signature !== "string") {
      throw new RecordingError("payload_invalid", "a seal without time, key or signature");
    }
    if (this.#verifier.isEmpty) return;
    const isRight = this.#verifier.verify(key, sealedBytes(at, before), fromBase64(signature));
    if (isRight === undefined) this.#unknownKey = key;
    else if (isRight) this.#seals++;
    else throw new RecordingError("signature_wrong", `the signature of ${at} is wrong`);
  }
}

function order(message: string): RecordingError {
  return new RecordingError("order_wrong", message);
}

function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    throw new RecordingError("payload_invalid", "a signature that is no base64");
  }
}
