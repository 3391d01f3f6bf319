import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import type { StdinMode } from "./format/document.ts";
import { type Clock, Recorder, type RecorderOptions, type RecordingFile } from "./recorder.ts";
import { PackingThread } from "./format/packing_thread.ts";
import { RecordingReader } from "./format/recording_reader.ts";
import { Verifier } from "./format/signer.ts";
import { FACTS } from "./test_recording.ts";
import { RecordingVerifier } from "./format/verify.ts";

const END = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 };

/** A file in memory whose appends wait for a word. */
class SlowFile implements RecordingFile {
  readonly parts: Uint8Array[] = [];
  isClosed = false;
  #gate: PromiseWithResolvers<void> | undefined;
  failure: Error | undefined;

  stall(): void {
    this.#gate = Promise.withResolvers();
  }

  go(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#gate?.promise;
    if (this.failure !== undefined) throw this.failure;
    this.parts.push(bytes.slice());
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.parts);
  }
}

interface Started {
  recorder: Recorder;
  file: SlowFile;
  failures: unknown[];
}

interface StartOptions extends Partial<Pick<RecorderOptions, "maxWindowBytes" | "packer">> {
  stdin?: StdinMode;
  isRequired?: boolean;
  windowBytes?: number;
  appendTimeoutMs?: number;
  now?: Clock;
}

async function start(options: StartOptions = {}): Promise<Started> {
  const file = new SlowFile();
  const failures: unknown[] = [];
  const { stdin = "content", isRequired = true, windowBytes = 1000, appendTimeoutMs = 10_000 } = options;
  const { maxWindowBytes, packer, now } = options;
  const bounds = { windowBytes, windowMs: 60_000, appendTimeoutMs, sealEveryMs: 60_000, stdin, isRequired };
  const onFailure = (cause: unknown) => void failures.push(cause);
  const recorder = await Recorder.begin({ ...FACTS, auditId: "5f0c8d4e" }, { signer: undefined }, file, {
    ...bounds,
    ...(maxWindowBytes !== undefined && { maxWindowBytes }),
    ...(packer !== undefined && { packer }),
    onFailure,
  }, now);
  return { recorder, file, failures };
}

const out = (text: string) => ({
  type: "data" as const,
  id: 5,
  stream: "stdout",
  direction: "out" as const,
  bytes: new TextEncoder().encode(text),
});
const typed = (text: string) => ({ ...out(text), id: 3, stream: "stdin", direction: "in" as const });

function read(file: SlowFile) {
  return [...new RecordingReader().push(file.bytes())];
}

Deno.test("Recorder writes what was said, stream by stream, and how it ended", async () => {
  const { recorder, file } = await start();
  await recorder.push({ type: "opened", id: 3, stream: "stdin" });
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  await recorder.push(typed("ls\n"));
  await recorder.push(out("a  b\n"));
  await recorder.push({ type: "half_closed", id: 5, stream: "stdout", direction: "out" });
  await recorder.push({ type: "reset", id: 3, stream: "stdin", direction: "out", status: 5 });
  await recorder.end(END);
  const said = read(file).map((event) => {
    switch (event.type) {
      case "header":
        return `${event.header.pod} by ${event.header.auditId}`;
      case "trailer":
        return `${event.trailer.reason} ${event.trailer.exitCode}`;
      case "data":
        return `${event.name} ${event.direction} ${new TextDecoder().decode(event.bytes).trim()}`;
      default:
        return `${event.type} ${event.name}`;
    }
  });
  assert.deepEqual(said, [
    "web by 5f0c8d4e",
    "opened stdin",
    "opened stdout",
    "stdin in ls",
    "stdout out a  b",
    "half_closed stdout",
    "reset stdin",
    "ended stdin",
    "ended stdout",
    "command_ended 0",
  ]);
  assert.ok(file.isClosed);
  const verifier = new RecordingVerifier(new Verifier([]));
  verifier.push(file.bytes());
  assert.equal(verifier.end().fault, undefined);
});

const stdinModes = [
  { stdin: "content", isKept: true, hasDigest: false },
  { stdin: "digest", isKept: false, hasDigest: true },
  { stdin: "none", isKept: false, hasDigest: false },
] as const;
for (const { stdin, isKept, hasDigest } of stdinModes) {
  Deno.test(`Recorder of stdin ${stdin} ${isKept ? "keeps" : "does not keep"} what is typed`, async () => {
    const { recorder, file } = await start({ stdin });
    await recorder.push({ type: "opened", id: 3, stream: "stdin" });
    await recorder.push(typed("hunter2"));
    await recorder.end(END);
    assert.equal(new TextDecoder().decode(file.bytes()).includes("hunter2"), isKept);
    const [totals] = read(file).flatMap((event) => event.type === "ended" ? [event.totals] : []);
    const digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    assert.deepEqual(totals, { bytesIn: 7, bytesOut: 0, ...(hasDigest && { sha256In: digest }) });
  });
}

Deno.test("Recorder tells how far it is behind, and how long it held the session up", async () => {
  let nowMs = 1000;
  const { recorder, file } = await start({ now: () => nowMs });
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  assert.deepEqual([recorder.lagMs, recorder.waitedMs], [0, 0]);
  file.stall();
  const held = recorder.push(out("x".repeat(2000)));
  nowMs += 30;
  assert.deepEqual([recorder.lagMs, recorder.waitedMs], [30, 30]);
  file.go();
  await held;
  await recorder.end(END);
  nowMs += 30;
  assert.deepEqual([recorder.lagMs, recorder.waitedMs], [0, 30]);
});

Deno.test("Recorder lets a session go ahead by its window, and no further until the file has it", async () => {
  const { recorder, file } = await start();
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  file.stall();
  assert.equal(recorder.push(out("x".repeat(1000))), undefined);
  let isThrough = false;
  const waiting = Promise.resolve(recorder.push(out("y"))).then(() => isThrough = true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(isThrough, false);
  file.go();
  await waiting;
  await recorder.end(END);
});

/** Lets all that can be done be done, but for what waits for a file. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 10));
}

const paces = [
  { name: "that takes all at once grows to its bound", appendMs: 0, goesAhead: 4000 },
  { name: "that takes 1500 bytes in the time of a window is that", appendMs: 20_000, goesAhead: 1500 },
  { name: "that takes little is the least", appendMs: 50_000, goesAhead: 1000 },
];
for (const { name, appendMs, goesAhead } of paces) {
  Deno.test(`Recorder: the window of a file ${name}, and stays bounded when the file stalls`, async () => {
    let nowMs = 0;
    const { recorder, file } = await start({ maxWindowBytes: 4000, now: () => nowMs });
    await recorder.push({ type: "opened", id: 5, stream: "stdout" });
    await settle();
    file.stall();
    recorder.push(out("x".repeat(500)));
    await settle();
    nowMs += appendMs;
    file.go();
    await settle();
    file.stall();
    let ahead = 0;
    while (recorder.push(out("x".repeat(100))) === undefined && ahead < 10_000) {
      ahead += 100;
      if (ahead === 100) await settle(); // so that the first part is on its way, and the rest is gathered
    }
    assert.ok(ahead <= goesAhead && ahead >= goesAhead / 2, `${ahead} bytes ahead, ${goesAhead} expected`);
    file.go();
    await recorder.end(END);
  });
}

Deno.test("Recorder leaves alone what a file is writing, whatever comes meanwhile", async () => {
  const { recorder, file } = await start({ windowBytes: 100_000 });
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  await settle();
  file.stall();
  const said: string[] = [];
  for (const letter of "abcdef") {
    const text = letter.repeat(8_000);
    said.push(text);
    recorder.push(out(text));
    await settle();
  }
  file.go();
  await recorder.end(END);
  const kept = read(file).flatMap((event) => event.type === "data" ? [event.bytes] : []);
  assert.equal(await new Blob(kept.map((bytes) => bytes.slice())).text(), said.join(""));
});

Deno.test({
  name: "Recorder beside a thread that packs keeps every byte in its place, and the chain whole",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const thread = new PackingThread();
    const packer: RecorderOptions["packer"] = (...batch) => thread.pack(...batch);
    const noise = randomBytes(120_000);
    const sizes = fc.array(fc.integer({ min: 1, max: noise.length }), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(3), async (sizes, waits) => {
        const { recorder, file } = await start({ windowBytes: 200_000, maxWindowBytes: 800_000, packer });
        await recorder.push({ type: "opened", id: 5, stream: "stdout" });
        const said: Uint8Array[] = [];
        for (const [index, size] of sizes.entries()) {
          const bytes = index % 2 === 0
            ? noise.subarray(0, size)
            : new Uint8Array(size).fill(0x61 + index % 20);
          said.push(bytes.slice());
          await recorder.push({ ...out(""), bytes });
          if (waits > 0 && index % waits === 0) await new Promise((resolve) => setTimeout(resolve));
        }
        await recorder.end(END);
        const kept = read(file).flatMap((event) => event.type === "data" ? [event.bytes.slice()] : []);
        assert.ok(Buffer.concat(kept).equals(Buffer.concat(said)));
        const verifier = new RecordingVerifier(new Verifier([]));
        verifier.push(file.bytes());
        assert.equal(verifier.end().fault, undefined);
      }),
      { numRuns: 8 },
    );
    await thread.close();
  },
});

Deno.test("Recorder ends a session whose file does not answer in time", async () => {
  const { recorder, file } = await start({ appendTimeoutMs: 20 });
  file.stall();
  recorder.push({ type: "opened", id: 5, stream: "stdout" });
  await assert.rejects(
    async () => await recorder.push(out("x".repeat(2000))),
    /has not answered for 0.02 seconds/,
  );
  file.go();
});

Deno.test("Recorder forgets streams that have ended, and says what each and all came to", async () => {
  const { recorder, file } = await start();
  for (let id = 1; id < 200; id += 2) {
    await recorder.push({ type: "opened", id, stream: "data:80" });
    await recorder.push({ ...out("four"), id, stream: "data:80" });
    const about = { type: "half_closed" as const, id, stream: "data:80" };
    await recorder.push({ ...about, direction: "in" });
    await recorder.push({ ...about, direction: "out" });
  }
  await recorder.end(END);
  const events = read(file);
  const ended = events.filter(({ type }) => type === "ended");
  assert.equal(ended.length, 100);
  const last = events.at(-1);
  assert.deepEqual(last?.type === "trailer" && last.trailer.totals, {
    streams: 100,
    bytesIn: 0,
    bytesOut: 400,
  });
});

Deno.test("Recorder ends a session whose recording is required and cannot be written", async () => {
  const { recorder, file, failures } = await start();
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  file.stall();
  const pushed = recorder.push(out("x".repeat(2000)));
  file.failure = new Error("no space left on device");
  file.go();
  await assert.rejects(async () => await pushed, /no space left/);
  await assert.rejects(async () => await recorder.push(out("more")), /no space left/);
  await assert.rejects(recorder.end(END), /no space left/);
  assert.equal(failures.length, 1);
});

Deno.test("Recorder goes without, once, where the recording is not required", async () => {
  const { recorder, file, failures } = await start({ isRequired: false });
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  file.failure = new Error("no space left on device");
  await recorder.push(out("x".repeat(2000)));
  await recorder.push(out("more"));
  await recorder.end(END);
  assert.equal(failures.length, 1);
});

Deno.test("Recorder keeps every byte of a stream that is larger than any block", async () => {
  const { recorder, file } = await start({ windowBytes: 4 << 20 });
  await recorder.push({ type: "opened", id: 5, stream: "stdout" });
  const text = crypto.randomUUID().repeat(60_000);
  await recorder.push(out(text));
  await recorder.end(END);
  const kept = read(file).flatMap((event) => event.type === "data" ? [event.bytes] : []);
  assert.equal(await new Blob(kept.map((bytes) => bytes.slice())).text(), text);
});
