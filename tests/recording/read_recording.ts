import { createDecipheriv, createHash, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { zstdDecompressSync } from "node:zlib";

/**
 * A reader that was written from docs/recording-format.md alone and takes nothing from recording/: that the document says enough is
 * shown by its reading the same as `postern export --format json`.
 *
 * @module
 */

const MAGIC = "postern recording 1\n";
const MAX_BYTES = 1_048_576;

/** How a recording is read that is encrypted or whose seals are to be checked. */
export interface Keys {
  /** 32 bytes, which the header's age file holds. */
  data?: Uint8Array;
  /** In PEM; where there is none, seals are not checked. */
  publicKey?: string;
}

type Json = Record<string, unknown>;

function sha256(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

const json = (bytes: Uint8Array): Json => JSON.parse(new TextDecoder().decode(bytes));

/** All that a whole recording tells, as `postern export --format json` writes it. @throws where it is not what was written */
export function* readRecording(path: string, keys: Keys = {}): Generator<Json> {
  const file = readFileSync(path);
  demand(file.subarray(0, 20).toString() === MAGIC, "this is no recording");
  const names = new Map<number, string>();
  let link = sha256(file.subarray(0, 20));
  let atUs = 0;
  let before = 0; // kind of the block before
  let isOver = false;
  let number = 1;
  for (let at = 20; at < file.length; number++) {
    const [kind = 0, flags = 0] = file.subarray(at, at + 2);
    const length = file.readUInt32BE(at + 2);
    const end = at + 6 + length;
    demand(length <= MAX_BYTES && kind >= 1 && kind <= 4 && flags <= 3, `block ${number} is none`);
    demand((kind === 1) === (number === 1), `block ${number} is out of order`);
    demand(!isOver || (kind === 3 && before === 4), `block ${number} stands behind the end`);
    let payload: Uint8Array = file.subarray(at + 6, end);
    const next = sha256(link, file.subarray(at, end));
    demand(file.subarray(end, end + 32).equals(next), `block ${number} is not what was written`);
    if (kind === 1) yield { type: "header", header: json(payload) };
    if (kind === 3 && keys.publicKey !== undefined) checkSeal(json(payload), link, keys.publicKey);
    if (kind === 4) {
      isOver = true;
      yield { type: "trailer", trailer: json(payload) };
    }
    if (kind === 2) {
      if (flags & 2) payload = decrypt(payload, number, keys.data);
      if (flags & 1) payload = zstdDecompressSync(payload, { maxOutputLength: MAX_BYTES });
      for (const chunk of chunksOf(payload)) {
        atUs += chunk.sinceUs;
        yield eventOf(chunk, atUs, names);
      }
    }
    [link, at, before] = [next, end + 32, kind];
  }
  demand(isOver, "the recording has no end");
  demand(before === 3 || keys.publicKey === undefined, "the end is not sealed");
}

function checkSeal(seal: Json, link: Uint8Array, publicKey: string): void {
  const signed = Buffer.concat([Buffer.from(`postern recording 1 seal\n${seal.at}\n`), link]);
  const isRight = verify(null, signed, publicKey, Buffer.from(String(seal.signature), "base64"));
  demand(isRight, `the seal of ${seal.at} is wrong`);
}

function decrypt(payload: Uint8Array, number: number, key: Uint8Array | undefined): Uint8Array {
  demand(key !== undefined, "the recording is encrypted");
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 4);
  const cipher = createDecipheriv("aes-256-gcm", key, nonce);
  cipher.setAuthTag(payload.subarray(-16));
  return Buffer.concat([cipher.update(payload.subarray(0, -16)), cipher.final()]);
}

interface Chunk {
  sinceUs: number;
  stream: number;
  kind: number;
  bytes: Uint8Array;
}

function* chunksOf(payload: Uint8Array): Generator<Chunk> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = payload[at++];
      demand(byte !== undefined && scale < 2 ** 56, "a number is cut");
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < payload.length) {
    const [sinceUs, tag, length] = [varint(), varint(), varint()];
    demand(at + length <= payload.length, "a chunk is cut");
    yield { sinceUs, stream: Math.floor(tag / 8), kind: tag % 8, bytes: payload.subarray(at, at + length) };
    at += length;
  }
}

function eventOf({ stream, kind, bytes }: Chunk, atUs: number, names: Map<number, string>): Json {
  if (kind === 0) names.set(stream, String(json(bytes).stream));
  const name = names.get(stream);
  demand(name !== undefined, `stream ${stream} was not opened`);
  const about = { atUs, stream, name };
  const direction = kind % 2 === 1 ? "in" : "out";
  if (kind === 0) return { type: "opened", ...about };
  if (kind <= 2) return { type: "data", ...about, direction, bytes: Buffer.from(bytes).toString("base64") };
  if (kind <= 4) return { type: "half_closed", ...about, direction };
  if (kind <= 6) return { type: "reset", ...about, direction, status: Number(Buffer.from(bytes).toString()) };
  return { type: "ended", ...about, totals: json(bytes) };
}
