/**
 * As much of Protocol Buffers as kubectl's questions need: it asks `auth can-i` and `auth whoami` in that encoding.
 *
 * @see k8s.io/apimachinery pkg/runtime/serializer/protobuf: `k8s\0`, then a `runtime.Unknown` whose field 2 is the object
 * @module
 */

/** Fields of a message by number, in order; numbers and byte strings. */
export type Message = ReadonlyMap<number, readonly (number | Uint8Array)[]>;

/** @throws {RangeError} where the bytes end early or have a type that Kubernetes does not use */
export function readMessage(bytes: Uint8Array): Message {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let offset = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1;; shift *= 128) {
      const byte = bytes[offset++];
      if (byte === undefined || shift > 2 ** 49) throw new RangeError("protobuf: number ends early");
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
  };
  while (offset < bytes.length) {
    const key = varint();
    const value = (key & 7) === 0 ? varint() : (key & 7) === 2 ? take(varint()) : undefined;
    if (value === undefined) throw new RangeError("protobuf: unknown wire type");
    const number = Math.floor(key / 8);
    fields.set(number, [...fields.get(number) ?? [], value]);
  }
  return fields;

  function take(length: number): Uint8Array {
    if (length > bytes.length - offset) throw new RangeError("protobuf: field ends early");
    return bytes.subarray(offset, offset += length);
  }
}

/** A field that holds a message; an empty one where it is missing. */
export function child(message: Message, number: number): Message | undefined {
  const value = message.get(number)?.at(-1);
  return value instanceof Uint8Array ? readMessage(value) : undefined;
}

/** A field that holds text; `""` where it is missing. */
export function textOf(message: Message, number: number): string {
  const value = message.get(number)?.at(-1);
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : "";
}

/** The object inside Kubernetes' envelope. */
export function readEnvelope(bytes: Uint8Array): Message {
  if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "k8s\0") {
    throw new RangeError("protobuf: no Kubernetes object");
  }
  return child(readMessage(bytes.subarray(4)), 2) ?? new Map();
}
