import type { IncomingMessage } from "node:http";
import type { HeaderLine } from "../routes/handler.ts";

/** Stands for the authority in `Request.url`, which must have one: no decision is ever made on a Host header. */
const AUTHORITY = "https://gateway.invalid";

/**
 * The `Request` of a message that came in.
 *
 * @param onBody called when its body is first read: a client may wait for `100 Continue`
 * @throws {TypeError} if a header or the target cannot be represented
 */
export function toRequest(
  message: IncomingMessage,
  lines: readonly HeaderLine[],
  options: { hasBody: boolean; signal: AbortSignal; onBody?: () => void },
): Request {
  const { method = "GET", url = "/" } = message;
  const { hasBody, signal, onBody } = options;
  return new Request(AUTHORITY + url, {
    method,
    headers: lines.map(([name, value]) => [name, value]), // a third of the time that a Headers object takes
    signal,
    redirect: "manual",
    ...(hasBody && { body: bodyOf(message, onBody) }),
  });
}

/** All header lines of a message, in order. */
export function headerLines({ rawHeaders }: IncomingMessage): HeaderLine[] {
  const lines: HeaderLine[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    lines.push([rawHeaders[index] ?? "", rawHeaders[index + 1] ?? ""]);
  }
  return lines;
}

/**
 * The body as it comes in: a chunk is taken from the message only when one is asked for, so that who reads slowly
 * slows the client down.
 */
function bodyOf(message: IncomingMessage, onBody?: () => void): ReadableStream<Uint8Array> {
  let isBegun = false;
  let isCancelled = false;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (!isBegun) onBody?.();
      isBegun = true;
      const chunk = await nextChunk(message);
      if (isCancelled) return;
      if (chunk === null) controller.close();
      else controller.enqueue(chunk);
    },
    cancel() {
      isCancelled = true;
    },
  }, { highWaterMark: 0 });
}

/** @returns `null` at the end. @throws {Error} if the body was cut off */
function nextChunk(message: IncomingMessage): Promise<Uint8Array | null> {
  return new Promise((resolve, reject) => {
    const attempt = () => {
      const chunk: unknown = message.read();
      if (chunk instanceof Uint8Array) settle(() => resolve(chunk));
      else if (message.readableEnded) settle(() => resolve(null));
      else if (message.destroyed || message.errored) cut();
    };
    const cut = () => settle(() => reject(new Error("the request's body was cut off")));
    const settle = (act: () => void) => {
      message.off("readable", attempt).off("end", attempt).off("close", attempt).off("error", cut);
      act();
    };
    message.on("readable", attempt).on("end", attempt).on("close", attempt).on("error", cut);
    attempt();
  });
}
