import { type IPty, spawn } from "@lydell/node-pty";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import process from "node:process";
import type { Process, ProcessOptions } from "./process.ts";

/** Output that waits to be sent, in bytes, above which the process is held. */
const HOLD_ABOVE_BYTES = 256 * 1024;

/** How long a write may be silent before it is woken, in milliseconds. */
const NUDGE_MS = 5;

/** How often it is looked whether a held process has ended, in milliseconds: node-pty drops what is not read 200 ms later. */
const HELD_POLL_MS = 50;

/** What the end of stdin is on a terminal: the key that says so. */
const END_OF_INPUT = Uint8Array.of(4);

/** Starts a process with a terminal of its own. */
export function startTerminal(file: string, args: string[], { folder, env }: ProcessOptions): Process {
  const terminal = spawn(file, args, { name: "xterm", cwd: folder, env: { ...env }, encoding: null });
  const output = new HeldOutput(terminal);
  const exitCode = Promise.withResolvers<number>();
  terminal.onExit(({ exitCode: code, signal }) => {
    output.end();
    exitCode.resolve(signal ? 128 + signal : code);
  });
  return {
    pid: terminal.pid,
    stdout: output.readable,
    stderr: new ReadableStream({ start: (controller) => controller.close() }),
    write: (bytes) => write(terminal, bytes, () => output.isHeld),
    endInput: () => write(terminal, END_OF_INPUT, () => output.isHeld),
    resize: ({ columns, rows }) => {
      if (columns < 1 || rows < 1) return; // as containerd does
      try {
        terminal.resize(columns, rows);
      } catch {
        // It has ended.
      }
    },
    exitCode: exitCode.promise,
  };
}

/** What a terminal prints, which is held where nobody takes it. */
class HeldOutput {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #terminal: IPty;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #hold: ReturnType<typeof setInterval> | undefined;
  #isEnded = false;

  constructor(terminal: IPty) {
    this.#terminal = terminal;
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#release(),
      cancel: () => {
        this.#isEnded = true;
        this.#release();
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: HOLD_ABOVE_BYTES }));
    // Without an encoding it is bytes, whatever the type says.
    terminal.onData((data: string | Uint8Array) => this.#push(Buffer.from(data as Uint8Array)));
  }

  get isHeld(): boolean {
    return this.#hold !== undefined;
  }

  end(): void {
    this.#release();
    if (!this.#isEnded) this.#controller.close();
    this.#isEnded = true;
  }

  #push(bytes: Uint8Array): void {
    if (this.#isEnded) return;
    this.#controller.enqueue(bytes);
    if ((this.#controller.desiredSize ?? 0) > 0 || this.isHeld) return;
    this.#terminal.pause();
    this.#hold = setInterval(() => {
      if (!isAlive(this.#terminal.pid)) this.#release(); // the little that the kernel holds must be read now
    }, HELD_POLL_MS);
  }

  #release(): void {
    if (!this.isHeld) return;
    clearInterval(this.#hold);
    this.#hold = undefined;
    this.#terminal.resume();
  }
}

/**
 * Writes to a terminal and waits until it took everything: node-pty itself queues without a bound.
 *
 * Deno 2.9.5 does not wake a write that waits for room in a terminal unless reading is begun anew.
 */
function write(terminal: IPty, bytes: Uint8Array, isHeld: () => boolean): Promise<void> {
  const { _socket: socket } = terminal as IPty & { _socket: Socket };
  return new Promise((resolve) => {
    const nudge = setInterval(() => {
      if (isHeld()) return;
      terminal.pause();
      terminal.resume();
    }, NUDGE_MS);
    socket.write(bytes, () => {
      clearInterval(nudge);
      resolve();
    });
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
