import {
  execFailureDocument,
  exitCodeDocument,
  expectedStreams,
  parseStatusDocument,
  type RequestedStreams,
  ResizeDecoder,
  STREAM_PROTOCOLS,
  type StreamProtocol,
  successDocument,
  toTextStatus,
} from "../../protocol/remote_command/mod.ts";
import {
  type ControlFrame,
  dataFrame,
  dataHeader,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  RST_STATUS,
} from "../../protocol/spdy/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { type Process, StartError, startProcess } from "./process.ts";

/** What one exec asks for. */
export interface ExecOptions extends RequestedStreams {
  argv: readonly string[];
  folder: string;
  env: Readonly<Record<string, string>>;
  protocol: StreamProtocol;
  /** How long the client may take to open its streams, in milliseconds. */
  setupTimeoutMs: number;
}

interface OpenStream {
  id: number;
  name: string;
  /** We have said all on it. */
  isEnded: boolean;
}

/**
 * The kubelet's end of an exec: opens the streams that the client asks for, runs the command, tells how it ended.
 *
 * Ends as a real one does: output, its half-close, the status, a reset of what is left, GOAWAY. A client that goes away takes
 * the process with it.
 */
export async function serveExec(connection: ByteConnection, options: ExecOptions): Promise<void> {
  const session = new ExecServer(connection, options);
  await session.run();
}

class ExecServer {
  readonly #connection: ByteConnection;
  readonly #options: ExecOptions;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #streams = new Map<number, OpenStream>();
  readonly #byName = new Map<string, OpenStream>();
  readonly #sizes = new ResizeDecoder();
  readonly #allOpen = Promise.withResolvers<void>();
  #process: Process | undefined;

  constructor(connection: ByteConnection, options: ExecOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  async run(): Promise<void> {
    const reading = this.#read().catch(() => {}).finally(() => {
      this.#process?.kill();
      this.#allOpen.reject(new Error("the client is gone"));
    });
    const timer = setTimeout(() => this.#connection.close(), this.#options.setupTimeoutMs);
    try {
      await this.#allOpen.promise;
      clearTimeout(timer);
      await this.#say(await this.#execute());
    } catch {
      // The client is gone; so is the process.
    } finally {
      clearTimeout(timer);
      this.#process?.kill();
      this.#connection.close();
      await reading;
    }
  }

  /** Runs the command and returns the status document. */
  async #execute(): Promise<Uint8Array> {
    try {
      this.#process = startProcess(this.#options);
    } catch (cause) {
      if (cause instanceof StartError) return execFailureDocument(cause.message);
      throw cause;
    }
    const { stdout, stderr, exitCode } = this.#process;
    await Promise.all([this.#send("stdout", stdout), this.#send("stderr", stderr)]);
    const code = await exitCode;
    return code === 0
      ? successDocument()
      : exitCodeDocument(code, `error executing command, exit code ${code}`);
  }

  async #send(name: string, output: AsyncIterable<Uint8Array>): Promise<void> {
    const stream = this.#byName.get(name);
    for await (const bytes of output) {
      if (stream !== undefined && !stream.isEnded) await this.#connection.write(dataFrame(stream.id, bytes));
    }
    if (stream === undefined || stream.isEnded) return;
    stream.isEnded = true;
    await this.#connection.write(dataHeader(stream.id, 0, true));
  }

  async #say(document: Uint8Array): Promise<void> {
    const { protocol } = this.#options;
    const error = this.#byName.get("error");
    const hasDocument = STREAM_PROTOCOLS[protocol].statusDocument;
    const words = hasDocument ? document : toTextStatus(parseStatusDocument(document));
    if (error !== undefined && !error.isEnded && words.length > 0) {
      await this.#connection.write(dataFrame(error.id, words));
    }
    for (const stream of this.#streams.values()) {
      if (!stream.isEnded) {
        await this.#write({ type: "rst_stream", id: stream.id, status: RST_STATUS.CANCEL });
      }
    }
    await this.#write({ type: "goaway", lastGoodId: Math.max(0, ...this.#streams.keys()), status: 0 });
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
    if (frame.type === "syn_stream") return await this.#open(frame.id, frame.headers.get("streamtype") ?? "");
    if (frame.type === "ping" && frame.id % 2 === 1) return await this.#write(frame);
    if (frame.type === "rst_stream") {
      const stream = this.#streams.get(frame.id);
      if (stream !== undefined) stream.isEnded = true;
    }
    if (frame.type !== "data") return;
    const name = this.#streams.get(frame.id)?.name;
    if (name === "stdin") {
      await this.#allOpen.promise;
      if (frame.bytes.length > 0) await this.#process?.write(frame.bytes);
      if (frame.fin) await this.#process?.endInput();
    } else if (name === "resize") {
      await this.#allOpen.promise;
      for (const { columns, rows } of this.#sizes.push(frame.bytes)) this.#process?.resize(columns, rows);
    }
  }

  async #open(id: number, name: string): Promise<void> {
    const stream = { id, name, isEnded: false };
    this.#streams.set(id, stream);
    this.#byName.set(name, stream);
    await this.#write({ type: "syn_reply", id, fin: false, headers: new Map() });
    const expected = expectedStreams(this.#options, STREAM_PROTOCOLS[this.#options.protocol]);
    if (expected.every((each) => this.#byName.has(each))) this.#allOpen.resolve();
  }

  async #write(frame: ControlFrame): Promise<void> {
    await this.#connection.write(this.#encoder.encode(frame));
  }
}
