import { Buffer } from "node:buffer";

/** A body is longer than its bound, or took longer than its time. */
export class BodyError extends Error {
  override readonly name = "BodyError";
  constructor(readonly kind: "too_large" | "too_slow") {
    super(kind === "too_large" ? "the body is too large" : "the body took too long");
  }
}

/**
 * Reads a whole body.
 *
 * @throws {BodyError} where it has more than `maxBytes`, or takes more than `deadlineMs`
 */
export async function readBody(
  body: ReadableStream<Uint8Array> | null,
  { maxBytes, deadlineMs }: { maxBytes: number; deadlineMs: number },
): Promise<Uint8Array> {
  if (body === null) return new Uint8Array();
  const reader = body.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new BodyError("too_slow")), deadlineMs);
  });
  try {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return Buffer.concat(pieces);
      bytes += value.length;
      if (bytes > maxBytes) throw new BodyError("too_large");
      pieces.push(value);
    }
  } catch (cause) {
    await reader.cancel(cause).catch(() => {}); // nobody reads the rest
    throw cause;
  } finally {
    clearTimeout(timer);
  }
}
