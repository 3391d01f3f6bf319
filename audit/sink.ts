/** Bounds of what waits for a sink, what is being written among it. */
export interface QueueBounds {
  maxPendingBytes: number;
  maxPendingEvents: number;
}

/** Where lines go. Its `write` is never called before the last one has ended. */
export interface Sink {
  /** For status and log, e.g. `file /var/log/postern/audit.log`. */
  readonly name: string;
  /**
   * No append waits for the sink, or fails with it; nor does it count where one sink is enough. What it cannot take is
   * lost to it, which the log says. @default false
   */
  readonly isBestEffort?: boolean;
  /** What may wait for it. @default the journal's */
  readonly queue?: QueueBounds;
  /** Makes ready what can be, so that a start fails where a session would. A write does not depend on it. */
  open?(): Promise<void>;
  /**
   * Writes whole lines, each with its newline, and resolves when they are as durable as the sink makes them.
   * Rejects when they may not be; some of them, or a part of one, may then be there. The next call tries anew.
   */
  write(lines: Uint8Array): Promise<void>;
  /**
   * Resolves when what was written has gone where it goes in the end, for a sink that keeps it in between.
   * The journal waits for it before it closes the sink, no longer than its deadline.
   */
  flush?(): Promise<void>;
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
