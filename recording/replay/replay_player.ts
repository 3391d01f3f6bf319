import { TerminalNewlines } from "../export/terminal_newlines.ts";
import type { RecordingEvent } from "../format/recording_reader.ts";

/** What a viewer does. Steps and seeks are in the recording's time. */
export type ReplayControl =
  | { type: "pause" }
  /** To the next output, and pauses there. */
  | { type: "step" }
  | { type: "seek"; byMs: number }
  | { type: "speed"; factor: number }
  | { type: "quit" };

/** Where a replay goes. */
export interface ReplayTerminal {
  write(bytes: Uint8Array): Promise<void>;
}

/** How time passes. */
export interface ReplayClock {
  /** Milliseconds from anywhere, that only grow. */
  now(): number;
  /** Resolves after so long, or as soon as the signal is raised. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface ReplayOptions {
  /** @default {1} */
  speed?: number;
  /** Longest wait that is replayed, in milliseconds of the recording. @default {Infinity} */
  idleLimitMs?: number;
  /** Whether what was typed is shown as well, where it was recorded. @default {false} */
  stdin?: boolean;
  /**
   * Whether the terminal's line discipline writes CR LF for LF (ONLCR). For a full-screen program LF alone means one line down: IND is
   * written instead, which says the same.
   *
   * @default {false}
   */
  isCooked?: boolean;
}

/** Slowest and fastest replay. */
const MIN_SPEED = 1 / 16;
const MAX_SPEED = 64;

/** RIS: forgets colours, modes, tabs and the screen. */
const RESET = new TextEncoder().encode("\x1bc");

/** IND: one line down, and no column back. */
const INDEX = "\x1bD";

/**
 * Plays a recording's output at the times it came, and does what the viewer says meanwhile. Going back plays again from the
 * beginning, without waiting, onto a terminal that was reset: what a screen looked like is known no other way.
 */
export class ReplayPlayer {
  readonly #open: () => AsyncIterable<RecordingEvent>;
  readonly #terminal: ReplayTerminal;
  readonly #clock: ReplayClock;
  readonly #idleLimitUs: number;
  readonly #stdin: boolean;
  readonly #isCooked: boolean;
  #speed: number;
  /** How far it was played, in microseconds of the recording. */
  #positionUs = 0;
  /** Up to here nothing is waited for. */
  #seekUs = 0;
  /** What the viewer asked for since. */
  #seekByUs = 0;
  #isRewinding = false;
  #isPaused = false;
  #isStepping = false;
  #isOver = false;
  #wake = new AbortController();

  /** @param open the recording's events from the first one; called again to go back */
  constructor(
    open: () => AsyncIterable<RecordingEvent>,
    terminal: ReplayTerminal,
    clock: ReplayClock,
    { speed = 1, idleLimitMs = Infinity, stdin = false, isCooked = false }: ReplayOptions = {},
  ) {
    this.#open = open;
    this.#terminal = terminal;
    this.#clock = clock;
    this.#idleLimitUs = idleLimitMs * 1000;
    this.#stdin = stdin;
    this.#isCooked = isCooked;
    this.#speed = clamp(speed);
  }

  /** Whether the viewer had enough. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves at the end of the recording, or when the viewer has enough. @throws what reading and writing throw */
  async play(): Promise<void> {
    do {
      if (this.#isRewinding) await this.#terminal.write(RESET);
      this.#isRewinding = false;
      this.#positionUs = 0;
      await this.#playOnce();
      this.#seek();
    } while (this.#isRewinding && !this.#isOver);
  }

  control(control: ReplayControl): void {
    switch (control.type) {
      case "pause":
        this.#isPaused = !this.#isPaused;
        break;
      case "step":
        this.#isPaused = true;
        this.#isStepping = true;
        break;
      case "seek":
        this.#seekByUs += control.byMs * 1000;
        break;
      case "speed":
        this.#speed = clamp(this.#speed * control.factor);
        break;
      case "quit":
        this.#isOver = true;
        break;
      default:
        control satisfies never;
    }
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  /** What was asked for is counted from where it is now, which a wait that was interrupted tells first. */
  #seek(): void {
    const byUs = this.#seekByUs;
    if (byUs === 0) return;
    this.#seekByUs = 0;
    this.#seekUs = Math.max(0, Math.max(this.#positionUs, this.#seekUs) + byUs);
    this.#isRewinding ||= this.#seekUs < this.#positionUs;
  }

  async #playOnce(): Promise<void> {
    const newlines = new Map<number, TerminalNewlines>();
    let lineFeed: string | undefined;
    for await (const event of this.#open()) {
      if (event.type === "header") lineFeed = this.#lineFeed(event.header.tty === true);
      if (event.type === "ended") newlines.delete(event.stream);
      if (event.type !== "data" || !this.#isShown(event)) continue;
      await this.#until(event.atUs);
      if (this.#isOver || this.#isRewinding) return;
      let bytes = event.bytes;
      if (lineFeed !== undefined) {
        const lines = newlines.get(event.stream) ?? new TerminalNewlines(lineFeed);
        newlines.set(event.stream, lines);
        bytes = lines.push(bytes);
      }
      await this.#terminal.write(bytes);
    }
  }

  /** What is written for an LF alone, where that is something else. */
  #lineFeed(isTty: boolean): string | undefined {
    if (!isTty) return "\r\n";
    return this.#isCooked ? INDEX : undefined;
  }

  #isShown({ name, direction }: RecordingEvent & { type: "data" }): boolean {
    if (direction === "in") return this.#stdin && name === "stdin";
    return name === "stdout" || name === "stderr";
  }

  /** Returns when this moment of the recording is to be shown, or nothing more of this pass is. */
  async #until(atUs: number): Promise<void> {
    this.#seek();
    while (!this.#isOver && !this.#isRewinding && this.#positionUs < atUs) {
      if (atUs <= this.#seekUs) break;
      this.#positionUs = Math.max(this.#positionUs, this.#seekUs, atUs - this.#idleLimitUs);
      if (this.#isStepping) {
        this.#isStepping = false;
        break;
      }
      await this.#pass(atUs);
      this.#seek();
    }
    if (!this.#isOver && !this.#isRewinding) this.#positionUs = Math.max(this.#positionUs, atUs);
  }

  /** Lets time pass until that moment, or until the viewer does something. */
  async #pass(atUs: number): Promise<void> {
    const { signal } = this.#wake;
    const speed = this.#speed;
    const sinceMs = this.#clock.now();
    if (this.#isPaused) return await this.#clock.sleep(Infinity, signal);
    await this.#clock.sleep((atUs - this.#positionUs) / 1000 / speed, signal);
    const passedUs = (this.#clock.now() - sinceMs) * 1000 * speed;
    // A timer may be early by a fraction of a millisecond: what was not interrupted has come to its end.
    this.#positionUs = signal.aborted ? Math.min(atUs, this.#positionUs + passedUs) : atUs;
  }
}

function clamp(speed: number): number {
  return Math.min(MAX_SPEED, Math.max(MIN_SPEED, speed));
}
