/** Recordings that are not to be kept go, and everything says so: the events, the chain, and verify. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { postern } from "../../cli/postern.ts";
import type { AuditEvent } from "../../audit/event.ts";
import { Gateway } from "./support/gateway.ts";
import { Kubectl, kubectl } from "./support/kubectl.ts";
import { chainsOf, endOf, filesBelow } from "./support/recordings.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { eventually } from "./support/wait.ts";

const MAX_BYTES = 400_000;
const SESSION_BYTES = 100_000;

Deno.test({
  name: "recordings that are too many are deleted, oldest first, but for those that live or are held",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const retention = { maxBytes: MAX_BYTES, sweepSeconds: 1 };
    await using gateway = await Gateway.start({ recording: { retention } });

    // Given the oldest of all, which lives, and the oldest that ended, which is held.
    const liveMarker = crypto.randomUUID();
    const live = Kubectl.start({
      ...{ cluster: gateway.cluster, endpoint: gateway },
      args: ["exec", "-i", "shell", "--", ...noise("echo ready; cat"), liveMarker],
      stdin: "open",
      deadlineMs: 120_000,
    });
    await live.shows("ready\n", 20_000);
    const held = await record(gateway);
    const hold = ["--reason", "case 42", "--by", "alice", "--recordings", gateway.recordings];
    assert.equal((await command("hold", "set", held, ...hold)).code, 0);

    // When more is recorded than there is room for.
    const paths: string[] = [];
    for (let index = 0; index < 5; index++) paths.push(await record(gateway));
    await eventually("there is room again", async () => await bytesOf(gateway) <= MAX_BYTES || undefined);

    // Then the oldest are gone, and what was announced is what is gone.
    const files = await filesBelow(gateway.recordings);
    const gone = paths.filter((path) => !files.includes(path));
    assert.ok(gone.length >= 3, `${gone.length} are gone`);
    assert.deepEqual(gone, paths.slice(0, gone.length), "the oldest go first");
    assert.ok(files.includes(held));
    assert.equal(files.filter((path) => path.endsWith(".rec")).length, paths.length - gone.length + 2);
    const announced = retentionEvents(await gateway.events());
    assert.deepEqual(announced.map(({ annotations }) => annotations["postern.dev/recording"]), gone);
    for (const { annotations, stage, verb } of announced) {
      assert.deepEqual([stage, verb], ["RequestReceived", "delete"]);
      assert.equal(annotations["postern.dev/retention-reason"], "size");
      assert.ok(Number(annotations["postern.dev/recording-bytes"]) > SESSION_BYTES);
    }
    const [chain] = await chainsOf(gateway);
    const tombstones = chain?.events.filter((event) => event.startsWith("deleted "));
    assert.deepEqual(tombstones, gone.map((path) => `deleted ${path}`));

    // And what is left verifies, once the session has ended that was never touched.
    await live.endStdin();
    assert.equal((await live.outcome).code, 0);
    await eventually("its end is written down", () => endOf(gateway, liveMarker));
    const { code, out } = await command("verify", gateway.recordings, "--key", gateway.recordingsKey);
    assert.equal(code, 0, out);
    await gateway.stop();
  },
});

Deno.test({
  name: "a recording stays while its deletion cannot be written down: the disk of the events is full",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    await using disk = await SmallDisk.mount(1 << 20);
    await using gateway = await Gateway.start({
      auditPath: join(disk.folder, "audit.log"),
      recording: { retention: { maxBytes: SESSION_BYTES, sweepSeconds: 1 } },
    });
    const run = { cluster: gateway.cluster, endpoint: gateway };
    // So many that their events take more than what is left of the page that the events' file has already.
    const small = Array.from(
      { length: 10 },
      () => kubectl({ ...run, args: ["exec", "shell", "--", "true"] }),
    );
    assert.ok((await Promise.all(small)).every(({ code }) => code === 0));
    const ended = await eventually("the recordings have ended", async () => {
      const [chain] = await chainsOf(gateway);
      const events = chain?.events.filter((event) => event.startsWith("ended ")) ?? [];
      return events.length === small.length ? events.map((event) => event.slice("ended ".length)) : undefined;
    });
    const script = `echo ready; read line; head -c ${SESSION_BYTES} /dev/urandom; sleep 60`;
    const live = Kubectl.start({
      ...run,
      args: ["exec", "-i", "shell", "--", "sh", "-c", script],
      stdin: "open",
    });
    await live.shows("ready\n");
    await disk.fill(join(disk.folder, "full"));
    await live.write("\n");
    await eventually(
      "a sweep has failed",
      async () => /could not be deleted/.test(await gateway.log()) || undefined,
    );
    const files = await filesBelow(gateway.recordings);
    assert.deepEqual(ended.filter((path) => !files.includes(path)), []);
    const [chain] = await chainsOf(gateway);
    assert.ok(!chain?.events.some((event) => event.startsWith("deleted ")));
    live.kill();
    await live.outcome;
  },
});

/** A command that writes bytes that do not compress. */
function noise(then = "true"): string[] {
  return ["sh", "-c", `head -c ${SESSION_BYTES} /dev/urandom; ${then}`];
}

/** Runs a session. @returns where its recording lies */
async function record(gateway: Gateway): Promise<string> {
  const marker = crypto.randomUUID();
  const args = ["exec", "shell", "--", ...noise(), marker];
  const { code } = await kubectl({ cluster: gateway.cluster, endpoint: gateway, args });
  assert.equal(code, 0);
  const end = await eventually("the end is written down", () => endOf(gateway, marker));
  return end.annotations["postern.dev/recording"] ?? "";
}

async function command(...args: string[]): Promise<{ code: number; out: string }> {
  let out = "";
  const write = (text: string) => out += text;
  return { code: await postern(args, { out: write, error: write }), out };
}

function retentionEvents(events: readonly AuditEvent[]): AuditEvent[] {
  return events.filter(({ annotations }) => annotations["postern.dev/event"] === "retention");
}

async function bytesOf(gateway: Gateway): Promise<number> {
  let bytes = 0;
  for (const path of await filesBelow(gateway.recordings)) {
    if (!path.endsWith(".rec")) continue;
    const found = await Deno.stat(join(gateway.recordings, path)).catch(() => undefined);
    bytes += found?.size ?? 0;
  }
  return bytes;
}
