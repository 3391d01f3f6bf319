import { createCipheriv, createDecipheriv } from "node:crypto";
import { Buffer } from "node:buffer";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { MAX_PAYLOAD_BYTES, PAYLOAD } from "./block.ts";
import { RecordingError } from "./recording_error.ts";

/** Level 1 gives nearly all that higher ones do on terminal output, at the speed of a copy on what cannot be compressed. */
const COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** Shorter payloads are left as they are, in bytes: a keystroke does not get smaller. */
export const COMPRESS_FROM_BYTES = 128;

/** Of AES-256-GCM, behind the ciphertext. */
export const TAG_BYTES = 16;

/** A payload as it stands in a block. */
export interface SealedPayload {
  flags: number;
  payload: Uint8Array;
}

/** Whether a payload that was packed was worth compressing. */
export function isCompressed({ flags }: SealedPayload): boolean {
  return (flags & PAYLOAD.ZSTD) !== 0;
}

/**
 * Compresses a plain payload, where that makes it smaller, and encrypts it, where there is a key.
 *
 * @param plain at most {@linkcode MAX_PAYLOAD_BYTES}
 * @param options `key`: 32 bytes. `mayCompress`: `false` where it is not worth the time.
 * @param block the block's number in its file, from 1: each key is used for one file, so that no nonce comes twice
 */
export function packPayload(
  plain: Uint8Array,
  block: number,
  { key, mayCompress = true }: { key?: Uint8Array | undefined; mayCompress?: boolean } = {},
): SealedPayload {
  let flags = 0;
  let payload = plain;
  if (mayCompress && plain.length >= COMPRESS_FROM_BYTES) {
    const compressed = zstdCompressSync(plain, { ...COMPRESSION, pledgedSrcSize: plain.length });
    if (compressed.length < plain.length) {
      payload = compressed;
      flags |= PAYLOAD.ZSTD;
    }
  }
  if (key === undefined) return { flags, payload };
  const cipher = createCipheriv("aes-256-gcm", key, nonceOf(block));
  const encrypted = Buffer.concat([cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
  return { flags: flags | PAYLOAD.ENCRYPTED, payload: encrypted };
}

/**
 * The inverse of {@linkcode packPayload}.
 *
 * @throws {RecordingError} `key_missing`; `payload_invalid`, also where it would be larger than any that is written
 */
export function unpackPayload(
  { flags, payload }: SealedPayload,
  block: number,
  key?: Uint8Array,
): Uint8Array {
  let plain = payload;
  if ((flags & PAYLOAD.ENCRYPTED) !== 0) {
    if (key === undefined) throw new RecordingError("key_missing", "the recording is encrypted");
    plain = decrypt(payload, block, key);
  }
  if ((flags & PAYLOAD.ZSTD) === 0) return plain;
  try {
    return zstdDecompressSync(plain, { maxOutputLength: MAX_PAYLOAD_BYTES });
  } catch (cause) {
    throw new RecordingError("payload_invalid", "a block cannot be decompressed", { cause });
  }
}

function decrypt(payload: Uint8Array, block: number, key: Uint8Array): Uint8Array {
  try {
    const end = payload.length - TAG_BYTES;
    // Said, not left to what is given: Node.js takes tags of four bytes where nothing is said.
    const cipher = createDecipheriv("aes-256-gcm", key, nonceOf(block), { authTagLength: TAG_BYTES });
    cipher.setAuthTag(payload.subarray(end));
    return Buffer.concat([cipher.update(payload.subarray(0, end)), cipher.final()]);
  } catch (cause) {
    throw new RecordingError("payload_invalid", "a block cannot be decrypted with this key", { cause });
  }
}

/** 12 bytes: 4 zeros, then the block's number, big endian. */
function nonceOf(block: number): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(block), 4);
  return nonce;
}
