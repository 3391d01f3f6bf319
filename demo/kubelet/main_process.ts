import { ContainerLog } from "./container_log.ts";
import { endSession } from "./end_session.ts";
import { type Process, startProcess, type TerminalSize } from "./process.ts";
import type { OutputName } from "./remote_session.ts";

/** What a container runs. */
export interface MainProcessOptions {
  argv: readonly string[];
  /** The container's folder. */
  folder: string;
  env: Readonly<Record<string, string>>;
  /** As in the container's spec. */
  stdin: boolean;
  stdinOnce: boolean;
  tty: boolean;
  /** Takes what it prints, line by line. */
  log: ContainerLog;
}

/** Takes what is printed, in order. Whoever is slow slows the process down. Must not reject. */
export type OutputListener = (name: OutputName, bytes: Uint8Array) => Promise<void>;

/** Somebody who looks on. */
export interface Attachment {
  /** Resolves when the process has ended and all that it printed was taken. */
  readonly ended: Promise<unknown>;
  /** Nothing is told any more. */
  detach(): void;
}

/**
 * A process whose stdin is nobody's ends with us, in whatever way we end: its guard reads from a pipe that only we hold, and takes the
 * whole group along when that ends.
 */
const GUARDED = `
exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
exec "$@"`;

/** The main process of a container: it runs by itself, is logged, and any number of clients look on. */
export class MainProcess implements AsyncDisposable {
  /** Its exit code, once all that it printed was taken. Whatever it started has ended then, too. */
  readonly ended: Promise<number>;
  readonly hasStdin: boolean;
  readonly isStdinOnce: boolean;
  readonly isTerminal: boolean;
  readonly #process: Process;
  #hasEnded = false;
  readonly #attached = new Map<OutputListener, PromiseWithResolvers<void>>();

  /** Starts it. @throws {StartError} */
  constructor({ argv, folder, env, stdin, stdinOnce, tty, log }: MainProcessOptions) {
    this.hasStdin = stdin;
    this.isStdinOnce = stdinOnce;
    this.isTerminal = tty;
    const isGuarded = !stdin && !tty;
    const command = isGuarded ? ["/bin/sh", "-c", GUARDED, "sh", ...argv] : argv;
    this.#process = startProcess({ argv: command, folder, env, stdin: stdin || isGuarded, tty });
    const printed = Promise.all([this.#hand("stdout", log), this.#hand("stderr", log)]);
    this.ended = this.#end(printed);
  }

  /** Tells what is printed from now on. */
  attach(listener: OutputListener): Attachment {
    const detached = Promise.withResolvers<void>();
    this.#attached.set(listener, detached);
    const detach = () => {
      this.#attached.delete(listener);
      detached.resolve();
    };
    return { ended: this.ended, detach };
  }

  /** Resolves when the process took the bytes. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#process.write(bytes);
  }

  async endInput(): Promise<void> {
    await this.#process.endInput();
  }

  resize(size: TerminalSize): void {
    if (this.isTerminal) this.#process.resize(size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) await endSession(this.#process.pid);
    for (const { resolve } of this.#attached.values()) resolve();
    await this.ended;
  }

  async #end(printed: Promise<unknown>): Promise<number> {
    const code = await this.#process.exitCode;
    this.#hasEnded = true;
    await endSession(this.#process.pid);
    await this.#process.endInput();
    await printed;
    return code;
  }

  async #hand(name: OutputName, log: ContainerLog): Promise<void> {
    const lines = log.writer();
    for await (const bytes of this.#process[name]) {
      lines.write(bytes);
      const taken = [...this.#attached].map(([listener, { promise }]) => {
        return Promise.race([listener(name, bytes), promise]);
      });
      await Promise.all(taken);
    }
    lines.end();
  }
}
