import assert from "node:assert/strict";
import { RecordingReader } from "../format/recording_reader.ts";
import { makeRecording, opened, said, type TestRecording } from "../test_recording.ts";
import { AsciicastExporter } from "./asciicast.ts";

/** A recording's asciicast: its header, and its lines. */
async function cast(recording: TestRecording, version?: 2 | 3) {
  const exporter = new AsciicastExporter(version);
  const reader = new RecordingReader();
  let text = "";
  const decoder = new TextDecoder();
  for (const event of reader.push(await makeRecording(recording))) {
    for (const bytes of exporter.push(event)) text += decoder.decode(bytes);
  }
  for (const bytes of exporter.end()) text += decoder.decode(bytes);
  const [header, ...lines] = text.trimEnd().split("\n").map((line): unknown => JSON.parse(line));
  return { header, lines, text };
}

const SIZE = (width: number, height: number) => JSON.stringify({ Width: width, Height: height });

Deno.test("an asciicast has the first size in its header, columns as its width, and later ones as events", async () => {
  const { header, lines } = await cast({
    argv: ["vi", "notes"],
    events: [
      ...opened("stdout", "resize"),
      said(100, "stdout", "before"),
      said(200, "resize", SIZE(132, 43)),
      said(1500, "resize", SIZE(80, 24)),
      said(1500.25, "stdout", "after"),
    ],
  });
  assert.deepEqual(header, {
    version: 2,
    width: 132,
    height: 43,
    timestamp: Date.UTC(2026, 10, 21, 12) / 1000,
    command: "vi notes",
    title: "shop/web/app",
  });
  assert.deepEqual(lines, [[0.1, "o", "before"], [1.5, "r", "80x24"], [1.50025, "o", "after"]]);
});

Deno.test("an asciicast of version 3 counts from the line before, and tells the exit code", async () => {
  const { header, lines } = await cast({
    events: [
      ...opened("stdout", "resize"),
      said(0, "resize", SIZE(132, 43)),
      said(100, "stdout", "a"),
      said(1500, "stdout", "b"),
    ],
  }, 3);
  assert.deepEqual((header as { term: unknown }).term, { cols: 132, rows: 43 });
  assert.deepEqual(lines, [[0.1, "o", "a"], [1.4, "o", "b"], [0, "x", "3"]]);
});

const REST = { events: opened("stdout", "stdin", "stderr") };
const SNOWMAN = new TextEncoder().encode("☃");

const texts: { name: string; recording: TestRecording; lines: unknown[] }[] = [
  {
    name: "joins a character that is cut over two chunks",
    recording: {
      events: [...REST.events, said(1, "stdout", SNOWMAN.slice(0, 1)), said(2, "stdout", SNOWMAN.slice(1))],
    },
    lines: [[0.002, "o", "☃"]],
  },
  {
    name: "does not join what stdout and stderr said",
    recording: {
      events: [...REST.events, said(1, "stdout", SNOWMAN.slice(0, 1)), said(2, "stderr", SNOWMAN.slice(1))],
    },
    lines: [[0.002, "o", "��"], [0.002, "o", "�"]],
  },
  {
    name: "writes U+FFFD for what is no UTF-8",
    recording: { events: [...REST.events, said(1, "stdout", new Uint8Array([0x61, 0xff, 0x62]))] },
    lines: [[0.001, "o", "a�b"]],
  },
  {
    name: "keeps a byte order mark, which a program may have written anywhere",
    recording: { events: [...REST.events, said(1, "stdout", "\ufeffa")] },
    lines: [[0.001, "o", "\ufeffa"]],
  },
  {
    name: "has stdin as input",
    recording: { events: [...REST.events, said(1, "stdin", "ls\r")] },
    lines: [[0.001, "i", "ls\r"]],
  },
  {
    name: "leaves line ends to the terminal that there was",
    recording: { events: [...REST.events, said(1, "stdout", "a\nb\r\n")] },
    lines: [[0.001, "o", "a\nb\r\n"]],
  },
  {
    name: "gives line ends what a terminal would have, where there was none",
    recording: {
      tty: false,
      events: [...REST.events, said(1, "stdout", "a\nb\r"), said(2, "stdout", "\nc\n")],
    },
    lines: [[0.001, "o", "a\r\nb\r"], [0.002, "o", "\nc\r\n"]],
  },
];
for (const { name, recording, lines } of texts) {
  Deno.test(`an asciicast ${name}`, async () => assert.deepEqual((await cast(recording)).lines, lines));
}

Deno.test("an asciicast without a size is 80 by 24, and does not wait for one for ever", async () => {
  const { header, lines } = await cast({
    events: [
      ...opened("stdout", "resize"),
      said(0, "stdout", "a"),
      said(6000, "stdout", "b"),
      said(7000, "resize", SIZE(132, 43)),
    ],
  });
  const { width, height } = header as { width: number; height: number };
  assert.deepEqual([width, height], [80, 24]);
  assert.deepEqual(lines, [[0, "o", "a"], [6, "o", "b"], [7, "r", "132x43"]]);
});

Deno.test("no control byte of a command or of output stands bare in an asciicast", async () => {
  const { text, lines } = await cast({
    argv: ["sh", "-c", "\x1b]0;gotcha\x07", "\u009b31m"],
    events: [...REST.events, said(1, "stdout", "\x1b[31m\u009b\x7f")],
  });
  assert.doesNotMatch(text.replaceAll("\n", ""), /\p{Cc}/u);
  assert.deepEqual(lines, [[0.001, "o", "\x1b[31m\u009b\x7f"]]);
});
