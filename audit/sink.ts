/** Where lines go. Its `write` is never called before the last one has ended. */
export interface Sink {
  /** For status and log, e.g. `file /var/log/postern/audit.log`. */
  readonly name: string;
  /**
   * Writes whole lines, each with its newline, and resolves when they are as durable as the sink makes them.
   * Rejects when they may not be; some of them, or a part of one, may then be there. The next call tries anew.
   */
  write(lines: Uint8Array): Promise<void>;
  /** Never throws. */
  close(): void;
}

/** Joins chunks; one is given back as it is. */
export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const [first] = chunks;
  if (first && chunks.length === 1) return first;
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    joined.set(chunk, offset);
    offset += chunk.length;
  }
  return joined;
}

/** Writes all of `bytes`, however little the system takes at once. */
export async function writeAll(
  writer: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await writer.write(rest));
}
