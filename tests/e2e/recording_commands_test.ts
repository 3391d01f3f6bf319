/** What kubectl's commands make of a session is recorded as exec is: debug, rsync, port-forward with its bytes, at the API server. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ask, Forward } from "./support/forward.ts";
import { type Gateway, sharedGateway } from "./support/gateway.ts";
import { ALL_CLIENTS, CLIENTS, Kubectl, kubectl } from "./support/kubectl.ts";
import { ASLEEP, createPod, deletePod, IMAGE } from "./support/pods.ts";
import { endOf, type ReadRecording, recordingOf } from "./support/recordings.ts";
import { writeRemoteShell } from "./support/remote_shell.ts";
import { run as runLocally } from "../cluster/processes.ts";
import { eventually } from "./support/wait.ts";

const recording = { stdin: "content", portForward: "content" } as const;
const gateway = sharedGateway({ recording });
const atApiServer = sharedGateway({ recording, upstream: { mode: "apiserver" } });

const POD = "e2e-recorded";
Deno.test.beforeAll(() => createPod(gateway().cluster, POD, { containers: { main: { command: ASLEEP } } }));
Deno.test.afterAll(() => deletePod(gateway().cluster, POD));

for (const client of ["websocket", "spdy"] as const) {
  live(`kubectl debug is recorded by ${client}`, async () => {
    const container = `debug-${client}`;
    const talk = 'while read -r line; do echo "got $line"; done';
    const command = ["--image-pull-policy=Never", `--image=${IMAGE}`, "--", "sh", "-c", talk];
    const session = Kubectl.start({
      ...endpointOf(gateway()),
      client,
      args: ["debug", POD, "-i", "-c", container, ...command],
      stdin: "open",
    });
    // containerd connects stdin before stdout: what is said first may be answered to nobody.
    await eventually("it answers", async () => {
      await session.write("debugged\n");
      return session.stdoutText.includes("got debugged") || undefined;
    }, { deadlineMs: 30_000, everyMs: 200 });
    session.kill();
    await session.outcome;
    const { header, streams } = await recordingOfLast(gateway(), `attach?container=${container}`);
    assert.deepEqual([header.kind, header.pod, header.container], ["attach", POD, container]);
    assert.match(streams["stdin"]?.in ?? "", /^(debugged\n)+$/);
    assert.match(streams["stdout"]?.out ?? "", /got debugged\n/);
  });
}

for (const client of ALL_CLIENTS) {
  live(`attach is recorded by ${client}`, async () => {
    const word = crypto.randomUUID();
    const session = Kubectl.start({
      ...endpointOf(gateway()),
      client,
      args: ["attach", "attach", "-i"],
      stdin: "open",
    });
    await eventually("it comes back", async () => {
      await session.write(`${word}\n`);
      return session.stdoutText.includes(word) || undefined;
    }, { deadlineMs: 30_000, everyMs: 200 });
    session.kill();
    await session.outcome;
    const { streams } = await eventually("its recording", async () => {
      const ends = (await gateway().events()).filter(({ annotations, objectRef }) =>
        annotations["postern.dev/event"] === "end" && objectRef?.subresource === "attach"
      );
      for (const end of ends.toReversed()) {
        const read = await recordingOf(gateway(), end);
        if (read.streams["stdin"]?.in.includes(word)) return sound(read);
      }
      return undefined;
    });
    assert.ok(streams["stdout"]?.out.includes(word));
  });
}

live("rsync is recorded both ways, and what can be known of it is stated", async () => {
  const work = await Deno.makeTempDir();
  try {
    const content = "synchronised content ".repeat(50);
    await Deno.mkdir(join(work, "tree"));
    await Deno.writeTextFile(join(work, "tree", "file"), content);
    const there = `/tmp/${crypto.randomUUID()}`;
    await writeRemoteShell(join(work, "rsh"), endpointOf(gateway()));
    const rsync = ["rsync", "--rsh", join(work, "rsh"), "--archive"];
    await runLocally([...rsync, `${join(work, "tree")}/`, `${POD}:${there}/`]);
    const sent = await recordingOfLast(gateway(), encodeURIComponent(`${there}/`));
    assert.ok(sent.streams["stdin"]?.in.includes(content), "what went up");
    const [facts] = JSON.parse(
      (await endOfLast(gateway(), encodeURIComponent(`${there}/`))).annotations["postern.dev/files"] ?? "[]",
    );
    assert.deepEqual([facts.kind, facts.direction], ["rsync", "in"]);

    await runLocally([...rsync, `${POD}:${there}/`, `${join(work, "back")}/`]);
    assert.equal(await Deno.readTextFile(join(work, "back", "file")), content);
    const received = await recordingOfLast(gateway(), "--sender");
    assert.ok(received.streams["stdout"]?.out.includes(content), "what came down");
  } finally {
    await Deno.remove(work, { recursive: true });
  }
});

for (const client of CLIENTS) {
  live(`a port-forward's bytes are recorded, when asked, by ${client}`, async () => {
    const word = crypto.randomUUID();
    const forward = await Forward.start(gateway(), { client }, "pod/ports", ":7000");
    const [[local]] = forward.pairs;
    assert.equal(await ask(local, word), word);
    await forward.stop();
    const { header, streams } = await eventually("its recording", async () => {
      const ends = (await gateway().events()).filter(({ annotations, objectRef }) =>
        annotations["postern.dev/event"] === "end" && objectRef?.subresource === "portforward"
      );
      const last = ends.at(-1);
      const read = last && await recordingOf(gateway(), last);
      return read?.streams["data:7000"]?.in === word ? sound(read) : undefined;
    });
    assert.deepEqual([header.kind, header.streams], ["portforward", "content"]);
    assert.equal(streams["data:7000"]?.out, word);
  });

  live(`a session at the API server is recorded by ${client}`, async () => {
    const word = crypto.randomUUID();
    const { code } = await kubectl({
      ...endpointOf(atApiServer()),
      client,
      args: ["exec", "-i", "shell", "--", "sh", "-c", "cat; echo to stderr >&2; exit 3", word],
      stdin: new TextEncoder().encode("typed\n"),
    });
    assert.equal(code, 3);
    const { streams, trailer } = await recordingOfLast(atApiServer(), word);
    assert.deepEqual([streams["stdin"]?.in, streams["stdout"]?.out], ["typed\n", "typed\n"]);
    assert.equal(streams["stderr"]?.out, "to stderr\n");
    assert.equal(trailer?.exitCode, 3);
  });
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

function endpointOf(endpoint: Gateway) {
  return { cluster: endpoint.cluster, endpoint };
}

async function endOfLast(of: Gateway, marker: string) {
  return await eventually(`the end of ${marker} is written down`, () => endOf(of, marker));
}

async function recordingOfLast(of: Gateway, marker: string): Promise<ReadRecording> {
  return sound(await recordingOf(of, await endOfLast(of, marker)));
}

function sound(read: ReadRecording): ReadRecording {
  assert.equal(read.fault, undefined);
  return read;
}
