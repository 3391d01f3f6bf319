import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { DataEvent } from "../websocket/frame.ts";
import { FrameDecoder } from "../websocket/frame_decoder.ts";
import { WebSocketError } from "../websocket/websocket_error.ts";
import {
  CHANNEL,
  type ChannelEvent,
  ChannelReader,
  type ChannelReaderOptions,
  ChannelWriter,
  encodeChannel,
  encodeChannelPieces,
  encodeChannelViews,
  encodeGreeting,
  MAX_CHANNEL_PAYLOAD_BYTES,
  MessageReader,
} from "./channels.ts";
import type { ChannelProtocol } from "./protocols.ts";

type Message = string | number[];

const bytesOf = (message: Message) =>
  typeof message === "string" ? new TextEncoder().encode(message) : Uint8Array.from(message);

/** A message as the decoder would hand it out, in pieces of these many bytes, the last one as long as needed. */
function pieces(message: Message, sizes: readonly number[] = []): DataEvent[] {
  const bytes = bytesOf(message);
  const edges = [0];
  for (const size of sizes) edges.push(Math.min(bytes.length, edges.at(-1)! + size));
  edges.push(bytes.length);
  const kind = typeof message === "string" ? "text" as const : "binary" as const;
  return edges.slice(1).map((edge, index) => ({
    type: "data",
    kind,
    start: index === 0,
    end: index === edges.length - 2,
    bytes: bytes.subarray(edges[index], edge),
  }));
}

/** Events as text, bytes of one stream joined. */
function brief(events: readonly (ChannelEvent | undefined)[]): string[] {
  const lines: string[] = [];
  for (const event of events) {
    if (event === undefined) continue;
    if (event.type === "ignored") lines.push(`${event.reason} ${event.channel} (${event.byteCount})`);
    else if ("bytes" in event) {
      const line = `${event.type} `;
      if (!lines.at(-1)?.startsWith(line)) lines.push(line);
      lines[lines.length - 1] += JSON.stringify(Buffer.from(event.bytes).toString("latin1")).slice(1, -1);
    } else lines.push(event.type);
  }
  return lines;
}

const ALL = { stdin: true, tty: true };

const VECTORS: {
  name: string;
  protocol: ChannelProtocol;
  requested?: { stdin: boolean; tty: boolean };
  messages: Message[];
  want: string[];
}[] = [
  { name: "stdin", protocol: "v4.channel.k8s.io", messages: [[0, 102, 111]], want: ["stdin fo"] },
  { name: "no subprotocol as channels (E-75)", protocol: "", messages: [[0, 65]], want: ["stdin A"] },
  {
    name: "a resize",
    protocol: "channel.k8s.io",
    messages: [[4, 123, 125]],
    want: ["resize {}"],
  },
  {
    name: "text like binary, as Python sends it (E-82)",
    protocol: "v4.channel.k8s.io",
    messages: ["\x00ls\n"],
    want: ["stdin ls\\n"],
  },
  {
    name: "E-74 base64 text",
    protocol: "base64.channel.k8s.io",
    messages: ["0Zm9vCg=="],
    want: ["stdin foo\\n"],
  },
  {
    name: "E-74 base64 in a binary message",
    protocol: "v4.base64.channel.k8s.io",
    messages: [[...bytesOf("4e30=")]],
    want: ["resize {}"],
  },
  {
    name: "E-74 base64 without padding: that message is dropped, the next one is not",
    protocol: "base64.channel.k8s.io",
    messages: ["0Zm9vCg", "0Zm9v"],
    want: ["base64_invalid 0 (7)", "stdin foo"],
  },
  {
    name: "a base64 channel below '0'",
    protocol: "base64.channel.k8s.io",
    messages: ["/Zm9v"],
    want: ["channel_unknown 255 (3)"],
  },
  {
    name: "E-76 CLOSE of stdin, and a resize after it",
    protocol: "v5.channel.k8s.io",
    messages: [[0, 65], [255, 0], [4, 123, 125]],
    want: ["stdin A", "stdin_closed", "resize {}"],
  },
  {
    name: "CLOSE of resize",
    protocol: "v5.channel.k8s.io",
    messages: [[255, 4], [4, 123, 125], [0, 65]],
    want: ["resize_closed", "channel_closed 4 (2)", "stdin A"],
  },
  {
    name: "E-77 255 on v4",
    protocol: "v4.channel.k8s.io",
    messages: [[255, 0], [0, 65]],
    want: ["channel_unknown 255 (1)", "stdin A"],
  },
  {
    name: "E-79 stdin after its CLOSE",
    protocol: "v5.channel.k8s.io",
    messages: [[255, 0], [0, 65], [255, 0]],
    want: ["stdin_closed", "channel_closed 0 (1)", "channel_closed 0 (0)"],
  },
  {
    name: "CLOSE of what the server writes",
    protocol: "v5.channel.k8s.io",
    messages: [[255, 1], [255, 2], [255, 3], [0, 65]],
    want: [1, 2, 3].map((channel) => `channel_not_requested ${channel} (0)`).concat("stdin A"),
  },
  {
    name: "E-80 unknown channels and empty messages",
    protocol: "v5.channel.k8s.io",
    messages: [[7, 1], [], [0], [0, 65]],
    want: ["channel_unknown 7 (1)", "stdin A"],
  },
  {
    name: "E-81 stdin that was not asked for",
    protocol: "v5.channel.k8s.io",
    requested: { stdin: false, tty: true },
    messages: [[0, 65], [255, 0]],
    want: ["channel_not_requested 0 (1)", "channel_not_requested 0 (0)"],
  },
  {
    name: "E-62 two resizes without a tty, and stdin after them",
    protocol: "v5.channel.k8s.io",
    requested: { stdin: true, tty: false },
    messages: [[4, 123, 125], [4, 123, 125], [0, 65]],
    want: ["channel_not_requested 4 (2)", "channel_not_requested 4 (2)", "stdin A"],
  },
  {
    name: "output that a client sends",
    protocol: "v4.channel.k8s.io",
    messages: [[1, 65], [3, 65]],
    want: ["channel_not_requested 1 (1)", "channel_not_requested 3 (1)"],
  },
];

for (const { name, protocol, requested = ALL, messages, want } of VECTORS) {
  Deno.test(`ChannelReader reads ${name}`, () => {
    const reader = new ChannelReader(protocol, requested);
    assert.deepEqual(
      brief(messages.flatMap((message) => pieces(message)).map((data) => reader.read(data))),
      want,
    );
  });
}

Deno.test("ChannelReader takes the channel from a message's first byte only, however it is fragmented (E-83)", () => {
  const vectors: [ChannelProtocol, Message, string][] = [
    ["v5.channel.k8s.io", [0, 1, 2, 3, 255], "stdin \\u0001\\u0002\\u0003ÿ"],
    ["v5.channel.k8s.io", [255, 0], "stdin_closed"],
    ["base64.channel.k8s.io", "0Zm9vCg==", "stdin foo\\n"],
  ];
  for (const [protocol, message, want] of vectors) {
    for (let first = 0; first <= message.length; first++) {
      for (let second = 0; second <= message.length - first; second++) {
        const reader = new ChannelReader(protocol, ALL);
        const got = pieces(message, [first, second]).map((data) => reader.read(data));
        assert.deepEqual(brief(got), [want], `cut after ${first} and ${second} more`);
      }
    }
  }
});

for (const message of [[255], [255, 0, 0], [255, 9], [255, 5], [255, 255]]) {
  Deno.test(`ChannelReader refuses the CLOSE [${message}] on v5, to be answered 1000 (E-78)`, () => {
    for (const sizes of [[], [1]]) {
      const reader = new ChannelReader("v5.channel.k8s.io", ALL);
      assert.throws(
        () => pieces(message, sizes).forEach((data) => reader.read(data)),
        (error) =>
          error instanceof WebSocketError && error.code === "channel_close_invalid" &&
          error.closeCode === 1000,
      );
    }
  });
}

Deno.test("ChannelReader bounds a base64 message, even one of many fragments", () => {
  const options: ChannelReaderOptions = { maxBase64MessageBytes: 8 };
  const reader = new ChannelReader("base64.channel.k8s.io", ALL, options);
  assert.deepEqual(brief(pieces("0QUJDREVG", [3]).map((data) => reader.read(data))), ["stdin ABCDEF"]);
  assert.throws(
    () => pieces("0QUJDREVGR", [1, 4, 4]).forEach((data) => reader.read(data)),
    { code: "message_too_large", closeCode: 1009 },
  );
});

const FRAMES: { name: string; frame: Uint8Array; want: number[] }[] = [
  {
    name: "E-73 stdout and stderr",
    frame: encodeGreeting("v4.channel.k8s.io", { stdout: true, stderr: true }),
    want: [0x82, 1, 1],
  },
  {
    name: "E-73 stderr only",
    frame: encodeGreeting("v5.channel.k8s.io", { stdout: false, stderr: true }),
    want: [0x82, 1, 2],
  },
  {
    name: "E-73 stdin only",
    frame: encodeGreeting("", { stdout: false, stderr: false }),
    want: [0x82, 1, 3],
  },
  {
    name: "E-73 base64",
    frame: encodeGreeting("base64.channel.k8s.io", { stdout: true, stderr: true }),
    want: [0x81, 1, 0x31],
  },
  {
    name: "E-74 output in base64",
    frame: encodeChannel("base64.channel.k8s.io", CHANNEL.STDOUT, bytesOf("\n")),
    want: [0x81, 5, ...bytesOf("1Cg==")],
  },
  {
    name: "E-87 output as binary",
    frame: encodeChannel("v5.channel.k8s.io", CHANNEL.STDERR, bytesOf("hi")),
    want: [0x82, 3, 2, 104, 105],
  },
  {
    name: "E-88 no output as a message of one byte, never none",
    frame: encodeChannel("v5.channel.k8s.io", CHANNEL.STDOUT, new Uint8Array()),
    want: [0x82, 1, 1],
  },
  {
    name: "E-76 a client's CLOSE of stdin",
    frame: new ChannelWriter("v5.channel.k8s.io", () => new Uint8Array(4)).closeStdin()!,
    want: [0x82, 0x82, 0, 0, 0, 0, 255, 0],
  },
  {
    name: "a client's resize, masked",
    frame: new ChannelWriter("v4.channel.k8s.io", () => Uint8Array.of(1, 0, 0, 0)).resize(80, 24),
    want: [0x82, 0x80 | 26, 1, 0, 0, 0].concat([
      ...bytesOf('\x04{"Width":80,"Height":24}\n').map((byte, at) => at % 4 === 0 ? byte ^ 1 : byte),
    ]),
  },
];

for (const { name, frame, want } of FRAMES) {
  Deno.test(`encodes ${name}`, () => assert.deepEqual([...frame], want));
}

Deno.test("ChannelWriter cannot end stdin on v4 (E-77)", () => {
  assert.equal(new ChannelWriter("v4.channel.k8s.io", () => new Uint8Array(4)).closeStdin(), undefined);
});

Deno.test("encodeChannelPieces cuts output to what Go clients take as one frame", () => {
  const payload = new Uint8Array(2 * MAX_CHANNEL_PAYLOAD_BYTES + 1);
  const frames = [...encodeChannelPieces("v5.channel.k8s.io", CHANNEL.STDOUT, payload)];
  assert.deepEqual(frames.map((frame) => [...frame.subarray(0, 2)]), [[0x82, 126], [0x82, 126], [0x82, 2]]);
  assert.deepEqual([...frames[0]!.subarray(2, 5)], [0x80, 0x01, 1]);
  assert.deepEqual([...encodeChannelPieces("v5.channel.k8s.io", CHANNEL.STDOUT, new Uint8Array())], []);
});

const PROTOCOLS: ChannelProtocol[] = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
  "",
];

Deno.test("MessageReader gives back what encodeChannel sent, in every protocol", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...PROTOCOLS),
      fc.nat({ max: 4 }),
      fc.uint8Array({ maxLength: 400, size: "max" }),
      (protocol, channel, payload) => {
        const frame = encodeChannel(protocol, channel, payload);
        const decoder = new FrameDecoder({ role: "client" });
        const reader = new MessageReader(protocol);
        const got = [...decoder.push(frame)].map((event) => event.type === "data" && reader.read(event));
        assert.deepEqual(got.map((piece) => piece && { ...piece, bytes: [...piece.bytes!] }), [
          { channel, bytes: [...payload], end: true },
        ]);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("ChannelReader reads any messages, or throws a WebSocketError, the same however they are cut", () => {
  const part = fc.oneof(fc.nat({ max: 5 }), fc.constant(255), fc.constantFrom(...bytesOf("04Zm9vCg==/")));
  fc.assert(
    fc.property(
      fc.constantFrom(...PROTOCOLS),
      fc.array(fc.array(part, { maxLength: 12 }), { maxLength: 6 }),
      fc.array(fc.nat({ max: 4 }), { maxLength: 5 }),
      (protocol, messages, sizes) => {
        // How many bytes were dropped is told piece by piece: only that they were is compared.
        const read = (cuts: readonly number[]) => {
          const reader = new ChannelReader(protocol, ALL);
          const lines: string[] = [];
          try {
            for (const message of messages) {
              const got = brief(pieces(message, cuts).map((data) => reader.read(data)));
              for (const line of got.map((text) => text.replace(/ \(\d+\)$/, ""))) {
                if (!/^(channel|base64)_/.test(line) || lines.at(-1) !== line) lines.push(line);
              }
            }
          } catch (error) {
            assert.ok(error instanceof WebSocketError, `threw ${error}`);
            lines.push(error.code);
          }
          return lines;
        };
        assert.deepEqual(read(sizes), read([]));
      },
    ),
    { numRuns: 500 },
  );
});

for (const protocol of ["v5.channel.k8s.io", "v4.base64.channel.k8s.io"] as const) {
  Deno.test(`encodeChannelViews says in ${protocol} what encodeChannelPieces says`, () => {
    for (const bytes of [0, 1, 125, MAX_CHANNEL_PAYLOAD_BYTES, 2 * MAX_CHANNEL_PAYLOAD_BYTES + 7]) {
      const payload = new Uint8Array(bytes).map((_, index) => index);
      const views = Buffer.concat([...encodeChannelViews(protocol, CHANNEL.STDOUT, payload)]);
      assert.deepEqual(views, Buffer.concat([...encodeChannelPieces(protocol, CHANNEL.STDOUT, payload)]));
    }
  });
}
