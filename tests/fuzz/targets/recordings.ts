import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { zstdCompressSync } from "node:zlib";
import { armor, Encrypter, generateIdentity, identityToRecipient } from "age-encryption";
import { readRecording as readForIndex } from "../../../catalog/read_recording.ts";
import { CatalogError } from "../../../catalog/catalog_error.ts";
import { AsciicastExporter } from "../../../recording/export/asciicast.ts";
import { ExportError } from "../../../recording/export/exporter.ts";
import { JsonExporter } from "../../../recording/export/json.ts";
import { TextExporter } from "../../../recording/export/text.ts";
import { BLOCK, MAGIC, PAYLOAD } from "../../../recording/format/block.ts";
import { CHUNK, ChunkDecoder } from "../../../recording/format/chunk.ts";
import { decryptKey, parseIdentities } from "../../../recording/format/decrypt_key.ts";
import { RecordingError } from "../../../recording/format/recording_error.ts";
import { type RecordingEvent, RecordingReader } from "../../../recording/format/recording_reader.ts";
import { Verifier } from "../../../recording/format/signer.ts";
import { RecordingVerifier } from "../../../recording/format/verify.ts";
import { listHolds } from "../../../recording/retention/legal_hold.ts";
import { ReplayKeyReader } from "../../../recording/replay/replay_keys.ts";
import { xmlElements, xmlText } from "../../../recording/sinks/s3_xml.ts";
import { FACTS, makeRecording, opened, said } from "../../../recording/test_recording.ts";
import { MemoryStore } from "../../support/memory_store.ts";
import { concat } from "../mutate.ts";
import { hexOf, isOneOf, orRefuses, orRejects, sameHoweverCut, textOf } from "../oracle.ts";
import type { Random } from "../random.ts";
import type { Target } from "../target.ts";

const encoder = new TextEncoder();
const json = (value: unknown) => encoder.encode(JSON.stringify(value));

const RECORDING = await makeRecording({
  events: [
    ...opened("stdout", "resize", "stdin"),
    said(1, "resize", '{"Width":80,"Height":24}'),
    said(5, "stdout", "hello\r\n\x1b[31mred\x1b[0m"),
    said(9, "stdin", "q"),
  ],
});

function eventsOf(chunks: readonly Uint8Array[]): { events: string[]; fault: string | undefined } {
  const reader = new RecordingReader();
  const events: string[] = [];
  try {
    for (const chunk of chunks) for (const event of reader.push(chunk)) events.push(textOfEvent(event));
  } catch (thrown) {
    if (!(thrown instanceof RecordingError)) throw thrown;
    return { events, fault: thrown.code };
  }
  return { events, fault: undefined };
}

function textOfEvent(event: RecordingEvent): string {
  return JSON.stringify(event, (_, value) => value instanceof Uint8Array ? hexOf(value) : value);
}

/** All that reads recordings, on one of them. */
async function readEverywhere(recording: Uint8Array): Promise<void> {
  sameHoweverCut(recording, eventsOf);
  sameHoweverCut(recording, (chunks) => {
    const verifier = new RecordingVerifier(new Verifier([]));
    for (const chunk of chunks) verifier.push(chunk);
    const { fault, blocks, link } = verifier.end();
    return { code: fault?.code, at: fault?.at, blocks, link };
  });
  for (
    const exporter of [
      new AsciicastExporter(2),
      new AsciicastExporter(3),
      new JsonExporter(),
      new TextExporter(),
    ]
  ) {
    exportBy(exporter, recording);
  }
  await orRejects(
    () => readForIndex("a/b.rec", ReadableStream.from([recording]), () => Promise.resolve(true)),
    CatalogError,
  );
}

function exportBy(exporter: AsciicastExporter | JsonExporter | TextExporter, recording: Uint8Array): void {
  const reader = new RecordingReader();
  const parts: Uint8Array[] = [];
  try {
    for (const event of reader.push(recording)) {
      for (const part of exporter.push(event)) parts.push(part.slice());
    }
    for (const part of exporter.end()) parts.push(part.slice());
  } catch (thrown) {
    if (!isOneOf(thrown, [RecordingError, ExportError])) throw thrown;
  }
  const text = textOf(concat(...parts));
  for (const line of text.split("\n")) {
    assert.doesNotMatch(
      line.replaceAll("\t", ""),
      /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u,
      "what is exported is safe to show",
    );
    if (line !== "" && !(exporter instanceof TextExporter)) JSON.parse(line);
  }
}

/** Blocks of any kind and content, linked as they should be: chance would not find a SHA-256. */
function linked(input: Uint8Array): Uint8Array {
  const blocks = [MAGIC];
  let link = createHash("sha256").update(MAGIC).digest();
  for (let at = 0; at + 4 <= input.length;) {
    const [kind = 0, flags = 0, high = 0, low = 0] = input.subarray(at, at + 4);
    const payload = input.subarray(at + 4, at + 4 + (high % 8) * 256 + low);
    const { length } = payload;
    const body = concat(Uint8Array.of(kind % 6, flags % 5, 0, 0, length >> 8, length), payload);
    link = createHash("sha256").update(link).update(body).digest();
    blocks.push(body, link);
    at += 4 + length;
  }
  return concat(...blocks);
}

/** What {@linkcode linked} makes a block of. */
function block(kind: number, payload: Uint8Array, flags = 0): Uint8Array {
  return concat(Uint8Array.of(kind, flags, payload.length >> 8, payload.length & 0xff), payload);
}

const HEADER = json({
  ...FACTS,
  startedAt: "2026-03-01T10:00:00.000000Z",
  stdin: "content",
  streams: "content",
  tty: true,
});
const TRAILER = json({
  endedAt: "2026-03-01T10:00:01.000000Z",
  ...{ reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 },
  totals: { streams: 1, bytesIn: 0, bytesOut: 5 },
});
const STREAMS = ["stdout", "stderr", "stdin", "resize", "error", "\u001b[2J"];
const PIECES = [
  "hello\n",
  "\x1b[31m",
  "\u009b2J",
  '{"Width":80,"Height":24}',
  "\xff",
  "é",
  "\r",
  "\u202e",
  "5",
];

function chunksBy(random: Random): Uint8Array {
  return concat(...Array.from({ length: 1 + random.below(8) }, () => {
    const kind = random.pick(Object.values(CHUNK));
    const bytes = kind === CHUNK.OPENED
      ? json({ id: random.below(9), stream: random.pick(STREAMS) })
      : kind === CHUNK.ENDED
      ? json({ bytesIn: 0, bytesOut: random.below(9) })
      : encoder.encode(random.pick(PIECES));
    const sinceUs = random.pick([0, 1, 1000, 1e6, 2 ** 40]);
    return written({ sinceUs, tag: random.below(3) * 8 + kind, bytes });
  }));
}

/** One chunk as docs/recording-format.md has it. */
function written({ sinceUs, tag, bytes }: { sinceUs: number; tag: number; bytes: Uint8Array }): Uint8Array {
  return concat(varint(sinceUs), varint(tag), varint(bytes.length), bytes);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push(rest % 0x80 | 0x80);
  return Uint8Array.of(...bytes, rest);
}

const IDENTITY = await generateIdentity();

/** A recording's key as its header has it. */
async function wrapped(key: Uint8Array): Promise<string> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(IDENTITY));
  return armor.encode(await encrypter.encrypt(key));
}

const AGE = await wrapped(new Uint8Array(32));

export const RECORDING_TARGETS: readonly Target[] = [
  {
    name: "recording",
    promise: "no byte of a recording can be changed that goes unnoticed, and readers only refuse",
    seeds: [RECORDING, MAGIC, ""],
    words: [MAGIC, Uint8Array.of(1, 0, 0, 0), Uint8Array.of(2, 1, 0, 0)],
    maxBytes: 8192,
    check: readEverywhere,
  },
  {
    name: "recording-blocks",
    promise: "whatever blocks hold that are linked rightly, readers refuse or give what is safe to show",
    seeds: [
      concat(block(BLOCK.HEADER, HEADER), block(BLOCK.TRAILER, TRAILER)),
      concat(block(BLOCK.HEADER, HEADER), block(BLOCK.DATA, Uint8Array.of(0, 0, 2, 0x7b, 0x7d))),
      concat(
        block(BLOCK.HEADER, json({})),
        block(BLOCK.DATA, zstdCompressSync(new Uint8Array(1 << 21)), PAYLOAD.ZSTD),
      ),
    ],
    words: [
      '"startedAt":',
      "null",
      '"argv":["\\u001b"]',
      '"stream":',
      "{}",
      "[]",
      '"9"',
      "-1",
      "1e999",
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
    ],
    generate: (random) =>
      concat(
        block(BLOCK.HEADER, HEADER),
        ...Array.from({ length: random.below(4) }, () => {
          const plain = chunksBy(random);
          return random.oneIn(2)
            ? block(BLOCK.DATA, plain)
            : block(BLOCK.DATA, zstdCompressSync(plain), PAYLOAD.ZSTD);
        }),
        block(random.pick([3, 4]), TRAILER),
      ),
    check: (input) => readEverywhere(linked(input)),
  },
  {
    name: "recording-chunks",
    promise: "chunks are refused, or are read again as they are written",
    seeds: [Uint8Array.of(0, 0, 2, 0x7b, 0x7d, 5, 10, 1, 65), ""],
    generate: chunksBy,
    check(input) {
      const chunks = orRefuses(() => [...new ChunkDecoder().read(input)], RecordingError);
      if (chunks === undefined) return;
      let beforeUs = 0;
      const again = chunks.map(({ atUs, stream, kind, bytes }) => {
        const sinceUs = atUs - beforeUs;
        beforeUs = atUs;
        return written({ sinceUs, tag: stream * 8 + kind, bytes });
      });
      if (!Number.isSafeInteger(beforeUs)) return; // later than JavaScript counts: 285 years
      assert.deepEqual([...new ChunkDecoder().read(concat(...again))], chunks);
    },
  },
  {
    name: "recording-key",
    promise: "a key is refused without a word of what was in it, whatever the header says of its encryption",
    seeds: [AGE, IDENTITY, `# a comment\n${IDENTITY}\n`],
    words: [
      "-----BEGIN AGE ENCRYPTED FILE-----\n",
      "-> X25519 ",
      "-> scrypt ",
      "AGE-SECRET-KEY-1",
      "\n",
      "--- ",
      "age-encryption.org/v1\n",
    ],
    maxBytes: 1024,
    async check(input) {
      const age = textOf(input);
      const key = await orRejects(
        () => decryptKey({ encryption: { cipher: "AES-256-GCM", age } }, [IDENTITY]),
        RecordingError,
      );
      if (key !== undefined) assert.equal(key.length, 32);
      try {
        parseIdentities(age);
      } catch (thrown) {
        assert.ok(thrown instanceof TypeError);
        assert.equal(thrown.message, "expected an age identity file: lines that begin with AGE-SECRET-KEY-");
      }
    },
  },
  {
    name: "legal-hold",
    promise: "a hold that cannot be read is a hold all the same",
    seeds: ['{"by":"legal","at":"2026-01-01T00:00:00Z","reason":"case 7"}', "", "null", "[]", '{"by":1}'],
    words: ['"by"', '"path":"x"', "{", "}", "\\ud800", "null"],
    async check(input) {
      const store = new MemoryStore();
      store.files.set("2026/a.rec.hold", [input]);
      const holds = await Array.fromAsync(listHolds(store));
      assert.deepEqual(holds.map(({ path }) => path), ["2026/a.rec"]);
    },
  },
  {
    name: "replay-keys",
    promise: "whatever a terminal answers is passed over, and never a throw",
    seeds: ["q", "\x1b[A", "\x1b]0;title\x07", "\x1b[0n", "\x1bP1$r\x1b\\"],
    words: ["\x1b", "\x1b[", "\x1bO", "\x1b]", "\x07", "\x1b\\", "0n", "\x03"],
    check(input) {
      const keys = [...new ReplayKeyReader().push(input)];
      assert.ok(keys.length <= input.length);
    },
  },
  {
    name: "s3-xml",
    promise: "an answer of S3 is read in time with its length, and never a throw",
    seeds: [
      "<ListBucketResult><Key>a&amp;b</Key><Key>c</Key><IsTruncated>false</IsTruncated></ListBucketResult>",
      "<Key/>",
    ],
    words: [
      "<Key>",
      "</Key>",
      "<Key ",
      "&#x",
      "&#0;",
      "&#1114112;",
      "&amp;",
      "/>",
      "<![CDATA[",
      "<Key a='>'>",
    ],
    maxBytes: 64 * 1024,
    check(input) {
      const text = textOf(input);
      assert.ok(xmlElements(text, "Key").every((inside) => text.includes(inside)));
      const value = xmlText(text, "Key");
      if (value !== undefined) assert.ok(value.length <= text.length);
    },
  },
];
