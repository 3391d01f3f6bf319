import { randomBytes } from "node:crypto";
import { execFailureDocument, exitCodeDocument, successDocument } from "../../protocol/remote_command/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { endSession } from "./end_session.ts";
import { type Process, StartError, startProcess } from "./process.ts";
import {
  type OutputName,
  type RemoteSessionOptions,
  type RemoteStreams,
  type RemoteTask,
  serveRemote,
} from "./remote_session.ts";

/** What one exec asks for. */
export interface ExecOptions extends RemoteSessionOptions {
  argv: readonly string[];
  /** The container's folder. */
  folder: string;
  env: Readonly<Record<string, string>>;
}

/**
 * The kubelet's end of an exec: runs the command, tells how it ended. When it returns, by whatever way, the command and all that it
 * started have ended.
 */
export async function serveExec(connection: ByteConnection, options: ExecOptions): Promise<void> {
  await serveRemote(connection, options, new ExecTask(options));
}

class ExecTask implements RemoteTask {
  readonly #options: ExecOptions;
  #process: Process | undefined;

  constructor(options: ExecOptions) {
    this.#options = options;
  }

  async run(streams: RemoteStreams): Promise<Uint8Array> {
    let process: Process;
    try {
      process = this.#process = startProcess(this.#options);
    } catch (cause) {
      if (cause instanceof StartError) return execFailureDocument(runtimeError(cause.message));
      throw cause;
    }
    streams.onResize((size) => process.resize(size));
    const feeding = feed(process, streams);
    await Promise.all([send(process, "stdout", streams), send(process, "stderr", streams)]);
    const code = await process.exitCode;
    streams.stdin.discard();
    await feeding;
    const { argv } = this.#options;
    return code === 0
      ? successDocument()
      : exitCodeDocument(code, `error executing command [${argv.join(" ")}], exit code ${code}`);
  }

  async end(): Promise<void> {
    if (this.#process === undefined) return;
    await endSession(this.#process.pid);
    await this.#process.exitCode;
  }
}

async function feed(process: Process, { stdin }: RemoteStreams): Promise<void> {
  for (;;) {
    const bytes = await stdin.take();
    if (bytes === undefined) return await process.endInput();
    await Promise.race([process.write(bytes), process.exitCode]);
  }
}

async function send(process: Process, name: OutputName, streams: RemoteStreams): Promise<void> {
  for await (const bytes of process[name]) await streams.write(name, bytes);
  await streams.halfClose(name);
}

/** What containerd says where runc cannot start a command. */
function runtimeError(why: string): string {
  const id = randomBytes(32).toString("hex");
  return `failed to exec in container: failed to start exec "${id}": OCI runtime exec failed: exec failed: ` +
    `unable to start container process: ${why}: unknown`;
}
