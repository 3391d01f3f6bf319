import { spawn } from "@lydell/node-pty";
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeRecording, opened, said, type TestRecording } from "../recording/test_recording.ts";

const POSTERN = fileURLToPath(new URL("postern.ts", import.meta.url));
const DEADLINE_MS = 60_000;

/** A replay in a terminal, after which the shell says how it ended and what the terminal is left like. */
async function inTerminal(
  recording: TestRecording,
  use: (terminal: { shows(text: string): Promise<void>; type(keys: string): void }) => Promise<void>,
): Promise<string> {
  const folder = await Deno.makeTempDir();
  const file = join(folder, "a.rec");
  await Deno.writeFile(file, await makeRecording(recording));
  const run = [Deno.execPath(), "run", "--no-prompt", "--allow-read", "--allow-env", POSTERN, "replay", file];
  const script =
    `stty -a > ${folder}/before; "$@"; echo "exit $?"; stty -a > ${folder}/after; read -t 0 rest && echo left`;
  const pty = spawn("bash", ["-c", script, "sh", ...run], { cols: 80, rows: 24, name: "xterm" });
  let shown = "";
  pty.onData((text) => shown += text);
  const exited = new Promise<void>((resolve) => pty.onExit(() => resolve()));
  const deadline = setTimeout(() => pty.kill("SIGKILL"), DEADLINE_MS);
  try {
    await use({
      type: (keys) => pty.write(keys),
      async shows(text) {
        const endMs = performance.now() + DEADLINE_MS;
        while (!shown.includes(text)) {
          assert.ok(performance.now() < endMs, `${JSON.stringify(text)} is shown: ${JSON.stringify(shown)}`);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
    });
    await exited;
    const [before, after] = await Promise.all(
      ["before", "after"].map((name) => Deno.readTextFile(join(folder, name))),
    );
    assert.equal(after, before, "the terminal is as it was");
    return shown;
  } finally {
    clearTimeout(deadline);
    await Deno.remove(folder, { recursive: true });
  }
}

/** Answers as a terminal does that is asked whether it is well. */
const WELL = "\x1b[0n";
const ASKED = "\x1b[5n";

Deno.test("postern replay plays to the end, and gives the terminal back", async () => {
  const events = [...opened("stdout"), said(0, "stdout", "hello\r\n"), said(300, "stdout", "world\r\n")];
  const shown = await inTerminal({ events }, async ({ shows, type }) => {
    await shows("hello\r\r\nworld\r\r\n"); // the terminal adds a CR to each LF
    await shows(ASKED);
    type(WELL);
  });
  assert.match(shown, /exit 0/);
});

Deno.test("postern replay is paused, sought and quit by keys, and gives the terminal back", async () => {
  const events = [
    ...opened("stdout"),
    said(0, "stdout", "\x1b[?1049h\x1b[?25lone"),
    said(3_600_000, "stdout", "two"),
    said(3_620_000, "stdout", "three"),
  ];
  const shown = await inTerminal({ events }, async ({ shows, type }) => {
    await shows("one");
    for (let minute = 0; minute < 60; minute++) type("\x1b[A");
    await shows("two");
    type(" \x1b[B");
    await shows("\x1bc");
    type("q");
    await shows(ASKED);
    type(WELL);
  });
  const restored = shown.slice(shown.lastIndexOf("\x1b[?1049l"));
  assert.ok(
    restored.includes("\x1b[?25h") && restored.includes("exit 0"),
    "screen and cursor are given back",
  );
  assert.doesNotMatch(shown, /three/);
});

Deno.test("what a recording makes the terminal answer is not typed into the shell that comes next", async () => {
  const events = [...opened("stdout"), said(0, "stdout", "\x1b]0;rm -rf\x07\x1b[21t")];
  const shown = await inTerminal({ events }, async ({ shows, type }) => {
    await shows(ASKED);
    type(`\x1b]lrm -rf\x1b\\\n${WELL}`);
  });
  assert.doesNotMatch(shown, /left/);
});

Deno.test("Ctrl-C quits postern replay, and gives the terminal back", async () => {
  const events = [...opened("stdout"), said(0, "stdout", "one"), said(60_000, "stdout", "two")];
  const shown = await inTerminal({ events }, async ({ shows, type }) => {
    await shows("one");
    type("\x03");
    await shows(ASKED);
    type(WELL);
  });
  assert.match(shown, /exit 0/);
});

async function piped(recording: TestRecording, ...args: string[]) {
  const folder = await Deno.makeTempDir();
  const file = join(folder, "a.rec");
  try {
    await Deno.writeFile(file, await makeRecording(recording));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-read", "--allow-env", POSTERN, "replay", file, ...args],
      stdin: "null",
    }).output();
    return { code, out: new TextDecoder().decode(stdout), error: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("postern replay without a terminal plays only when it is told that there is none", async () => {
  const events = [...opened("stdout"), said(0, "stdout", "one"), said(100, "stdout", "two")];
  const [refused, played] = await Promise.all([piped({ events }), piped({ events }, "--no-controls")]);
  assert.deepEqual([refused.code, refused.out], [2, ""]);
  assert.match(refused.error, /needs a terminal: use --no-controls/);
  assert.deepEqual([played.code, played.out, played.error], [0, "onetwo", ""]);
});

Deno.test("postern replay says of a recording without an end that it has none", async () => {
  const events = [...opened("stdout"), said(0, "stdout", "one")];
  const { code, out, error } = await piped({ events, isEnded: false }, "--no-controls");
  assert.deepEqual([code, out], [1, "one"]);
  assert.match(error, /a\.rec has no end: it was played as far as it goes\n$/);
});

Deno.test("postern replay refuses a port-forward", async () => {
  const { code, error } = await piped({ kind: "portforward", events: [] }, "--no-controls");
  assert.equal(code, 1);
  assert.match(error, /a port-forward has no terminal/);
});
