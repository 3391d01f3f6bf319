import {
  expectedStreams,
  parseStatusDocument,
  type RequestedStreams,
  ResizeDecoder,
  STREAM_PROTOCOLS,
  type StreamProtocol,
  toTextStatus,
} from "../../protocol/remote_command/mod.ts";
import {
  type ControlFrame,
  type DataFrame,
  dataFrame,
  dataHeader,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  RST_STATUS,
} from "../../protocol/spdy/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { Inbox } from "./inbox.ts";
import type { TerminalSize } from "./process.ts";
import { within } from "./within.ts";

/** How a session is held, whatever it is for. */
export interface RemoteSessionOptions extends RequestedStreams {
  protocol: StreamProtocol;
  /** How long the client may take to open its streams, in milliseconds. */
  setupTimeoutMs: number;
  /** Aborted when the session is to end, whatever its client does. */
  signal: AbortSignal;
  /**
   * A client whose stdin waits for the process is not read from: it is written to so often, to learn whether it is still there.
   * @default {5000}
   */
  probeMs?: number;
}

/** The streams of a client, all of them open. */
export interface RemoteStreams {
  readonly stdin: Inbox;
  /** Tells the size of the client's terminal: the last one at once, and each that follows. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Resolves when the client's connection took the bytes. A stream that is not open, or that the client gave up, takes none. */
  write(name: OutputName, bytes: Uint8Array): Promise<void>;
  halfClose(name: OutputName): Promise<void>;
}

export type OutputName = "stdout" | "stderr";

/** What a session is for. */
export interface RemoteTask {
  /** Does it, between the client's streams. @returns the status document */
  run(streams: RemoteStreams): Promise<Uint8Array>;
  /** Ends it: it is done, or its client has gone. Where it still runs, {@linkcode run} comes to its end. */
  end(): Promise<void>;
}

interface OpenStream {
  id: number;
  name: string;
  /** We have said all on it. */
  isEnded: boolean;
}

/** Stdin that the process has not read yet, in bytes; a client that sends more waits. */
const MAX_HELD_STDIN_BYTES = 256 * 1024;

/** How long the client may take to read the last words, in milliseconds, before the connection is closed over them. */
const FAREWELL_MS = 2_000;

/**
 * The kubelet's end of an exec or attach: opens the streams that the client asks for, does the task, tells how it ended.
 *
 * Ends as a real one does: output, its half-close, the status, a reset of what is left, GOAWAY. When it returns, by whatever way,
 * the task has ended.
 */
export async function serveRemote(
  connection: ByteConnection,
  options: RemoteSessionOptions,
  task: RemoteTask,
): Promise<void> {
  await new RemoteSession(connection, options, task).run();
}

class RemoteSession implements RemoteStreams {
  readonly #connection: ByteConnection;
  readonly #options: RemoteSessionOptions;
  readonly #task: RemoteTask;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #streams = new Map<number, OpenStream>();
  readonly #byName = new Map<string, OpenStream>();
  readonly #sizes = new ResizeDecoder();
  readonly stdin = new Inbox(MAX_HELD_STDIN_BYTES);
  readonly #allOpen = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  /** The last size that was told; it may come before anybody asks. */
  #size: TerminalSize | undefined;
  #onResize: ((size: TerminalSize) => void) | undefined;
  #nextPingId = 2;

  constructor(connection: ByteConnection, options: RemoteSessionOptions, task: RemoteTask) {
    this.#connection = connection;
    this.#options = options;
    this.#task = task;
  }

  async run(): Promise<void> {
    const reading = this.#read().catch(() => {}).finally(() => {
      this.#gone.resolve();
      this.#connection.close(); // nothing that is being written reaches anybody
    });
    const { signal } = this.#options;
    const abort = () => this.#gone.resolve();
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    const probe = setInterval(() => this.#probe(), this.#options.probeMs ?? 5_000);
    let serving: Promise<void> | undefined;
    try {
      if (await this.#areStreamsOpen()) {
        serving = this.#serve().catch(() => {}); // the connection broke, which reading notices too
        await Promise.race([serving, this.#gone.promise]);
        await this.#task.end();
        this.stdin.discard();
        await within(FAREWELL_MS, Promise.all([serving, reading]));
      }
    } finally {
      signal.removeEventListener("abort", abort);
      clearInterval(probe);
      this.stdin.discard();
      this.#connection.close();
      await Promise.all([serving, reading]);
    }
  }

  async #areStreamsOpen(): Promise<boolean> {
    const open = this.#allOpen.promise.then(() => true);
    const gone = this.#gone.promise.then(() => false);
    return await within(this.#options.setupTimeoutMs, Promise.race([open, gone])) ?? false;
  }

  async #serve(): Promise<void> {
    if (this.#options.protocol === "channel.k8s.io") await this.#forgetErrors();
    await this.#say(await this.#task.run(this));
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#onResize = listener;
    this.#applySize();
  }

  async write(name: OutputName, bytes: Uint8Array): Promise<void> {
    const stream = this.#byName.get(name);
    if (stream !== undefined && !stream.isEnded) await this.#connection.write(dataFrame(stream.id, bytes));
  }

  async halfClose(name: OutputName): Promise<void> {
    const stream = this.#byName.get(name);
    if (stream !== undefined) await this.#halfClose(stream);
  }

  /** v1 has no way to tell how a command ended. */
  async #forgetErrors(): Promise<void> {
    const [error, stdin] = [this.#byName.get("error"), this.#byName.get("stdin")];
    if (error !== undefined) await this.#reset(error);
    if (stdin !== undefined) await this.#halfClose(stdin);
  }

  async #say(document: Uint8Array): Promise<void> {
    const { protocol } = this.#options;
    const error = this.#byName.get("error");
    const hasDocument = STREAM_PROTOCOLS[protocol].statusDocument;
    const words = hasDocument ? document : toTextStatus(parseStatusDocument(document));
    if (error !== undefined && !error.isEnded && words.length > 0) {
      await this.#connection.write(dataFrame(error.id, words));
    }
    for (const name of ["stdout", "stderr"] as const) await this.halfClose(name);
    for (const stream of this.#streams.values()) await this.#reset(stream);
    await this.#send({ type: "goaway", lastGoodId: Math.max(0, ...this.#streams.keys()), status: 0 });
  }

  async #read(): Promise<void> {
    for (;;) {
      const chunk = await this.#connection.read();
      if (chunk === null) return;
      for (const frame of this.#decoder.push(chunk)) {
        if (frame.type === "goaway") return;
        await this.#take(frame);
      }
    }
  }

  async #take(frame: Frame): Promise<void> {
    switch (frame.type) {
      case "syn_stream":
        return await this.#open(frame.id, frame.headers.get("streamtype") ?? "");
      case "data":
        return await this.#receive(frame);
      case "ping":
        return frame.id % 2 === 1 ? await this.#send(frame) : undefined;
      case "rst_stream": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined) return;
        stream.isEnded = true;
        if (stream.name === "stdin") this.stdin.end();
      }
    }
  }

  async #receive({ id, bytes, fin }: DataFrame): Promise<void> {
    const name = this.#streams.get(id)?.name;
    if (name === "stdin") {
      await this.stdin.put(bytes);
      if (fin) this.stdin.end();
    } else if (name === "resize") {
      for (const size of this.#sizes.push(bytes)) this.#size = size;
      this.#applySize();
    }
  }

  #applySize(): void {
    if (this.#size !== undefined) this.#onResize?.(this.#size);
  }

  async #open(id: number, name: string): Promise<void> {
    const stream = { id, name, isEnded: false };
    this.#streams.set(id, stream);
    this.#byName.set(name, stream);
    await this.#send({ type: "syn_reply", id, fin: false, headers: new Map() });
    const expected = expectedStreams(this.#options, STREAM_PROTOCOLS[this.#options.protocol]);
    if (expected.every((each) => this.#byName.has(each))) this.#allOpen.resolve();
  }

  #probe(): void {
    if (!this.stdin.isFull) return;
    this.#send({ type: "ping", id: this.#nextPingId }).catch(() => this.#gone.resolve());
    this.#nextPingId += 2;
  }

  async #halfClose(stream: OpenStream): Promise<void> {
    if (stream.isEnded) return;
    stream.isEnded = true;
    await this.#connection.write(dataHeader(stream.id, 0, true));
  }

  async #reset(stream: OpenStream): Promise<void> {
    if (stream.isEnded) return;
    stream.isEnded = true;
    await this.#send({ type: "rst_stream", id: stream.id, status: RST_STATUS.CANCEL });
  }

  async #send(frame: ControlFrame): Promise<void> {
    await this.#connection.write(this.#encoder.encode(frame));
  }
}
