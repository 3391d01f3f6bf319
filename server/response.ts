import { Buffer } from "node:buffer";
import type { ServerResponse } from "node:http";

/** Headers that belong to the connection. They are the front's to set, whatever a handler passes on. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Up to so many bytes of a body are waited for, if they come at once, so that its length can be told. */
const GATHER_BYTES = 64 * 1024;

/**
 * Writes a response. Its body is read no faster than the client takes it, and is cancelled when the client goes.
 *
 * A body that is there at once leaves together with its headers and a Content-Length; of one that takes its time the
 * headers leave first, as a watch needs it.
 *
 * @throws whatever reading the body throws, and {@linkcode RangeError} if it is not as long as its Content-Length
 * says; the connection is then of no use any more
 */
export async function writeResponse(to: ServerResponse, response: Response): Promise<void> {
  const { status, statusText, headers, body } = response;
  to.statusCode = status;
  if (statusText !== "") to.statusMessage = statusText;
  const cookies = headers.getSetCookie();
  for (const [name, value] of headers) {
    if (name !== "set-cookie" && !OF_THE_CONNECTION.has(name)) to.setHeader(name, value);
  }
  if (cookies.length > 0) to.setHeader("set-cookie", cookies);
  if (body === null || to.req.method === "HEAD" || status === 204 || status === 304) {
    void body?.cancel().catch(() => {});
    // Of what there is none, no length is invented: the answer to a HEAD says that of its GET, or nothing.
    to.end();
    return;
  }
  await new BodyWriter(to, body.getReader()).write();
}

class BodyWriter {
  readonly #to: ServerResponse;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #left: number | undefined;

  constructor(to: ServerResponse, reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#to = to;
    this.#reader = reader;
    const length = to.getHeader("content-length");
    if (length !== undefined) this.#left = Number(length);
  }

  async write(): Promise<void> {
    const cancel = () => void this.#reader.cancel(new Error("the client has gone")).catch(() => {});
    this.#to.once("close", cancel);
    if (this.#to.destroyed) cancel();
    try {
      await this.#writeAll();
    } catch (thrown) {
      void this.#reader.cancel(thrown).catch(() => {});
      throw thrown;
    } finally {
      this.#to.off("close", cancel);
    }
  }

  async #writeAll(): Promise<void> {
    const gathered: Uint8Array[] = [];
    let bytes = 0;
    let next = this.#reader.read();
    while (bytes < GATHER_BYTES) {
      const result = await unlessLater(next);
      if (result === undefined) break;
      if (result.done) return this.#endWith(gathered, bytes);
      this.#count(result.value.length);
      gathered.push(result.value);
      bytes += result.value.length;
      next = this.#reader.read();
    }
    if (bytes === 0) this.#to.flushHeaders();
    for (const chunk of gathered) this.#to.write(chunk);
    for (let result = await next; !result.done; result = await this.#reader.read()) {
      this.#count(result.value.length);
      if (!this.#to.write(result.value)) await drained(this.#to);
      if (this.#to.destroyed) return;
    }
    this.#checkLength();
    this.#to.end();
  }

  #endWith(gathered: readonly Uint8Array[], bytes: number): void {
    this.#checkLength();
    this.#to.setHeader("content-length", bytes);
    this.#to.end(gathered.length === 1 ? gathered[0] : Buffer.concat(gathered));
  }

  /** More than was announced would be read as the next answer. */
  #count(bytes: number): void {
    if (this.#left === undefined) return;
    this.#left -= bytes;
    if (this.#left < 0) throw new RangeError("the body is longer than its Content-Length");
  }

  #checkLength(): void {
    if (this.#left) throw new RangeError("the body is shorter than its Content-Length");
  }
}

/** What a promise resolves with in this turn of the event loop; `undefined` if it takes longer. */
async function unlessLater<T>(promise: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const later = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), 0));
  try {
    return await Promise.race([promise, later]);
  } finally {
    clearTimeout(timer);
  }
}

function drained(to: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      to.off("drain", settle).off("close", settle);
      resolve();
    };
    to.on("drain", settle).on("close", settle);
    if (to.destroyed || !to.writableNeedDrain) settle();
  });
}
