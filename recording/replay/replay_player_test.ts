import assert from "node:assert/strict";
import type { RecordingEvent } from "../format/recording_reader.ts";
import { type ReplayClock, type ReplayControl, type ReplayOptions, ReplayPlayer } from "./replay_player.ts";

/** Time that passes when the test says so. */
class TestClock implements ReplayClock {
  #nowMs = 0;
  #sleepers = new Set<{ wakeMs: number; wake: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const sleeper = { wakeMs: this.#nowMs + ms, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener("abort", wake);
      const sleepers = this.#sleepers;
      function wake(): void {
        sleepers.delete(sleeper);
        resolve();
      }
    });
  }

  /** Every sleeper wakes at its own moment, and what it does is done before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      const next = [...this.#sleepers].sort((one, other) => one.wakeMs - other.wakeMs)[0];
      if (next === undefined || next.wakeMs > endMs) break;
      this.#nowMs = next.wakeMs;
      next.wake();
    }
    this.#nowMs = endMs;
  }
}

/** What is due is done when the event loop has come round. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

const HEADER = (tty: boolean): RecordingEvent => ({ type: "header", header: { tty } });

function output(atSeconds: number, text: string, name = "stdout"): RecordingEvent {
  const direction = name === "stdin" ? "in" : "out";
  const bytes = new TextEncoder().encode(text);
  return { type: "data", atUs: atSeconds * 1_000_000, stream: 0, name, direction, bytes };
}

/** Says its time each second up to 9. */
const SECONDS = [HEADER(true), ...Array.from({ length: 10 }, (_, second) => output(second, String(second)))];

function start(events: readonly RecordingEvent[], options?: ReplayOptions) {
  const clock = new TestClock();
  const shown = { text: "" };
  const terminal = {
    write: (bytes: Uint8Array) => Promise.resolve(void (shown.text += new TextDecoder().decode(bytes))),
  };
  const open = async function* () {
    await Promise.resolve();
    yield* events;
  };
  const player = new ReplayPlayer(open, terminal, clock, options);
  return { clock, shown, player, over: player.play() };
}

/** What is shown after each of these: time that passes, in seconds, or something that the viewer does. */
type Step = [done: number | ReplayControl, shown: string];

const PAUSE: ReplayControl = { type: "pause" };
const STEP: ReplayControl = { type: "step" };
const SEEK = (seconds: number): ReplayControl => ({ type: "seek", byMs: seconds * 1000 });
const RESET = "\x1bc";

const plays: { name: string; events?: readonly RecordingEvent[]; options?: ReplayOptions; steps: Step[] }[] =
  [
    { name: "shows output when it came", steps: [[0.5, "0"], [1, "01"], [2, "0123"], [10, "0123456789"]] },
    { name: "is as fast as it is told to be", options: { speed: 2 }, steps: [[1.1, "012"], [1, "01234"]] },
    {
      name: "gets faster and slower",
      steps: [
        [1.5, "01"],
        [{ type: "speed", factor: 2 }, "01"],
        [0.26, "012"],
        [0.5, "0123"],
        [
          { type: "speed", factor: 0.25 },
          "0123",
        ],
        [1.9, "0123"],
        [0.1, "01234"],
      ],
    },
    {
      name: "pauses and goes on",
      steps: [[1.5, "01"], [PAUSE, "01"], [100, "01"], [PAUSE, "01"], [0.6, "012"]],
    },
    {
      name: "goes on by one output at each step, and pauses there",
      steps: [[1.5, "01"], [STEP, "012"], [100, "012"], [STEP, "0123"], [PAUSE, "0123"], [1.1, "01234"]],
    },
    { name: "skips forward", steps: [[1.5, "01"], [SEEK(5), "0123456"], [0.6, "01234567"]] },
    {
      name: "goes back by playing from the beginning on a terminal that was reset",
      steps: [[4.5, "01234"], [SEEK(-2), `01234${RESET}012`], [0.6, `01234${RESET}0123`]],
    },
    {
      name: "goes back no further than to the beginning",
      steps: [[2.5, "012"], [SEEK(-60), `012${RESET}0`]],
    },
    {
      name: "adds up seeks",
      steps: [[1.5, "01"], [SEEK(2), "0123"], [SEEK(2), "012345"], [SEEK(-1), `012345${RESET}01234`]],
    },
    {
      name: "stays paused over a seek",
      steps: [[1.5, "01"], [PAUSE, "01"], [SEEK(2), "0123"], [100, "0123"], [SEEK(-2), `0123${RESET}01`], [
        100,
        `0123${RESET}01`,
      ]],
    },
    {
      name: "waits no longer than the idle limit",
      events: [HEADER(true), output(1, "a"), output(3600, "b")],
      options: { idleLimitMs: 2_000 },
      steps: [[1.1, "a"], [1.8, "a"], [0.2, "ab"]],
    },
    {
      name: "shows what was typed only where that is wanted",
      events: [HEADER(true), output(0, "pw", "stdin"), output(0, "$")],
      steps: [[0.1, "$"]],
    },
    {
      name: "shows what was typed where that is wanted",
      events: [HEADER(true), output(0, "pw", "stdin"), output(0, "$")],
      options: { stdin: true },
      steps: [[0.1, "pw$"]],
    },
    {
      name: "gives line ends what a terminal would have, where there was none",
      events: [HEADER(false), output(0, "a\nb\r\n")],
      steps: [[0.1, "a\r\nb\r\n"]],
    },
    {
      name: "keeps a line feed alone what it was to a full-screen program, on a terminal that adds to it",
      events: [HEADER(true), output(0, "a\r\nb\nc")],
      options: { isCooked: true },
      steps: [[0.1, "a\r\nb\x1bDc"]],
    },
  ];
for (const { name, events = SECONDS, options, steps } of plays) {
  Deno.test(`a replay ${name}`, async () => {
    const { clock, shown, player, over } = start(events, options);
    for (const [index, [done, text]] of steps.entries()) {
      if (typeof done === "number") await clock.advance(done * 1000);
      else {
        player.control(done);
        await clock.advance(0);
      }
      assert.equal(shown.text, text, `after step ${index + 1}`);
    }
    player.control({ type: "quit" });
    await over;
  });
}

Deno.test("a replay ends with its recording", async () => {
  const { clock, player, over } = start(SECONDS);
  await clock.advance(9_000);
  await over;
  assert.equal(player.isOver, false);
});

Deno.test("a replay that was quit shows nothing more, also from a pause", async () => {
  const { clock, shown, player, over } = start(SECONDS);
  await clock.advance(1_500);
  player.control(PAUSE);
  await clock.advance(1_000);
  player.control({ type: "quit" });
  await over;
  assert.deepEqual([shown.text, player.isOver], ["01", true]);
});

Deno.test("a recording that breaks ends its replay with what is wrong", async () => {
  const broken = async function* (): AsyncGenerator<RecordingEvent> {
    yield HEADER(true);
    await Promise.resolve();
    throw new Error("the block is not what was written");
  };
  const player = new ReplayPlayer(broken, { write: () => Promise.resolve() }, new TestClock());
  await assert.rejects(player.play(), /not what was written/);
});
