import assert from "node:assert/strict";
import fc from "fast-check";
import { RecordingReader } from "../format/recording_reader.ts";
import { makeRecording, opened, said, type TestRecording } from "../test_recording.ts";
import { JsonExporter } from "./json.ts";
import { RawExporter, type RawOptions } from "./raw.ts";

async function raw(recording: TestRecording, options: RawOptions): Promise<number[]> {
  const exporter = new RawExporter(options);
  const bytes: number[] = [];
  for (const event of new RecordingReader().push(await makeRecording(recording))) {
    for (const piece of exporter.push(event)) bytes.push(...piece);
  }
  for (const piece of exporter.end()) bytes.push(...piece);
  return bytes;
}

const STREAMS = opened("stdin", "stdout", "stderr");

Deno.test("raw and JSON exports keep every byte of every stream, however it was cut", async () => {
  const pieces = fc.array(
    fc.record({
      stream: fc.constantFrom("stdin", "stdout", "stderr"),
      bytes: fc.uint8Array({ maxLength: 300 }),
    }),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(pieces, async (pieces) => {
      const events = [...STREAMS, ...pieces.map(({ stream, bytes }, at) => said(at, stream, bytes))];
      const recording = await makeRecording({ events });
      const lines = [...new RecordingReader().push(recording)].flatMap((event) => {
        return [...new JsonExporter().push(event)].map((line) => JSON.parse(new TextDecoder().decode(line)));
      });
      for (const stream of ["stdin", "stdout", "stderr"]) {
        const want = pieces.flatMap((piece) => piece.stream === stream ? [...piece.bytes] : []);
        assert.deepEqual(await raw({ events }, { stream }), want);
        const data = lines.filter(({ type, name }) => type === "data" && name === stream);
        assert.deepEqual(data.flatMap(({ bytes }) => [...Uint8Array.fromBase64(bytes)]), want);
      }
    }),
    { numRuns: 30 },
  );
});

const EVENTS = [...STREAMS, said(1, "stdin", "pw"), said(2, "stdout", "hi")];

const failures: { name: string; recording: TestRecording; options: RawOptions; says: RegExp }[] = [
  {
    name: "a stream that is not there",
    recording: { events: EVENTS },
    options: { stream: "stdouts" },
    says: /^there is no stream stdouts; there are: stdin, stdout, stderr$/,
  },
  {
    name: "stdin of which only the digest was kept",
    recording: { events: EVENTS, options: { stdin: "digest" } },
    options: { stream: "stdin" },
    says: /^of stdin only length and SHA-256 were recorded: 2 bytes$/,
  },
  {
    name: "stdin of which only the length was kept",
    recording: { events: EVENTS, options: { stdin: "none" } },
    options: { stream: "stdin" },
    says: /^of stdin only length was recorded: 2 bytes$/,
  },
  {
    name: "one of two streams of the same name",
    recording: {
      kind: "portforward",
      events: [[0, { type: "opened", id: 1, stream: "data" }], [0, {
        type: "opened",
        id: 3,
        stream: "data",
      }]],
    },
    options: { stream: "data" },
    says: /^there are several streams data: name one by its number$/,
  },
];
for (const { name, recording, options, says } of failures) {
  Deno.test(`raw export refuses ${name}`, async () => {
    await assert.rejects(raw(recording, options), ({ message }: Error) => says.test(message));
  });
}

Deno.test("raw export gives either way of one of several streams, by its number", async () => {
  const data = (id: number, direction: "in" | "out", text: string) =>
    [0, { type: "data", id, stream: "data", direction, bytes: new TextEncoder().encode(text) }] as const;
  const recording: TestRecording = {
    kind: "portforward",
    events: [
      [0, { type: "opened", id: 1, stream: "data" }],
      [0, { type: "opened", id: 3, stream: "data" }],
      [...data(1, "in", "a")],
      [...data(3, "in", "b")],
      [...data(3, "out", "c")],
    ],
  };
  const options = { stream: 1 };
  assert.deepEqual(await raw(recording, { ...options, direction: "in" }), [0x62]);
  assert.deepEqual(await raw(recording, { ...options, direction: "out" }), [0x63]);
});

Deno.test("raw export of a recording that is cut gives what is there", async () => {
  assert.deepEqual(await raw({ events: EVENTS, isEnded: false }, { stream: "stdout" }), [0x68, 0x69]);
});

Deno.test("raw export finds that what it gave is not what the stream came to", () => {
  const about = { atUs: 0, stream: 0, name: "stdout" };
  const exporter = new RawExporter({ stream: "stdout" });
  const bytes = new TextEncoder().encode("hi");
  const totals = { bytesIn: 0, bytesOut: 3 };
  for (
    const event of [
      { type: "opened", ...about },
      { type: "data", ...about, direction: "out", bytes },
      { type: "ended", ...about, totals },
    ] as const
  ) Array.from(exporter.push(event));
  assert.throws(() => exporter.end(), /is not what the recording says it came to/);
});
