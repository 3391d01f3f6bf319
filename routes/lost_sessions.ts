import { z } from "zod";
import { KEEP_SECRETS_IN_CLEAR } from "../audit/argv/argv_mask.ts";
import { type AuditEnd, type AuditEvent, END_REASONS, endEvent } from "../audit/event.ts";
import type { RecordingArchive } from "../recording/archive.ts";
import {
  claim,
  findLostRecordings,
  type LostSession,
  readLostSession,
} from "../recording/chain/lost_recordings.ts";
import type { Gate } from "./gate.ts";

/** How far back lost sessions are looked for: longer than any gateway is down without being missed. */
const DAYS = 7;

const MESSAGE =
  "the gateway that held the session is gone; what it passed on is in the recording, as far as that goes";

/**
 * Writes the last event of each session whose gateway died before it could: `end`, with reason `gateway_lost`, or as the
 * recording's own trailer says. Safe to call again, and on several replicas at once.
 *
 * @returns how many were found
 * @throws what the store throws; {AuditError}
 */
export async function settleLostSessions(
  archive: RecordingArchive,
  { journal, report }: Pick<Gate, "journal" | "report">,
  nowMs = Date.now(),
): Promise<number> {
  const { store, instance, summaries } = archive;
  const lost = await findLostRecordings({
    ...{ store, summaries, instance, nowMs, days: DAYS },
    isOwn: (chain) => archive.isOwn(chain),
    isGivenUp: (recording) => archive.isGivenUp(recording),
  });
  let settled = 0;
  for (const recording of lost) {
    const done = await claim(store, recording, nowMs);
    if (done === undefined) continue;
    // First of all, so that nothing can be appended any more by a gateway that was taken for gone.
    await store.assemble?.(recording.path).catch((cause) =>
      report("a lost recording is not one object yet", cause, recording.auditId)
    );
    const session = await readLostSession(store, recording);
    const event = session && lostEvent(session, new Date(nowMs));
    if (event === undefined) {
      report("a lost recording has no header of its session", undefined, recording.auditId);
    } else {
      await journal.append([event]);
      settled++;
    }
    await done();
    await archive.giveUp(recording.path, recording.auditId, "the gateway was lost");
  }
  return settled;
}

const user = z.object({
  username: z.string().optional(),
  uid: z.string().optional(),
  groups: z.array(z.string()).optional(),
  extra: z.record(z.string(), z.array(z.string())).optional(),
});

/** Of a header, what an event needs. */
const Header = z.object({
  auditId: z.string(),
  startedAt: z.string(),
  user,
  impersonatedUser: user.optional(),
  sourceIps: z.array(z.string()),
  userAgent: z.string().optional(),
  requestUri: z.string(),
  kind: z.enum(["exec", "attach", "portforward"]),
  namespace: z.string(),
  pod: z.string(),
  podUid: z.string(),
  node: z.string(),
  container: z.string().optional(),
  image: z.string().optional(),
  argv: z.array(z.string()).optional(),
  protocol: z.string(),
});

const Trailer = z.object({
  reason: z.enum(END_REASONS),
  by: z.enum(["client", "upstream", "gateway"]),
  message: z.string(),
  exitCode: z.number().optional(),
});

/**
 * What the session's own gateway would have written, as far as its recording tells.
 *
 * @returns `undefined` where its header is none of that session: what lies in the store may be anybody's, and one such file must not
 * keep the ends of others from being written
 */
function lostEvent(session: LostSession, at: Date): AuditEvent | undefined {
  const { success, data: header } = Header.safeParse(session.header);
  if (!success || header.auditId !== session.auditId) return undefined;
  const { auditId, startedAt, sourceIps, userAgent, requestUri, argv, protocol, kind } = header;
  const facts = {
    auditId,
    receivedAt: new Date(startedAt),
    sourceIps,
    requestUri,
    verb: "create",
    user: header.user,
    protocol,
    objectRef: {
      ...{ resource: "pods", apiVersion: "v1", subresource: kind },
      ...{ namespace: header.namespace, name: header.pod, uid: header.podUid },
    },
    ...(userAgent !== undefined && { userAgent }),
    ...(header.impersonatedUser && { impersonatedUser: header.impersonatedUser }),
    ...(argv && { argv }),
    // Masked already, by whoever wrote the header.
    commandMask: KEEP_SECRETS_IN_CLEAR,
  };
  const target = {
    namespace: header.namespace,
    podName: header.pod,
    podUid: header.podUid,
    nodeName: header.node,
    ...(header.container !== undefined && { container: header.container }),
    ...(header.image !== undefined && { image: header.image }),
  };
  const { streams, durationMs, path } = session;
  // A trailer tells how the session ended: the gateway was lost between that and the event.
  const told = session.trailer && Trailer.safeParse(session.trailer).data;
  const end: AuditEnd = {
    ...(told ?? { reason: "gateway_lost", by: "gateway", message: MESSAGE }),
    ...{ streams, durationMs, recording: { path, ...(!told && { error: "the gateway was lost" }) } },
  };
  return endEvent(facts, target, end, at);
}
