import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { makeRecording, opened, said } from "../recording/test_recording.ts";
import { postern } from "./postern.ts";

const POSTERN = fileURLToPath(new URL("postern.ts", import.meta.url));

async function run(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const code = await postern(args, { out: (text) => out += text, error: (text) => error += text });
  return { code, out, error };
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What vi writes when it opens a file, some lines of it, and goes: cursor keys, colours, the other screen. */
const SCREEN =
  "\x1b[?1049h\x1b[?1h\x1b=\x1b[2;1H▽\x1b[6n\x1b[1;24r\x1b[?12h\x1b[?25h\x1b[27m\x1b[m\x1b[H\x1b[2J" +
  '\x1b[?25l\x1b[24;1H"notes" 2L, 14B\x1b[1;1Hfirst ☃\r\nsecond\r\n\x1b[94m~\x1b[m\x1b[1;1H\x1b[?25h\x1b[24;1H\x1b[?1049l';
const EVENTS = [
  ...opened("stdin", "stdout", "resize"),
  said(5, "resize", '{"Width":132,"Height":43}'),
  ...[...new TextEncoder().encode(SCREEN)].map((byte, at) => said(10 + at, "stdout", new Uint8Array([byte]))),
  said(900, "stdin", ":q\r"),
];

async function exported(folder: string, bytes: Uint8Array, ...args: string[]) {
  const [file, target] = [join(folder, "a.rec"), join(folder, "exported")];
  await Deno.writeFile(file, bytes);
  const { code, error } = await run("export", file, "--output", target, ...args);
  return { code, error, bytes: await Deno.readFile(target).catch(() => undefined) };
}

Deno.test("export writes what a screen was told to a new file, in every format", () =>
  inFolder(async (folder) => {
    const recording = await makeRecording({ argv: ["vi", "notes"], events: EVENTS });
    const of = async (...args: string[]) => {
      const { code, error, bytes } = await exported(folder, recording, ...args);
      assert.deepEqual([code, error], [0, ""]);
      await Deno.remove(join(folder, "exported"));
      return new TextDecoder().decode(bytes);
    };
    assert.equal(await of("--format", "raw"), SCREEN);
    assert.equal(await of("--format", "raw", "--stream", "stdin"), ":q\r");
    const [header = "", ...lines] = (await of("--format", "asciicast")).trimEnd().split("\n");
    assert.equal(JSON.parse(header).width, 132);
    const output = lines.map((line) => JSON.parse(line)).filter(([, code]) => code === "o");
    assert.equal(output.map(([, , text]) => text).join(""), SCREEN);
    assert.match(await of("--format", "asciicast-v3"), /^\{"version":3,"term":\{"cols":132,"rows":43\}/);
    assert.match(await of("--format", "text"), /first ☃\nsecond\n~/);
    const events = (await of("--format", "json")).trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual([events[0].header.pod, events.at(-1).trailer.exitCode], ["web", 3]);
  }));

Deno.test("export makes a file for its owner alone, and writes over none", () =>
  inFolder(async (folder) => {
    const recording = await makeRecording({ events: EVENTS });
    await exported(folder, recording, "--format", "text");
    const { mode } = await Deno.stat(join(folder, "exported"));
    assert.equal((mode ?? 0) & 0o777, 0o600);
    const again = await exported(folder, recording, "--format", "json");
    assert.equal(again.code, 1);
    assert.doesNotMatch(new TextDecoder().decode(again.bytes), /"type"/);
  }));

Deno.test("export writes to the standard output, and nothing else there", () =>
  inFolder(async (folder) => {
    await Deno.writeFile(join(folder, "a.rec"), await makeRecording({ events: EVENTS }));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-read",
        "--allow-env",
        POSTERN,
        "export",
        join(folder, "a.rec"),
        "-f",
        "raw",
      ],
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.equal(new TextDecoder().decode(stdout), SCREEN);
  }));

Deno.test("export gives of a recording that is cut, or was changed, what stands before", () =>
  inFolder(async (folder) => {
    const whole = await makeRecording({ events: EVENTS });
    const cut = await exported(folder, whole.slice(0, -500), "--format", "raw");
    assert.equal(cut.code, 1);
    assert.match(cut.error, /a\.rec has no end: it was exported as far as it goes/);
    assert.ok(SCREEN.startsWith(new TextDecoder().decode(cut.bytes).replace(/\ufffd+$/, "")));
    await Deno.remove(join(folder, "exported"));

    const changed = whole.slice();
    changed[Math.floor(whole.length * 0.8)]! ^= 1;
    const broken = await exported(folder, changed, "--format", "raw");
    assert.equal(broken.code, 1);
    assert.match(broken.error, /^postern: .*not what was written/);
    const given = new TextDecoder().decode(broken.bytes).replace(/\ufffd+$/, "");
    assert.ok(given.length > 100 && SCREEN.startsWith(given));
  }));

Deno.test("export reads an encrypted recording with an identity of a recipient, and with no other", () =>
  inFolder(async (folder) => {
    const [mine, other] = await Promise.all([generateIdentity(), generateIdentity()]);
    await Deno.writeTextFile(join(folder, "mine"), `# mine\n${mine}\n`);
    await Deno.writeTextFile(join(folder, "other"), other);
    const recording = await makeRecording({ events: EVENTS, recipient: await identityToRecipient(mine) });
    const without = await exported(folder, recording, "--format", "raw");
    assert.match(without.error, /the recording is encrypted: an identity is needed/);
    const wrong = await exported(folder, recording, "--format", "raw", "--identity", join(folder, "other"));
    assert.match(wrong.error, /none of the identities opens the recording's key/);
    assert.deepEqual([without.bytes, wrong.bytes], [undefined, undefined]);
    const { bytes } = await exported(folder, recording, "-f", "raw", "--identity", join(folder, "mine"));
    assert.equal(new TextDecoder().decode(bytes), SCREEN);
  }));

for (
  const [args, says] of [
    [["a.rec"], /expected --format/],
    [["a.rec", "--format", "gif"], /unknown format "gif"/],
    [["a.rec", "--format", "json", "--stream", "stdout"], /--stream goes with --format text or raw/],
    [["a.rec", "--format", "text", "--direction", "in"], /--direction in or out goes with --format raw/],
    [["a.rec", "--format", "raw", "--direction", "up"], /--direction in or out goes with --format raw/],
    [["a.rec", "--format", "raw", "--stream", "a", "--stream", "b"], /--format raw is of one --stream/],
  ] as const
) {
  Deno.test(`postern export ${args.join(" ")} is called wrongly`, async () => {
    const { code, error } = await run("export", ...args);
    assert.equal(code, 2);
    assert.match(error, says);
  });
}
