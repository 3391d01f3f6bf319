import { createHash } from "node:crypto";
import { join } from "node:path";
import type { AuditEvent } from "../../../audit/event.ts";
import { chainInstance } from "../../../recording/chain/chain_writer.ts";
import { type ChainFault, DayChainVerifier } from "../../../recording/chain/day_chain.ts";
import { RecordingReader } from "../../../recording/format/recording_reader.ts";
import { Verifier } from "../../../recording/format/signer.ts";
import { type Fault, RecordingVerifier } from "../../../recording/format/verify.ts";
import type { Gateway } from "./gateway.ts";

/** What a recording holds of the streams of one name. */
export interface ReadStream {
  /** As text, where it is short. */
  in: string;
  out: string;
  /** Hexadecimal SHA-256 of what is kept. */
  sha256Out: string;
  bytesOut: number;
  totals: Record<string, unknown>;
}

/** A recording that was read and verified. */
export interface ReadRecording {
  header: Record<string, unknown>;
  trailer: Record<string, unknown> | undefined;
  streams: Record<string, ReadStream>;
  fault: Fault | undefined;
  seals: number;
}

/** Longer outputs are hashed and not kept. */
const MAX_TEXT_BYTES = 1 << 20;

/** The recording that a session's last event names. */
export async function recordingOf(gateway: Gateway, end: AuditEvent): Promise<ReadRecording> {
  const path = end.annotations["postern.dev/recording"];
  if (path === undefined) throw new Error("the session has no recording");
  return await readRecording(gateway, path);
}

/** @param path below the gateway's recordings */
export async function readRecording(gateway: Gateway, path: string): Promise<ReadRecording> {
  const verifier = new RecordingVerifier(new Verifier([await Deno.readTextFile(gateway.recordingsKey)]));
  const reader = new RecordingReader();
  const streams = new Map<string, { in: Uint8Array[]; out: Uint8Array[]; bytes: number; totals: object }>();
  const hashes = new Map<string, ReturnType<typeof createHash>>();
  using file = await Deno.open(join(gateway.recordings, path));
  for await (const chunk of file.readable) {
    verifier.push(chunk);
    for (const event of reader.push(chunk)) {
      if (event.type === "header" || event.type === "trailer") continue;
      const { name } = event;
      const stream = streams.get(name) ?? { in: [], out: [], bytes: 0, totals: {} };
      const hash = hashes.get(name) ?? createHash("sha256");
      streams.set(name, stream);
      hashes.set(name, hash);
      if (event.type === "ended") stream.totals = event.totals;
      if (event.type !== "data") continue;
      if (event.direction === "out") {
        hash.update(event.bytes);
        stream.bytes += event.bytes.length;
      }
      if (stream.bytes <= MAX_TEXT_BYTES) stream[event.direction].push(event.bytes.slice());
    }
  }
  const { fault, header = {}, trailer, seals } = verifier.end();
  const text = (parts: Uint8Array[]) => Buffer.concat(parts).toString();
  const entries = [...streams].map(([name, { in: input, out, bytes, totals }]) =>
    [name, {
      in: text(input),
      out: text(out),
      sha256Out: hashes.get(name)!.digest("hex"),
      bytesOut: bytes,
      totals: { ...totals },
    }] as const
  );
  return { header, trailer, streams: Object.fromEntries(entries), fault, seals };
}

/** The last event of the session whose command holds the marker. */
export async function endOf(gateway: Gateway, marker: string): Promise<AuditEvent | undefined> {
  return (await gateway.events()).find(({ annotations, requestURI }) =>
    annotations["postern.dev/event"] === "end" && requestURI.includes(marker)
  );
}

/** What each chain of the gateway's recordings says, and what is wrong with it. */
export async function chainsOf(
  gateway: Gateway,
): Promise<{ fault: ChainFault | undefined; events: string[] }[]> {
  const chains = [];
  for (const path of await filesBelow(gateway.recordings)) {
    if (chainInstance(path) === undefined) continue;
    const verifier = new DayChainVerifier(new Verifier([await Deno.readTextFile(gateway.recordingsKey)]));
    verifier.push(await Deno.readTextFile(join(gateway.recordings, path)));
    const fault = verifier.end();
    const events = verifier.entries.map((entry) =>
      "recording" in entry ? `${entry.event} ${entry.recording}` : entry.event
    );
    chains.push({ fault, events });
  }
  return chains;
}

/** Every file, by its path below the folder, sorted. */
export async function filesBelow(folder: string, below = ""): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(folder, below))) {
    const path = join(below, name);
    paths.push(...isDirectory ? await filesBelow(folder, path) : [path]);
  }
  return paths.sort();
}
