import { Refusal } from "../../kube/status.ts";

/** Reviews and pods are small; a larger body is refused, in bytes. */
const MAX_BODY_BYTES = 1 << 20;

/** Reads a request's body. @throws {Refusal} RequestEntityTooLarge */
export async function readBytes(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) {
      throw new Refusal("RequestEntityTooLarge", `the request is larger than ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return await new Blob(chunks).bytes();
}

/** The body as JSON, still to be checked; `undefined` where there is none. @throws {Refusal} BadRequest, RequestEntityTooLarge */
export async function readJson(request: Request): Promise<unknown> {
  const bytes = await readBytes(request);
  if (bytes.length === 0) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return value;
  } catch (cause) {
    throw new Refusal("BadRequest", "the object provided is unrecognized", { cause });
  }
}
