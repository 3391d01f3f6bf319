import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { type RecordingOptions, Recordings } from "./recordings.ts";
import { FACTS } from "./test_recording.ts";

/** Recordings in a folder that the test may take away. */
async function withRecordings(
  mode: RecordingOptions["mode"],
  body: (recordings: Recordings, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-recordings-" });
  const signingKeyFile = join(folder, "key");
  const { privateKey } = generateKeyPairSync("ed25519");
  await Deno.writeTextFile(signingKeyFile, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  const recordings = await Recordings.open(
    {
      ...{ mode, stdin: "content", portForward: "digest", windowBytes: 1000, maxWindowBytes: 1000 },
      ...{
        windowMilliseconds: 1000,
        writeTimeoutSeconds: 5,
        sealSeconds: 60,
        signingKeyFile,
        recipients: [],
      },
      sink: { type: "folder", path: join(folder, "recordings") },
    },
    () => "host",
    () => {},
  );
  try {
    await body(recordings, folder);
  } finally {
    await recordings.close();
    await Deno.remove(folder, { recursive: true });
  }
}

const END = { reason: "command_ended", by: "upstream", message: "the command ended" } as const;

/** Records a session of nothing. */
async function record(recordings: Recordings, auditId: string): Promise<void> {
  const recording = await recordings.record({ ...FACTS, auditId }, false);
  assert.equal(recordings.load.open, recording === undefined ? 0 : 1);
  const result = await recording?.end(END);
  if (result !== undefined) await recording?.settle(result);
}

Deno.test("a recording that cannot be written is a fault where there must be one, until one can", async () => {
  await withRecordings("required", async (recordings) => {
    assert.equal(recordings.fault, undefined);
    await record(recordings, "first");
    assert.deepEqual(recordings.load, { open: 0, lagMs: 0, waitedMs: 0 });
    await assert.rejects(record(recordings, "first"), "it is there already");
    assert.match(recordings.fault ?? "", /^recordings cannot be written: /);
    await record(recordings, "second");
    assert.equal(recordings.fault, undefined);
  });
});

Deno.test("a recording that cannot be written is no fault where there need be none", async () => {
  await withRecordings("best-effort", async (recordings) => {
    await record(recordings, "first");
    await record(recordings, "first");
    assert.equal(recordings.fault, undefined);
  });
});
