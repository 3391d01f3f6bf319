/** What becomes of sessions whose recordings cannot be written, and whose gateway dies. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { Gateway, type GatewayOptions } from "./support/gateway.ts";
import { type Client, Kubectl, kubectl } from "./support/kubectl.ts";
import { endOf, filesBelow, readRecording, recordingOf } from "./support/recordings.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { eventually } from "./support/wait.ts";

/** Of a file system that fills up, in bytes. */
const DISK_BYTES = 4 << 20;

for (const client of ["websocket", "spdy"] as const) {
  live(`a full disk ends a session that must be recorded, and its user reads why, by ${client}`, async () => {
    await using disk = await SmallDisk.mount(DISK_BYTES);
    await using gateway = await Gateway.start({ recording: on(disk) });
    const marker = crypto.randomUUID();
    let bytes = 0;
    const { code, stderr } = await kubectl({
      ...{ cluster: gateway.cluster, endpoint: gateway, client },
      args: ["exec", "shell", "--", "sh", "-c", "head -c 50000000 /dev/urandom", marker],
      onStdout: (chunk) => bytes += chunk.length,
    });
    assert.notEqual(code, 0);
    assert.match(text(stderr), /recording cannot be written/);
    assert.ok(bytes <= DISK_BYTES + AHEAD_BYTES, `${bytes} bytes were told that nobody recorded`);
    const end = await eventually("the end is written down", () => endOf(gateway, marker));
    assert.equal(end.annotations["postern.dev/end-reason"], "audit_failure");
    assert.match(end.annotations["postern.dev/recording-error"] ?? "", /No space left/);
    const { fault } = await recordingOf(gateway, end);
    assert.equal(fault?.code, "tail_missing", "what is there is as it was written");
  });
}

live("on a full disk no session opens that must be recorded", async () => {
  await using disk = await SmallDisk.mount(DISK_BYTES);
  await using gateway = await Gateway.start({ recording: on(disk) });
  await disk.fill(join(disk.folder, "full"));
  const { code, stdout, stderr } = await echo(gateway, "shell", "alice");
  assert.deepEqual([code, text(stdout)], [1, ""]);
  assert.match(text(stderr), /the session cannot be recorded, so nothing is opened/);
  const refusal = (await gateway.events()).findLast(({ stage }) => stage === "ResponseComplete");
  assert.equal(refusal?.annotations["postern.dev/rule"], "recording");
});

live(
  "on a full disk sessions go on where recording is best-effort, but for those that a rule obliges",
  async () => {
    await using disk = await SmallDisk.mount(DISK_BYTES);
    await using gateway = await Gateway.start({ recording: { ...on(disk), mode: "best-effort" } });
    await disk.fill(join(disk.folder, "full"));
    const free = await echo(gateway, "shell", "alice");
    assert.deepEqual([free.code, text(free.stdout)], [0, "hello\n"]);
    const obliged = await echo(gateway, "privileged", "root");
    assert.equal(obliged.code, 1);
    assert.match(text(obliged.stderr), /the session cannot be recorded/);
  },
);

live("a disk that fills up ends no session where recording is best-effort", async () => {
  await using disk = await SmallDisk.mount(DISK_BYTES);
  await using gateway = await Gateway.start({ recording: { ...on(disk), mode: "best-effort" } });
  const marker = crypto.randomUUID();
  let bytes = 0;
  const { code } = await kubectl({
    ...{ cluster: gateway.cluster, endpoint: gateway },
    args: ["exec", "shell", "--", "sh", "-c", "head -c 20000000 /dev/urandom", marker],
    onStdout: (chunk) => bytes += chunk.length,
  });
  assert.deepEqual([code, bytes], [0, 20_000_000]);
  const end = await eventually("the end is written down", () => endOf(gateway, marker));
  assert.equal(end.annotations["postern.dev/end-reason"], "command_ended");
  assert.match(end.annotations["postern.dev/recording-error"] ?? "", /No space left/);
});

live("nothing is recorded where recording is off, but what a rule obliges", async () => {
  await using gateway = await Gateway.start({ recording: { mode: "off" } });
  assert.equal((await echo(gateway, "shell", "alice")).code, 0);
  await assert.rejects(filesBelow(gateway.recordings), { name: "NotFound" });
  assert.equal((await echo(gateway, "privileged", "root")).code, 0);
  const files = await filesBelow(gateway.recordings);
  assert.equal(files.filter((path) => path.endsWith(".rec")).length, 1);
});

live("a gateway whose recordings cannot be written does not start where they are required", async () => {
  const sink = { type: "folder", path: "/proc/nowhere" } as const;
  await assert.rejects(Gateway.start({ recording: { sink } }), /the gateway did not start/);
  const signingKeyFile = "/nowhere/signing.key";
  await assert.rejects(Gateway.start({ recording: { signingKeyFile } }), /signing key .* cannot be used/);
});

const BUSY = 100;
const CLIENTS: readonly Client[] = ["websocket", "spdy", "kubectl-1.34", "kubectl-1.20"];

live(
  `kill -9 under ${BUSY} busy sessions leaves recordings that hold, and the next start tells their ends`,
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-lost-" });
    const shared: GatewayOptions = {
      recording: { sink: { type: "folder", path: join(folder, "recordings") } },
    };
    await using gateway = await Gateway.start(shared);
    const stop = `/tmp/stop-${crypto.randomUUID()}`; // the runtime ends no command because its session is cut
    const sessions = Array.from({ length: BUSY }, (_, index) =>
      Kubectl.start({
        ...{ cluster: gateway.cluster, endpoint: gateway, client: CLIENTS[index % CLIENTS.length]! },
        args: [
          "exec",
          "shell",
          "--",
          "sh",
          "-c",
          `until [ -e ${stop} ]; do echo busy; sleep 0.1; done`,
          `busy-${index}`,
        ],
        deadlineMs: 120_000,
      }));
    await Promise.all(sessions.map((session) => session.shows("busy\nbusy\nbusy\n", 60_000)));
    gateway.child?.kill("SIGKILL");
    const outcomes = await Promise.all(sessions.map(({ outcome }) => outcome));
    assert.ok(outcomes.every(({ stdout }) => text(stdout).startsWith("busy\n")));

    const started = (await gateway.events()).filter(({ annotations }) =>
      annotations["postern.dev/event"] === "start"
    );
    assert.equal(started.length, BUSY);
    for (const { annotations } of started) {
      const path = annotations["postern.dev/recording"] ?? "";
      const { fault, streams } = await readRecording(gateway, path);
      assert.equal(fault?.code, "tail_missing");
      assert.match(streams["stdout"]?.out ?? "", /^(busy\n)+$/);
    }

    await using next = await Gateway.start(shared);
    await kubectl({ cluster: next.cluster, endpoint: next, args: ["exec", "shell", "--", "touch", stop] });
    const isLost = ({ annotations }: AuditEvent) => annotations["postern.dev/end-reason"] === "gateway_lost";
    const missing = new Set(started.map(({ auditID }) => auditID));
    const ends = await eventually("the ends are written", async () => {
      const ended = (await next.events()).filter(isLost);
      const ids = new Set(ended.map(({ auditID }) => auditID));
      return missing.isSubsetOf(ids) ? ended : undefined;
    }, { deadlineMs: 30_000 });
    // One that was just being opened may be among them: allowed, its recording begun, and nothing said of what came of it.
    const told = (await gateway.events()).filter(({ stage }) => stage === "ResponseComplete");
    const over = new Set(told.map(({ auditID }) => auditID));
    assert.deepEqual(ends.filter(({ auditID }) => over.has(auditID)), []);
    assert.equal(new Set(ends.map(({ auditID }) => auditID)).size, ends.length, "one end for each");
    for (const { annotations, auditID, user, objectRef } of ends) {
      assert.deepEqual([user.username, objectRef?.name], ["root", "shell"]);
      assert.match(annotations["postern.dev/argv"] ?? "", /busy-\d+/);
      if (missing.has(auditID)) assert.ok(Number(annotations["postern.dev/bytes-out"]) > 0);
    }
    await Deno.remove(folder, { recursive: true });
  },
);

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

/** How far a session may be ahead of its recording, at most. */
const AHEAD_BYTES = 1 << 20;

/** Recordings on a disk of their own. */
function on(disk: SmallDisk): NonNullable<GatewayOptions["recording"]> {
  return { sink: { type: "folder", path: disk.folder }, stdin: "content", maxWindowBytes: AHEAD_BYTES };
}

async function echo(gateway: Gateway, pod: string, user: "alice" | "root") {
  return await kubectl({
    ...{ cluster: gateway.cluster, endpoint: gateway, user, client: "spdy" },
    args: ["exec", pod, "--", "echo", "hello"],
  });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
