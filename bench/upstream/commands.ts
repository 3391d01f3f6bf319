import { bulk, BULK_BYTES, CONTENTS, type ExecChannel, readBytes } from "./exec_channel.ts";

/** Payload of a keystroke or of a short line: what latency is measured with. */
export const SMALL_BYTES = 10;

/** How many small frames come back to back: Nagle's algorithm holds the second back until the first is acknowledged. */
export const SMALL_FRAMES = 3;

/** What can be run in the benchmark's container: each plays the process of one figure. */
export const COMMANDS = {
  /** Says one byte and ends. */
  hello: async (channel) => {
    await channel.write(channel.frame(Uint8Array.of(0x61)));
  },
  /** Three small frames for each byte of stdin, in three writes. */
  burst: async (channel) => {
    const small = channel.frame(new Uint8Array(SMALL_BYTES).fill(0x61));
    for (let count = await channel.read(); count !== null; count = await channel.read()) {
      for (let rest = count * SMALL_FRAMES; rest > 0; rest--) await channel.write(small);
    }
  },
  /** One byte for each three small frames of stdin. */
  acknowledge: async (channel) => {
    const small = channel.frame(Uint8Array.of(0x61));
    const roundBytes = SMALL_BYTES * SMALL_FRAMES;
    let seen = 0;
    for (let count = await channel.read(); count !== null; count = await channel.read()) {
      const rounds = Math.floor((seen + count) / roundBytes) - Math.floor(seen / roundBytes);
      seen += count;
      for (let rest = rounds; rest > 0; rest--) await channel.write(small);
    }
  },
  /** Writes as many MiB as it is told, at full speed, after the first byte of stdin: `1024-log`. */
  produce: async (channel, argument) => {
    const [mebibytes, name] = argument.split("-");
    const wire = bulk(channel, CONTENTS.find((content) => content === name));
    await readBytes(channel, 1);
    for (let rest = Number(mebibytes); rest > 0; rest--) await channel.write(wire);
  },
  /** Takes all of stdin, at full speed, then says one byte. */
  consume: async (channel) => {
    while (await channel.read() !== null);
    await channel.write(channel.frame(Uint8Array.of(0x61)));
  },
  /** A stopped process: never reads. */
  stop: () => new Promise<void>(() => {}),
  /** Writes for ever, at full speed. */
  flood: async (channel) => {
    const wire = bulk(channel);
    for (;;) await channel.write(wire);
  },
} as const satisfies Record<string, (channel: ExecChannel, argument: string) => Promise<void>>;

/** The first word of a session's command. */
export type CommandName = keyof typeof COMMANDS;

/** Bytes of a MiB count. */
export function mebibytesToBytes(mebibytes: number): number {
  return mebibytes * BULK_BYTES;
}
