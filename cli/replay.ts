import { printable } from "../recording/printable.ts";
import { type ReadableRecording, readRecording } from "../recording/format/read_recording.ts";
import type { RecordingEvent } from "../recording/format/recording_reader.ts";
import { ASK, ReplayKeyReader } from "../recording/replay/replay_keys.ts";
import { type ReplayClock, type ReplayControl, ReplayPlayer } from "../recording/replay/replay_player.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import { readIdentities } from "./identity.ts";
import { readFile } from "./read_file.ts";

const OPTIONS = {
  speed: { type: "string", default: "1" },
  "idle-limit": { type: "string" },
  stdin: { type: "boolean", default: false },
  "no-controls": { type: "boolean", default: false },
  identity: { type: "string", multiple: true },
} as const;

/**
 * Ends what a session may have left behind: a sequence that was cut, the other screen, mouse reports, bracketed paste, a hidden cursor, colours, line
 * drawing, margins.
 */
const RESTORE =
  "\x1b[?1049l\x1b[?1000;1002;1003;1005;1006;1015;1004;2004l\x1b[!p\x1b[?7h\x1b[?25h\x1b(B\x1b[0m\r\n";

/** How long a terminal's last answers are waited for, and how long it must then be silent, in milliseconds. */
const ANSWER_MS = 2_000;
const SILENCE_MS = 50;

/** `postern replay`: a recording as its viewer saw it. */
export const replay: Command = {
  words: ["replay"],
  usage: "FILE [--speed N] [--idle-limit SECONDS] [--stdin] [--no-controls] [--identity FILE]",
  summary: "play a recording in the terminal",
  help: `Keys:
  space   pause, and go on       right, left   5 seconds forward, back
  .       the next output        up, down      1 minute forward, back
  + -     faster, slower         q             quit

Options:
      --speed N             how many times as fast, 0.0625 to 64
      --idle-limit SECONDS  longest pause that is replayed
      --stdin               show also what was typed, where it was recorded
      --no-controls         play to any output, without keys
      --identity FILE       an age identity, for recordings that are encrypted

THE TERMINAL EXECUTES WHAT WAS RECORDED: a replay moves the cursor, sets titles and asks the terminal questions, as the session
did. To look into a recording of someone you do not trust, use \`postern export --format text\`.
Signatures are not checked: see \`postern verify\`.`,
  async run(args, output) {
    const { positionals, values } = parseArguments(args, OPTIONS, ["FILE"]);
    const [file = ""] = positionals;
    const idleLimit = values["idle-limit"];
    const options = {
      speed: positiveNumber("--speed", values.speed),
      ...(idleLimit !== undefined && { idleLimitMs: positiveNumber("--idle-limit", idleLimit) * 1000 }),
      stdin: values.stdin,
      // Raw input leaves a terminal's output as it is.
      isCooked: Deno.stdout.isTerminal(),
    };
    const hasControls = !values["no-controls"];
    if (hasControls && !(Deno.stdin.isTerminal() && Deno.stdout.isTerminal())) {
      throw new UsageError("a replay with keys needs a terminal: use --no-controls, or postern export");
    }
    const recording = await readRecording(() => readFile(file), await readIdentities(values.identity ?? []));
    if (recording.header.kind === "portforward") {
      throw new Error("a port-forward has no terminal: see postern export --format json");
    }
    const tail = { isThere: false };
    const player = new ReplayPlayer(() => noticeTail(recording, tail), { write }, CLOCK, options);
    if (hasControls) await playWithKeys(player);
    else await player.play();
    if (tail.isThere || player.isOver) return 0;
    output.error(`postern: ${printable(file)} has no end: it was played as far as it goes\n`);
    return 1;
  },
};

function positiveNumber(option: string, text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !(number > 0) || number === Infinity) {
    throw new UsageError(`${option} takes a number above 0, got ${JSON.stringify(text)}`);
  }
  return number;
}

async function* noticeTail(
  recording: ReadableRecording,
  tail: { isThere: boolean },
): AsyncGenerator<RecordingEvent, void, undefined> {
  for await (const event of recording.events()) {
    if (event.type === "trailer") tail.isThere = true;
    yield event;
  }
}

const CLOCK: ReplayClock = {
  now: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const timer = Number.isFinite(ms) ? setTimeout(end, ms) : undefined;
      signal.addEventListener("abort", end);
      function end(): void {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      }
    });
  },
};

async function write(bytes: Uint8Array): Promise<void> {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(await Deno.stdout.write(rest));
}

/** Plays while keys are read, and leaves the terminal as it was, whatever happens. */
async function playWithKeys(player: ReplayPlayer): Promise<void> {
  const quit = () => player.control({ type: "quit" });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, quit);
  const keyboard = new Keyboard((control) => player.control(control));
  try {
    await player.play();
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, quit);
    await keyboard.close();
  }
}

/** The terminal's input, raw. */
class Keyboard {
  readonly #reader = Deno.stdin.readable.getReader();
  readonly #keys = new ReplayKeyReader();
  readonly #answered = Promise.withResolvers<void>();
  #lastInputMs = 0;

  constructor(onControl: (control: ReplayControl) => void) {
    Deno.stdin.setRaw(true);
    this.#read(onControl).catch(() => {}).finally(() => onControl({ type: "quit" }));
  }

  async #read(onControl: (control: ReplayControl) => void): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      this.#lastInputMs = performance.now();
      for (const key of this.#keys.push(value)) {
        if (key.type === "answered") this.#answered.resolve();
        else onControl(key);
      }
    }
  }

  /**
   * What the recording asked the terminal must not be typed into the shell that comes next (a title can be set and asked for): its
   * answers are read before the terminal is given back.
   */
  async close(): Promise<void> {
    try {
      await write(new TextEncoder().encode(`${RESTORE}${ASK}`));
      const answered = new AbortController();
      this.#answered.promise.then(() => answered.abort());
      await CLOCK.sleep(ANSWER_MS, answered.signal);
      const endMs = performance.now() + ANSWER_MS;
      do await delay(SILENCE_MS); while (performance.now() < Math.min(endMs, this.#lastInputMs + SILENCE_MS));
    } finally {
      Deno.stdin.setRaw(false);
      await this.#reader.cancel().catch(() => {});
    }
  }
}

function delay(ms: number): Promise<void> {
  return CLOCK.sleep(ms, new AbortController().signal);
}
