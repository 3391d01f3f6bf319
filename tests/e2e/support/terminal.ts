import { spawn } from "@lydell/node-pty";
import { commandOf, type KubectlRun } from "./kubectl.ts";
import { eventually, within } from "./wait.ts";

/** Size of a terminal, in character cells. */
export interface Size {
  columns: number;
  rows: number;
}

/** A kubectl in a terminal of its own, as someone at a keyboard has it. */
export class Terminal {
  readonly exitCode: Promise<number>;
  readonly #pty: ReturnType<typeof spawn>;
  #output = "";
  #mark = 0;
  #isOver = false;

  constructor(run: KubectlRun, { columns, rows }: Size) {
    const { binary, args, env } = commandOf(run);
    this.#pty = spawn(binary, args, { cols: columns, rows, env, name: "xterm" });
    this.#pty.onData((text) => this.#output += text);
    const exited = new Promise<number>((resolve) => {
      this.#pty.onExit(({ exitCode, signal }) => resolve(signal ? 128 + signal : exitCode));
    });
    this.exitCode = exited.then((code) => {
      this.#isOver = true;
      return code;
    });
  }

  /** All that was shown. */
  get output(): string {
    return this.#output;
  }

  type(keys: string): void {
    this.#pty.write(keys);
  }

  resize({ columns, rows }: Size): void {
    this.#pty.resize(columns, rows);
  }

  /**
   * Waits until a text is shown after what was waited for last.
   *
   * @returns what was shown up to its end
   */
  async shows(text: string, deadlineMs = 10_000): Promise<string> {
    const from = this.#mark;
    const end = await eventually(`the terminal shows ${JSON.stringify(text)}`, () => {
      const at = this.#output.indexOf(text, from);
      if (at >= 0) return at + text.length;
      if (!this.#isOver) return undefined;
      throw new Error(`kubectl ended before ${JSON.stringify(text)}: ${JSON.stringify(this.#output)}`);
    }, { deadlineMs, everyMs: 10 }).catch((error) => {
      this.kill();
      throw new Error(`${error.message}; shown was ${JSON.stringify(this.#output.slice(from))}`);
    });
    this.#mark = end;
    return this.#output.slice(from, end);
  }

  /** Waits for the end. */
  async end(deadlineMs = 15_000): Promise<number> {
    try {
      return await within(deadlineMs, "kubectl ends in its terminal", this.exitCode);
    } catch (error) {
      this.kill();
      throw error;
    }
  }

  kill(): void {
    if (!this.#isOver) this.#pty.kill("SIGKILL");
  }
}
