import assert from "node:assert/strict";
import { join } from "node:path";
import { RecordingArchive } from "../archive.ts";
import { placeHold, releaseHold } from "./legal_hold.ts";
import { RetentionSweeper } from "./retention_sweeper.ts";
import { S3Store } from "../sinks/s3.ts";
import { TestS3 } from "../sinks/test_s3.ts";

const NOTE = { by: "alice", at: "2026-11-21T12:00:00.000Z", reason: "case 42" };

Deno.test({
  name: "what is swept from S3 leaves no object behind, and a hold beside an object is one",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "postern-retention-" });
    const credentials = { accessKeyIdFile: join(folder, "id"), secretAccessKeyFile: join(folder, "secret") };
    for (const file of Object.values(credentials)) await Deno.writeTextFile(file, "EXAMPLE\n");
    await using s3 = new TestS3();
    const { endpoint } = s3;
    const where = { endpoint, region: "eu-central-1", bucket: "evidence", prefix: "prod/", credentials };
    const store = await S3Store.open({ ...where, instance: "one", onTrouble: () => {} });
    const archive = await RecordingArchive.open(store, undefined, {
      ...{ instance: "one", stdin: "content", windowBytes: 65536, windowMs: 1000 },
      ...{ appendTimeoutMs: 5000, sealEveryMs: 60_000, recipients: [] },
      onFailure: () => {},
    });
    const [free, held] = [await record(archive, "free"), await record(archive, "held")];
    await placeHold(store, held, NOTE);
    const sweeper = new RetentionSweeper(
      () => Promise.resolve(archive),
      { maxAgeDays: 0, maxBytes: 1, sweepSeconds: 3600 },
      { announce: () => Promise.resolve(), report: (message, cause) => assert.fail(`${message}: ${cause}`) },
    );
    assert.equal((await sweeper.sweep(Date.now())).deleted, 1);
    const keysOf = (path: string) => [...s3.objects.keys()].filter((key) => key.includes(path));
    assert.deepEqual(keysOf(free), []);
    assert.ok(keysOf(held).length > 0);
    await releaseHold(store, held, NOTE);
    assert.equal((await sweeper.sweep(Date.now())).deleted, 1);
    assert.deepEqual(keysOf(held), [], "neither the recording, nor the notes beside it");
    await archive.close();
    await store[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  },
});

async function record(archive: RecordingArchive, auditId: string): Promise<string> {
  const session = await archive.begin({
    ...{ auditId, user: { username: "alice" }, sourceIps: ["192.0.2.7"], requestUri: "/", kind: "exec" },
    ...{ namespace: "default", pod: "web", podUid: "u-1", node: "n1", tty: false, protocol: "SPDY/3.1" },
  }, { isRequired: true, streams: "content" });
  const end = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 };
  await session.settle(await session.end(end));
  return session.path;
}
