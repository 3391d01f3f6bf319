import { Buffer } from "node:buffer";
import { z } from "zod";
import { BLOCK, BlockReader } from "../recording/format/block.ts";
import { decodeDocument } from "../recording/format/document.ts";
import { RecordingError } from "../recording/format/recording_error.ts";
import { CatalogError } from "./catalog_error.ts";
import { type Contribution, microTime } from "./read_event.ts";
import { SESSIONS, storable, toCells } from "./tables.ts";

const User = z.object({ username: z.string().optional() });

/** What of a recording's header the index reads. */
const Header = z.object({
  auditId: z.string().min(1).max(256),
  startedAt: z.string(),
  user: User,
  impersonatedUser: User.optional(),
  sourceIps: z.array(z.string()),
  userAgent: z.string().optional(),
  kind: z.string(),
  namespace: z.string(),
  pod: z.string(),
  podUid: z.string(),
  node: z.string(),
  container: z.string().optional(),
  image: z.string().optional(),
  argv: z.array(z.string()).optional(),
  tty: z.boolean(),
  protocol: z.string(),
});
type Header = z.infer<typeof Header>;

/** And of its trailer. */
const Trailer = z.object({
  endedAt: z.string(),
  reason: z.string(),
  by: z.string(),
  message: z.string(),
  exitCode: z.int().optional(),
  totals: z.object({ bytesIn: z.int(), bytesOut: z.int() }),
});

/**
 * What a recording says of its session, for one whose events are missing: who, where, what and how it ended. What was decided,
 * and single streams, stand in events alone.
 *
 * Every block is held against its link; no signature is looked at, and nothing is decrypted.
 *
 * @param path where it lies, below its store
 * @param chunks its bytes from the first one
 * @param isWanted asked with the audit ID, before more than the header is read
 * @returns `undefined` where it is not wanted
 * @throws {CatalogError} `invalid`, where it is no recording
 */
export async function readRecording(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  isWanted: (auditId: string) => Promise<boolean>,
): Promise<Contribution | undefined> {
  const reader = new BlockReader();
  let header: Header | undefined;
  let trailer: z.infer<typeof Trailer> | undefined;
  let damage: string | undefined;
  try {
    for await (const chunk of chunks) {
      for (const { kind, payload } of reader.push(chunk)) {
        if (kind === BLOCK.HEADER && header === undefined) {
          header = Header.parse(decodeDocument(payload));
          if (!await isWanted(header.auditId)) return undefined;
        }
        if (kind === BLOCK.TRAILER) trailer = Trailer.parse(decodeDocument(payload));
      }
    }
  } catch (cause) {
    if (!(cause instanceof RecordingError || cause instanceof z.ZodError)) throw cause;
    damage = cause instanceof RecordingError ? cause.message : "its header or trailer is none";
  }
  if (header === undefined) throw new CatalogError("invalid", `${path}: ${damage ?? "it has no header"}`);
  if (trailer === undefined) damage ??= "it has no end";
  if (reader.heldBytes > 0) damage ??= "its last block is cut";
  const startedAt = microTime(header.startedAt);
  return {
    auditId: storable(header.auditId),
    session: toCells(SESSIONS, {
      ...header,
      startedAt,
      username: header.user.username,
      impersonatedUser: header.impersonatedUser?.username,
      sourceIp: header.sourceIps[0],
      recording: path,
      recordingError: damage,
      openedAt: startedAt,
      ...(trailer && {
        outcome: "end",
        endedAt: microTime(trailer.endedAt),
        endReason: trailer.reason,
        endedBy: trailer.by,
        message: trailer.message,
        code: 101,
        exitCode: trailer.exitCode,
        bytesIn: trailer.totals.bytesIn,
        bytesOut: trailer.totals.bytesOut,
        durationMs: Date.parse(trailer.endedAt) - Date.parse(startedAt),
        ...(damage === undefined && { recordingLink: Buffer.from(reader.link).toString("hex") }),
      }),
    }),
    details: [],
  };
}
