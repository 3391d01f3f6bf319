/** Every session is recorded, byte for byte, whatever client, command and protocol. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { ROOT, tokenOf } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { ALL_CLIENTS, type Client, Kubectl, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { chainsOf, endOf, type ReadRecording, recordingOf } from "./support/recordings.ts";
import { Terminal } from "./support/terminal.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway({ recording: { stdin: "content" } });

for (const client of ALL_CLIENTS) {
  live(`exec without a terminal keeps its three streams apart by ${client}`, async () => {
    const { outcome, recording, marker } = await recorded({
      client,
      user: "alice",
      args: ["exec", "-i", "shell", "--"],
      script: "cat; echo to stderr >&2; exit 3",
      stdin: utf8("typed\n"),
    });
    assert.equal(outcome.code, 3);
    const { header, trailer, streams, fault } = recording;
    assert.equal(fault, undefined);
    assert.equal(streams["stdin"]?.in, "typed\n");
    assert.equal(streams["stdout"]?.out, "typed\n");
    assert.equal(streams["stderr"]?.out, "to stderr\n");
    assert.match(streams["error"]?.out ?? "", /NonZeroExitCode/);
    assert.deepEqual([trailer?.reason, trailer?.exitCode], ["command_ended", 3]);
    assert.deepEqual(header.user, { username: "alice", uid: "uid-alice", groups: ["system:authenticated"] });
    assert.deepEqual(header.argv, ["sh", "-c", "cat; echo to stderr >&2; exit 3", marker]);
    assert.deepEqual([header.pod, header.container, header.tty], ["shell", "shell", false]);
  });

  live(`exec with a terminal keeps what was typed, shown and resized by ${client}`, async () => {
    const marker = crypto.randomUUID();
    const script = "echo ready; read line; stty size; exit 4";
    const terminal = new Terminal({
      ...base(client),
      args: ["exec", "-it", "shell", "--", "sh", "-c", script, marker],
    }, { columns: 80, rows: 24 });
    await terminal.shows("ready\r\n");
    terminal.resize({ columns: 101, rows: 33 });
    await eventually("the resize is in the pod", () => terminal.output !== "" || undefined);
    terminal.type("go\r");
    assert.equal(await terminal.end(), 4);
    const { streams, trailer, fault } = await recordingOf(gateway(), await ended(marker));
    assert.equal(fault, undefined);
    assert.equal(
      streams["stdout"]?.out,
      terminal.output.replace(/command terminated with exit code 4\r\n$/, ""),
    );
    assert.equal(streams["stdin"]?.in, "go\r");
    assert.match(streams["resize"]?.in ?? "", /"Width":80,"Height":24/);
    assert.equal(trailer?.exitCode, 4);
  });
}

live("the cast of a full-screen program is what asciinema's own parser reads", async () => {
  const marker = crypto.randomUUID();
  const size = { columns: 91, rows: 31 };
  const terminal = new Terminal({
    ...base("websocket"),
    args: ["exec", "-it", "shell", "--", "sh", "-c", "vi /tmp/$0; exit 5", marker],
  }, size);
  await terminal.shows("~");
  await eventually("vi has drawn its last line", () => terminal.output.includes("1/1") || undefined);
  terminal.type("iGrüße, 世界 \u{1f680}\x1b");
  await terminal.shows("\u{1f680}");
  terminal.type(":wq\r");
  assert.equal(await terminal.end(), 5);
  const { annotations } = await ended(marker);
  const file = join(gateway().recordings, annotations["postern.dev/recording"]!);
  const cast = join(gateway().directory, "vi.cast");
  await postern("export", file, "--format", "asciicast", "--output", cast);
  const { header, output, input } = JSON.parse(await python(PARSE_CAST, cast));
  assert.deepEqual([header.version, header.width, header.height], [2, size.columns, size.rows]);
  assert.equal(output, terminal.output.replace(/command terminated with exit code 5\r\n$/, ""));
  assert.equal(input, "iGrüße, 世界 \u{1f680}\x1b:wq\r");
});

/** asciinema 2.4, as its player opens a cast. */
const PARSE_CAST = `
import json, sys
from asciinema import asciicast
with asciicast.open_from_url(sys.argv[1]) as cast:
    events = list(cast.events())
times = [event[0] for event in events]
assert times == sorted(times)
said = lambda code: "".join(event[2] for event in events if event[1] == code)
print(json.dumps({"header": cast.v2_header, "output": said("o"), "input": said("i")}))
`;

live("kubectl cp is recorded both ways, and its files are listed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const content = "copied content ".repeat(1000);
    await Deno.writeTextFile(`${folder}/up`, content);
    const name = `recorded-${crypto.randomUUID()}`;
    const up = await kubectl({ ...base("websocket"), args: ["cp", `${folder}/up`, `shell:/tmp/${name}`] });
    const down = await kubectl({ ...base("spdy"), args: ["cp", `shell:/tmp/${name}`, `${folder}/down`] });
    assert.deepEqual([up.code, down.code], [0, 0]);
    assert.equal(await Deno.readTextFile(`${folder}/down`), content);
    const [uploaded] = filesOf(await ended("xmf"));
    assert.deepEqual([uploaded?.path, uploaded?.sizeBytes], [name, content.length]);
    assert.equal(uploaded?.sha256, createHash("sha256").update(content).digest("hex"));
    const sent = await recordingOf(gateway(), await ended("xmf"));
    assert.ok(sent.streams["stdin"]?.in.includes(content), "what went up");
    const received = await recordingOf(gateway(), await ended(`cf&command=-&command=%2Ftmp%2F${name}`));
    assert.ok(received.streams["stdout"]?.out.includes(content), "what came down");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

live("attach is recorded", async () => {
  const session = Kubectl.start({ ...base("websocket"), args: ["attach", "attach", "-i"], stdin: "open" });
  await session.write("to the attached\n");
  await eventually("the line came back", () => session.stdoutText.includes("to the attached") || undefined);
  session.kill();
  await session.outcome;
  const { header, streams, fault } = await recordingOf(gateway(), await ended("pods/attach/attach"));
  assert.equal(fault, undefined);
  assert.equal(header.kind, "attach");
  assert.match(streams["stdin"]?.in ?? "", /to the attached/);
  assert.match(streams["stdout"]?.out ?? "", /to the attached/);
});

live("a kubelet's run through a node's proxy is recorded", async () => {
  const marker = crypto.randomUUID();
  const { cluster, url } = gateway();
  const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
  using client = Deno.createHttpClient({ caCerts });
  const token = await tokenOf(cluster, "root");
  const response = await fetch(
    `${url}/api/v1/nodes/node1/proxy/run/default/shell/shell?cmd=echo+${marker}`,
    { method: "POST", headers: { Authorization: `Bearer ${token}` }, client },
  );
  assert.equal(await response.text(), `${marker}\n`);
  const { streams } = await recordingOf(gateway(), await ended(marker));
  assert.equal(streams["stdout"]?.out, `${marker}\n`);
});

live("a secret in a command stands nowhere in events and recordings", async () => {
  const secret = `hunter2-${crypto.randomUUID()}`;
  const { marker } = await recorded({
    client: "spdy",
    args: ["exec", "shell", "--", "env", `DB_PASSWORD=${secret}`],
    script: "true",
  });
  const events = await gateway().auditText();
  assert.match(events, new RegExp(`DB_PASSWORD=\\(masked:[0-9a-f]{16}\\)[^\n]*${marker}`));
  assert.doesNotMatch(events, new RegExp(secret));
  const { annotations } = await ended(marker);
  const file = await Deno.readFile(join(gateway().recordings, annotations["postern.dev/recording"]!));
  assert.equal(Buffer.from(file).includes(secret), false);
});

live("1 GB is recorded whole", async () => {
  const hash = createHash("sha256");
  let bytes = 0;
  const { outcome, recording } = await recorded({
    client: "spdy",
    args: ["exec", "shell", "--"],
    script: "head -c 1000000000 /dev/urandom",
    deadlineMs: 400_000,
    onStdout: (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    },
  });
  assert.equal(outcome.code, 0);
  assert.equal(bytes, 1_000_000_000);
  const sha256 = hash.digest("hex");
  const { fault, streams } = recording;
  assert.equal(fault, undefined);
  assert.deepEqual([streams["stdout"]?.bytesOut, streams["stdout"]?.sha256Out], [bytes, sha256]);
  assert.deepEqual(streams["stdout"]?.totals, { bytesIn: 0, bytesOut: bytes });
});

live("a port-forward's connections are kept by length and digest", async () => {
  const session = Kubectl.start({ ...base("websocket"), args: ["port-forward", "pod/ports", ":7006"] });
  await session.shows("Forwarding from 127.0.0.1:");
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(session.stdoutText)?.[1]);
  const answer = await echo(port, "sent through");
  session.kill("SIGINT");
  await session.outcome;
  const { header, streams, trailer, fault } = await recordingOf(
    gateway(),
    await ended("pods/ports/portforward"),
  );
  assert.equal(fault, undefined);
  assert.deepEqual([header.kind, header.streams], ["portforward", "digest"]);
  const data = streams["data:7006"];
  assert.deepEqual([data?.in, data?.out], ["", ""], "no bytes are kept");
  assert.equal(data?.totals.sha256In, createHash("sha256").update("sent through").digest("hex"));
  assert.equal(data?.totals.sha256Out, createHash("sha256").update(answer).digest("hex"));
  assert.ok(trailer !== undefined);
});

live("the chain names every recording, and nothing is wrong with it", async () => {
  const [chain, ...others] = await chainsOf(gateway());
  assert.deepEqual(others, []);
  assert.equal(chain?.fault, undefined);
  const began = chain?.events.filter((event) => event.startsWith("began ")).map((event) => event.slice(6));
  const over = chain?.events.filter((event) => event.startsWith("ended ")).map((event) => event.slice(6));
  assert.ok(began!.length > 10);
  assert.deepEqual(over?.toSorted(), began?.toSorted());
});

/** The files that a session's last event lists. */
function filesOf({ annotations }: AuditEvent): { path: string; sizeBytes: number; sha256: string }[] {
  const manifests = JSON.parse(annotations["postern.dev/files"] ?? "[]");
  return manifests.flatMap(({ files }: { files: [] }) => files);
}

/** Runs the `postern` command as its task does. */
async function postern(...args: string[]): Promise<string> {
  return await output(Deno.execPath(), ["task", "--quiet", "postern", ...args], ROOT);
}

async function python(program: string, ...args: string[]): Promise<string> {
  return await output(gateway().cluster.paths.python, ["-c", program, ...args]);
}

async function output(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const command = new Deno.Command(program, { args: [...args], ...(cwd && { cwd }), env: { NO_COLOR: "1" } });
  const { success, stdout, stderr } = await command.output();
  if (!success) throw new Error(`${program} ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

function base(client: Client): Pick<KubectlRun, "cluster" | "endpoint" | "client"> {
  return { cluster: gateway().cluster, endpoint: gateway(), client };
}

/** Runs a script in a shell, and reads its recording. */
async function recorded({ script, client, args, ...run }: Omit<KubectlRun, "cluster" | "endpoint"> & {
  client: Client;
  script: string;
}): Promise<{ outcome: { code: number }; recording: ReadRecording; marker: string }> {
  const marker = crypto.randomUUID();
  const outcome = await kubectl({ ...base(client), ...run, args: [...args, "sh", "-c", script, marker] });
  return { outcome, recording: await recordingOf(gateway(), await ended(marker)), marker };
}

async function ended(marker: string) {
  return await eventually(`the end of ${marker} is written down`, () => endOf(gateway(), marker));
}

/** Says something to an echo server, and ends. @returns all that it answered */
async function echo(port: number, text: string): Promise<Uint8Array> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(utf8(text));
  await connection.closeWrite();
  const parts: Uint8Array[] = [];
  for await (const chunk of connection.readable) parts.push(chunk);
  return Buffer.concat(parts);
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
