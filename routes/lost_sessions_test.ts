import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/event.ts";
import { RecordingArchive } from "../recording/archive.ts";
import { FACTS, makeRecording } from "../recording/test_recording.ts";
import { MemoryStore } from "../tests/support/memory_store.ts";
import { settleLostSessions } from "./lost_sessions.ts";

const TERMS = { isRequired: true, streams: "content" } as const;

async function open(store: MemoryStore): Promise<RecordingArchive> {
  return await RecordingArchive.open(store, undefined, {
    ...{ instance: "gateway-0", stdin: "content", windowBytes: 65536, windowMs: 1000, appendTimeoutMs: 5000 },
    ...{ sealEveryMs: 60_000, recipients: [], onFailure: () => {} },
  });
}

const tampered: { name: string; recording: () => Promise<Uint8Array> }[] = [
  { name: "another session's recording", recording: () => makeRecording({ auditId: "other", events: [] }) },
  { name: "what is no recording", recording: () => Promise.resolve(new TextEncoder().encode("hello")) },
];
for (const { name, recording } of tampered) {
  Deno.test({
    name: `attack: ${name} in the place of a lost one ends no session, and keeps none from being ended`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const store = new MemoryStore();
      const gone = await open(store);
      const [bad, good] = await Promise.all(["bad", "good"].map(async (auditId) => {
        return await gone.begin({ ...FACTS, auditId }, TERMS);
      }));
      await gone.close();
      store.files.set(bad!.path, [await recording()]);

      const archive = await open(store);
      const events: AuditEvent[] = [];
      const reports: string[] = [];
      const settled = await settleLostSessions(archive, {
        journal: {
          append: (appended) => Promise.resolve(void events.push(...appended)),
          close: () => Promise.resolve(),
          status: () => ({ healthy: true, sinks: [] }),
        },
        report: (message, _cause, auditId) => void reports.push(`${auditId}: ${message}`),
      });
      assert.equal(settled, 1);
      assert.deepEqual(
        events.map(({ auditID, annotations }) => [auditID, annotations["postern.dev/recording"]]),
        [["good", good!.path]],
      );
      assert.deepEqual(reports, ["bad: a lost recording has no header of its session"]);
      await archive.close();
    },
  });
}
