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

/** What is written again and again where only throughput matters: {@linkcode BULK_BYTES} of payload. */
export function bulk(channel: ExecChannel): Uint8Array {
  const frame = channel.frame(new Uint8Array(FRAME_BYTES).fill(0x61));
  const wire = new Uint8Array(frame.length * (BULK_BYTES / FRAME_BYTES));
  for (let offset = 0; offset < wire.length; offset += frame.length) wire.set(frame, offset);
  return wire;
}
