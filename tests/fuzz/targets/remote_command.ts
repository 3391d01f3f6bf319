import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { decodeBase64 } from "../../../protocol/remote_command/base64.ts";
import { type GoJson, parseGoJson } from "../../../protocol/remote_command/go_json.ts";
import {
  CHANNEL_PROTOCOLS,
  ChannelReader,
  exitCodeDocument,
  internalErrorDocument,
  parseStatusDocument,
  ResizeDecoder,
  successDocument,
  toTextStatus,
} from "../../../protocol/remote_command/mod.ts";
import { encodeFrame, FrameDecoder, WebSocketError } from "../../../protocol/websocket/mod.ts";
import { concat } from "../mutate.ts";
import { hexOf, orRefuses, sameHoweverCut, textOf } from "../oracle.ts";
import type { Target } from "../target.ts";
import { webSocketFrames } from "./websocket.ts";

const PROTOCOLS = Object.keys(CHANNEL_PROTOCOLS) as (keyof typeof CHANNEL_PROTOCOLS)[];

/** The first byte says which protocol and what was asked for; the rest are masked frames. */
function readChannels(choice: number, chunks: readonly Uint8Array[]): string[] {
  const decoder = new FrameDecoder({ role: "server" });
  const channels = new ChannelReader(
    PROTOCOLS[choice % PROTOCOLS.length]!,
    { stdin: (choice & 0x40) === 0, tty: (choice & 0x80) !== 0 },
    { maxBase64MessageBytes: 256 },
  );
  const said: string[] = [];
  const bytes = { stdin: "", resize: "" };
  try {
    for (const chunk of chunks) {
      for (const event of decoder.push(chunk)) {
        if (event.type !== "data") continue;
        const heard = channels.read(event);
        if (heard?.type === "stdin" || heard?.type === "resize") {
          assert.ok(heard.bytes.length > 0, "what says nothing is no event");
          bytes[heard.type] += hexOf(heard.bytes);
        } else if (heard !== undefined && heard.type !== "ignored") {
          said.push(`${heard.type} after ${bytes.stdin.length} and ${bytes.resize.length}`);
        }
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof WebSocketError)) throw thrown;
    said.push(thrown.code);
  }
  return [...said, bytes.stdin, bytes.resize];
}

/** What `JSON.parse` makes of the same. */
function plain(value: GoJson): unknown {
  switch (value.type) {
    case "object":
      return Object.fromEntries(value.members.map(([name, member]) => [name, plain(member)]));
    case "array":
      return value.items.map(plain);
    case "string":
    case "bool":
      return value.value;
    case "number":
      return Number(value.source);
    case "null":
      return null;
  }
}

function jsonOf(text: string): { value: unknown } | undefined {
  try {
    return { value: wellFormed(JSON.parse(text)) };
  } catch {
    return undefined;
  }
}

/** As Go reads them: half a surrogate pair is U+FFFD. */
function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name.toWellFormed(), wellFormed(member)]),
  );
}

const JSON_WORDS = [
  ...["{", "}", "[", "]", ":", ",", '"', "\\", "\\u0000", "\\ud800", "\\udc00", "null", "true", "false"],
  ...["-1", "0", "1e9", "1.5", "65535", "65536", "4294967295", '"Width"', '"Height"', '"width":1', "\u017f"],
  ...['"status"', '"Failure"', '"Success"', '"reason"', '"NonZeroExitCode"', '"details"', '"causes"'],
  ...['"ExitCode"', '"message"', '"code"', '"255"', '"256"', " ", "\n", "\ufeff"],
];

export const REMOTE_COMMAND_TARGETS: readonly Target[] = [
  {
    name: "channels",
    promise: "however cut the same stdin, sizes and ends, or the same fault",
    seeds: PROTOCOLS.map((_, index) =>
      concat(
        Uint8Array.of(index),
        encodeFrame(2, Uint8Array.of(0, 0x68, 0x69), { key: Uint8Array.of(1, 2, 3, 4) }),
        encodeFrame(1, new TextEncoder().encode("0aGk="), { key: Uint8Array.of(1, 2, 3, 4) }),
        encodeFrame(2, Uint8Array.of(255, 0), { key: Uint8Array.of(0, 0, 0, 0) }),
      )
    ),
    words: [Uint8Array.fromHex("828200000000ff00"), Uint8Array.fromHex("02810000000000"), "MGE9"],
    generate: (random) => concat(random.bytes(1), webSocketFrames(random, true)),
    check(input) {
      const [choice = 0] = input;
      sameHoweverCut(input.subarray(1), (chunks) => readChannels(choice, chunks));
    },
  },
  {
    name: "resize",
    promise: "sizes within 16 bits, the same however cut, and never a throw",
    seeds: ['{"Width":80,"Height":24}\n{"Width":1,"Height":65535}', "null", '{"Width":70000}'],
    words: JSON_WORDS,
    check(input) {
      const sizes = sameHoweverCut(input, (chunks) => {
        const decoder = new ResizeDecoder();
        return chunks.flatMap((chunk) => [...decoder.push(chunk)]);
      });
      for (const { columns, rows } of sizes) {
        assert.ok([columns, rows].every((cells) => Number.isInteger(cells) && cells >= 0 && cells <= 0xffff));
      }
    },
  },
  {
    name: "status-document",
    promise: "every document is an end with a code of 0 to 255 or a message, and never a throw",
    seeds: [successDocument(), exitCodeDocument(3), internalErrorDocument("no"), "", "null"],
    words: JSON_WORDS,
    check(input) {
      const end = parseStatusDocument(input);
      if (end.type === "exit") {
        assert.ok(Number.isInteger(end.exitCode) && end.exitCode >= 0 && end.exitCode <= 255);
      }
      if (end.type === "success" && input.length > 0) assert.match(textOf(input), /[sS\u017f]\\?u?/i);
      toTextStatus(end);
    },
  },
  {
    name: "go-json",
    promise: "reads what JSON.parse reads to the same value, and refuses what it refuses, down to 100 levels",
    seeds: ['{"a":[1,-2.5e3,"x\\u00e9",true,null],"A":{}}', "[[[[]]]]", '"\\ud83d\\ude00"'],
    words: JSON_WORDS,
    check(input) {
      const value = orRefuses(() => parseGoJson(input), SyntaxError);
      const reference = jsonOf(textOf(input));
      const depth = Math.max(0, ...[...textOf(input)].map(levels()));
      if (depth > 100) return; // where we stop, and Go does not
      assert.equal(value === undefined, reference === undefined, "one reads it and the other does not");
      if (value === undefined || reference === undefined) return;
      assert.equal(JSON.stringify(plain(value)), JSON.stringify(reference.value));
    },
  },
  {
    name: "base64",
    promise: "decodes what Go's StdEncoding does, to the same bytes, and nothing else",
    seeds: ["Zm9v", "Zm8=", "Zg==\r\n", "Zm9vCg"],
    words: ["=", "==", "\n", "AAAA", "-", "_"],
    check(input) {
      const text = Buffer.from(input).toString("latin1").replaceAll(/[\r\n]/g, "");
      const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text);
      const decoded = decodeBase64(input);
      assert.equal(decoded !== undefined, isBase64);
      if (decoded) assert.equal(hexOf(decoded), Buffer.from(text, "base64").toString("hex"));
    },
  },
];

/** How deep each character stands, as far as brackets tell; those in strings count too, which only errs to the safe side. */
function levels(): (character: string) => number {
  let depth = 0;
  return (character) => depth += "[{".includes(character) ? 1 : 0;
}
