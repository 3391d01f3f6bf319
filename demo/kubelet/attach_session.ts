import { successDocument } from "../../protocol/remote_command/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import type { MainProcess } from "./main_process.ts";
import {
  type RemoteSessionOptions,
  type RemoteStreams,
  type RemoteTask,
  serveRemote,
} from "./remote_session.ts";

/** What one attach asks for. */
export interface AttachOptions extends RemoteSessionOptions {
  process: MainProcess;
}

/**
 * The kubelet's end of an attach: the client sees what the container's main process prints from now on, and writes to its stdin where
 * it has one. Ends with that process, or when the client's stdin does; with Success either way, as containerd has it.
 */
export async function serveAttach(connection: ByteConnection, options: AttachOptions): Promise<void> {
  await serveRemote(connection, options, new AttachTask(options));
}

class AttachTask implements RemoteTask {
  readonly #options: AttachOptions;
  readonly #detached = Promise.withResolvers<void>();

  constructor(options: AttachOptions) {
    this.#options = options;
  }

  async run(streams: RemoteStreams): Promise<Uint8Array> {
    const { process } = this.#options;
    // A connection that broke is noticed by who reads from it; the process goes on.
    const attachment = process.attach((name, bytes) => streams.write(name, bytes).catch(() => {}));
    streams.onResize((size) => process.resize(size));
    const feeding = this.#feed(streams);
    await Promise.race([attachment.ended, this.#detached.promise]);
    attachment.detach();
    streams.stdin.discard();
    await feeding;
    return successDocument();
  }

  end(): Promise<void> {
    this.#detached.resolve();
    return Promise.resolve();
  }

  /** @see containerd internal/cri/io/container_io.go, Attach */
  async #feed({ stdin }: RemoteStreams): Promise<void> {
    const { process, stdin: isAsked } = this.#options;
    if (!isAsked || !process.hasStdin) return stdin.discard();
    for (let bytes = await stdin.take(); bytes !== undefined; bytes = await stdin.take()) {
      await Promise.race([process.write(bytes), process.ended, this.#detached.promise]);
    }
    if (process.isStdinOnce && !process.isTerminal) await process.endInput();
    else this.#detached.resolve();
  }
}
