/**
 * One end of an exec session as the benchmark needs it: payload goes in as prepared wire bytes, and is only counted when it
 * comes out, so that both ends work at the speed of memory and what lies between them is what is measured.
 */
export interface ExecChannel {
  /** Payload (at most 32 KiB) as this end sends it: a frame, or a message. To be made once and written many times. */
  frame(payload: Uint8Array): Uint8Array;
  /** Writes wire bytes; resolves when the kernel has them. */
  write(wire: Uint8Array): Promise<void>;
  /** How many payload bytes the next read brought, more than 0; `null` when the other end has said its last. */
  read(): Promise<number | null>;
  /** Says our last: of a client the end of stdin, of a kubelet the exit status and the end of the connection. */
  finish(): Promise<void>;
  /** Cuts the connection. */
  close(): void;
}

/** Which end of the session. */
export type End = "client" | "kubelet";

/** Reads until `bytes` of payload have come. @throws where the other end says its last before */
export async function readBytes(channel: ExecChannel, bytes: number): Promise<void> {
  let missing = bytes;
  while (missing > 0) {
    const count = await channel.read();
    if (count === null) throw new Error(`the session ended ${missing} bytes early`);
    missing -= count;
  }
}

/** Frames of 32 KiB, as Go's peers send them, in one piece of 1 MiB of payload. */
export const BULK_BYTES = 1024 * 1024;
const FRAME_BYTES = 32 * 1024;

/** What payload is made of: one letter, lines of a log, or what nobody can compress. */
export const CONTENTS = ["letters", "log", "noise"] as const;

/** One of {@linkcode CONTENTS}. */
export type Content = typeof CONTENTS[number];

/** What is written again and again where only throughput matters: {@linkcode BULK_BYTES} of payload. */
export function bulk(channel: ExecChannel, content: Content = "letters"): Uint8Array {
  const payload = MAKE[content]();
  const frames: Uint8Array[] = [];
  for (let offset = 0; offset < BULK_BYTES; offset += FRAME_BYTES) {
    frames.push(channel.frame(payload.subarray(offset, offset + FRAME_BYTES)));
  }
  const wire = new Uint8Array(frames.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const frame of frames) {
    wire.set(frame, offset);
    offset += frame.length;
  }
  return wire;
}

const MAKE: Record<Content, () => Uint8Array> = {
  letters: () => new Uint8Array(BULK_BYTES).fill(0x61),
  log: () => {
    const lines: string[] = [];
    for (let n = 0, bytes = 0; bytes < BULK_BYTES; n++) {
      const line = `2026-11-21T11:${n % 60}:${(n * 7) % 60}.${
        n % 1000
      }Z INFO request ${n} path=/api/v1/items/${(n * 7919) % 10007} status=200 ms=${(n * 31) % 977}\n`;
      lines.push(line);
      bytes += line.length;
    }
    return new TextEncoder().encode(lines.join("")).subarray(0, BULK_BYTES);
  },
  noise: () => {
    const bytes = new Uint8Array(BULK_BYTES);
    for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    return bytes;
  },
};
