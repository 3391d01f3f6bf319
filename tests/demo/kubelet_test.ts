/** The embedded kubelet by itself: what it answers, and real processes behind SPDY frames over a connection in memory. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { createApi } from "../../demo/api/app.ts";
import { ContainerLog } from "../../demo/kubelet/container_log.ts";
import { type ExecOptions, serveExec } from "../../demo/kubelet/exec_session.ts";
import { createKubelet } from "../../demo/kubelet/kubelet.ts";
import { Webhook } from "../../demo/kubelet/webhook.ts";
import {
  createUsers,
  GATEWAY_USER,
  NODE_NAME,
  NODE_USER,
  readCluster,
  tokenOf,
} from "../../demo/manifest.ts";
import type { HeaderLine, RequestContext } from "../../routes/handler.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { pipe, type PipeEnd } from "../support/pipe.ts";
import { type SeenFrame, SpdyPeer } from "../support/spdy_peer.ts";

const FOLDER = await Deno.makeTempDir({ prefix: "postern-kubelet-" });
globalThis.addEventListener("unload", () => Deno.removeSync(FOLDER, { recursive: true }));

/** A test that leaves nothing open. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

const ALL = { stdin: true, stdout: true, stderr: true, tty: false };
const TTY = { stdin: true, stdout: true, stderr: false, tty: true };

/** A client's end that reads ahead, as a kernel does, unless it is held: in memory nobody else does. */
class ReadAhead implements ByteConnection {
  readonly #end: PipeEnd;
  readonly #chunks: Uint8Array[] = [];
  #isOver = false;
  #held: Promise<void> = Promise.resolve();
  #changed = Promise.withResolvers<void>();

  constructor(end: PipeEnd) {
    this.#end = end;
    void this.#pump();
  }

  async #pump(): Promise<void> {
    for (;;) {
      await this.#held;
      const chunk = await this.#end.read().catch(() => null);
      if (chunk === null) this.#isOver = true;
      else this.#chunks.push(chunk);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
      if (chunk === null) return;
    }
  }

  async holdFor(ms: number): Promise<void> {
    this.#held = new Promise((resolve) => setTimeout(resolve, ms));
    await this.#held;
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) return chunk;
      if (this.#isOver) return null;
      await this.#changed.promise;
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#end.write(bytes);
  }

  close(): void {
    this.#end.close();
  }
}

/** One exec and its client. */
class Exec implements AsyncDisposable {
  readonly peer: SpdyPeer;
  readonly connection: ReadAhead;
  /** Ends the session from the kubelet's side. */
  readonly shutdown = new AbortController();
  /** Settles when the kubelet is done with it. */
  readonly served: Promise<void>;

  constructor(argv: readonly string[], options: Partial<ExecOptions> = {}) {
    const [client, server] = pipe();
    this.connection = new ReadAhead(client);
    this.peer = new SpdyPeer(this.connection);
    this.served = serveExec(server, {
      ...ALL,
      argv,
      folder: FOLDER,
      env: { PATH: "/usr/bin:/bin", HOME: FOLDER, HOSTNAME: "shell" },
      protocol: "v4.channel.k8s.io",
      setupTimeoutMs: 5_000,
      signal: this.shutdown.signal,
      ...options,
    });
  }

  /** All frames up to GOAWAY. A terminal's output has come by then, and so has the status. */
  async end(): Promise<SeenFrame[]> {
    const frames: SeenFrame[] = [];
    for (let frame = await this.peer.next(); frame !== null; frame = await this.peer.next()) {
      if (frame.type === "goaway") break;
      frames.push(frame);
    }
    return frames;
  }

  /** Reads until a stream has said this. */
  async says(id: number, pattern: RegExp): Promise<string> {
    let text = "";
    while (!pattern.test(text)) {
      const frame = await this.peer.next();
      assert.ok(frame !== null, `the connection ended before ${pattern}: ${JSON.stringify(text)}`);
      if (frame.type === "data" && frame.id === id) text += frame.text;
    }
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer.close();
    await this.served;
  }
}

function textOf(frames: readonly SeenFrame[], id: number): string {
  return frames.flatMap((frame) => frame.type === "data" && frame.id === id ? [frame.text] : []).join("");
}

/** Whether a process runs; one that has ended but was not waited for does not. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

async function ends(pid: number): Promise<void> {
  for (let attempt = 0; attempt < 200 && isRunning(pid); attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(!isRunning(pid), `process ${pid} still runs`);
}

const ENDS = [
  { argv: ["true"], status: '{"metadata":{},"status":"Success"}' },
  {
    argv: ["sh", "-c", "exit 3"],
    status:
      '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
  },
  { argv: ["sh", "-c", "kill -9 $$"], status: /"reason":"ExitCode","message":"137"/ },
  {
    argv: ["nosuch"],
    status: /unable to start container process: exec: \\"nosuch\\": executable file not found in \$PATH/,
  },
  { argv: ["/nosuch/x"], status: /exec: \\"\/nosuch\/x\\": stat \/nosuch\/x: no such file or directory/ },
  { argv: ["/etc"], status: /exec: \\"\/etc\\": permission denied/ },
  { argv: [], status: /exec: \\"\\": executable file not found in \$PATH/ },
];
for (const { argv, status } of ENDS) {
  for (const tty of [false, true]) {
    test(`the status of ${JSON.stringify(argv)} with${tty ? "" : "out"} a terminal is a container runtime's`, async () => {
      await using exec = new Exec(argv, tty ? TTY : ALL);
      await exec.peer.open(
        ...tty ? ["error", "stdin", "stdout", "resize"] : ["error", "stdin", "stdout", "stderr"],
      );
      const document = textOf(await exec.end(), 1);
      if (typeof status === "string") assert.equal(document, status);
      else assert.match(document, status);
    });
  }
}

test("stdin goes in and ends, output and errors come out apart", async () => {
  await using exec = new Exec(["sh", "-c", "cat; echo bad >&2"]);
  await exec.peer.open("error", "stdin", "stdout", "stderr");
  await exec.peer.data(3, "one ");
  await exec.peer.data(3, "two", true);
  const frames = await exec.end();
  assert.deepEqual([textOf(frames, 5), textOf(frames, 7)], ["one two", "bad\n"]);
});

test("stdin that comes before all streams are open waits for the process", async () => {
  await using exec = new Exec(["cat"]);
  await exec.peer.open("error", "stdin");
  await exec.peer.data(3, "early", true);
  await exec.peer.send(
    ...["stdout", "stderr"].map((streamtype, index) => ({
      type: "syn_stream" as const,
      id: 5 + 2 * index,
      associatedId: 0,
      priority: 0,
      slot: 0,
      fin: false,
      unidirectional: false,
      headers: new Map([["streamtype", streamtype]]),
    })),
  );
  assert.equal(textOf(await exec.end(), 5), "early");
});

test("the end has the order of a healthy runtime: output, its half-closes, status, resets, GOAWAY", async () => {
  await using exec = new Exec(["echo", "out"]);
  await exec.peer.open("error", "stdin", "stdout", "stderr");
  const frames: string[] = [];
  for (let frame = await exec.peer.next(); frame !== null; frame = await exec.peer.next()) {
    if (frame.type === "data") {
      frames.push(`data ${frame.id} ${frame.text.slice(0, 3)}${frame.fin ? " fin" : ""}`);
    } else if (frame.type !== "syn_reply") frames.push(`${frame.type} ${"id" in frame ? frame.id : ""}`);
    if (frame.type === "goaway") break;
  }
  const out = frames.filter((line) => line.startsWith("data 5"));
  assert.deepEqual(out, ["data 5 out", "data 5  fin"]);
  assert.deepEqual(frames.filter((line) => !line.startsWith("data 5")), [
    "data 7  fin",
    'data 1 {"m',
    "rst_stream 1",
    "rst_stream 3",
    "goaway ",
  ]);
});

const OLDER = [
  { protocol: "v3.channel.k8s.io", argv: ["false"], status: /^command terminated with non-zero exit code/ },
  { protocol: "v2.channel.k8s.io", argv: ["true"], status: /^$/ },
  { protocol: "channel.k8s.io", argv: ["false"], status: /^$/ },
] as const;
for (const { protocol, argv, status } of OLDER) {
  test(`${protocol} tells the end of ${argv} as text: ${status}`, async () => {
    await using exec = new Exec(argv, { protocol });
    await exec.peer.open("error", "stdin", "stdout", "stderr");
    assert.match(textOf(await exec.end(), 1), status);
  });
}

test("a ping is answered while the command runs", async () => {
  await using exec = new Exec(["sleep", "60"]);
  await exec.peer.open("error", "stdin", "stdout", "stderr");
  await exec.peer.send({ type: "ping", id: 1 });
  assert.deepEqual((await exec.peer.take(5)).at(-1), { type: "ping", id: 1 });
});

test("a terminal has the size that was told, and follows it; Ctrl-C interrupts; the exit code is the shell's", async () => {
  await using exec = new Exec(["sh"], TTY);
  await exec.peer.open("error", "stdin", "stdout", "resize");
  await exec.peer.data(7, '{"Width":101,"Height":42}\n');
  await exec.peer.data(3, "stty size; echo $TERM\n");
  await exec.says(5, /42 101\r\nxterm\r\n/);
  await exec.peer.data(7, '{"Width":80,"Height":24}\n');
  await exec.peer.data(3, "stty size\n");
  await exec.says(5, /24 80\r\n/);
  await exec.peer.data(3, "sleep 60\n");
  await new Promise((resolve) => setTimeout(resolve, 100));
  await exec.peer.data(3, "\x03");
  await exec.peer.data(3, "exit 9\n");
  assert.match(textOf(await exec.end(), 1), /"ExitCode","message":"9"/);
});

test("a terminal takes a paste that is larger than its buffer", async () => {
  await using exec = new Exec(["sh", "-c", "stty raw -echo; echo ready; head -c 200000 | cksum"], TTY);
  await exec.peer.open("error", "stdin", "stdout", "resize");
  await exec.says(5, /ready/);
  await exec.peer.data(3, "x".repeat(200_000));
  assert.match(textOf(await exec.end(), 5), / 200000\s/);
});

test("a terminal's last words are read by a client that takes its time", async () => {
  await using exec = new Exec(["sh", "-c", "head -c 600000 /dev/zero | tr '\\0' x; echo THE END"], TTY);
  await exec.peer.open("error", "stdin", "stdout", "resize");
  await exec.says(5, /x/);
  await exec.connection.holdFor(500);
  assert.match(textOf(await exec.end(), 5).slice(-20), /xxxTHE END\r\n$/);
});

test("the environment is the container's own: nothing of ours", async () => {
  await using exec = new Exec(["env"]);
  await exec.peer.open("error", "stdin", "stdout", "stderr");
  const names = textOf(await exec.end(), 5).trim().split("\n").map((line) => line.split("=")[0]);
  assert.deepEqual(names.sort(), ["HOME", "HOSTNAME", "PATH"]);
});

for (const tty of [false, true]) {
  test(`a client that goes away takes the command and its jobs along, with${tty ? "" : "out"} a terminal`, async () => {
    const script =
      "nohup sleep 61 >/dev/null 2>&1 & echo job $!; sleep 62 & echo job $!; echo job $$; sleep 63";
    await using exec = new Exec(["sh", "-c", tty ? `set -m; ${script}` : script], tty ? TTY : ALL);
    await exec.peer.open(
      ...tty ? ["error", "stdin", "stdout", "resize"] : ["error", "stdin", "stdout", "stderr"],
    );
    const text = await exec.says(5, /(job \d+\s+){3}/);
    const pids = [...text.matchAll(/job (\d+)/g)].map(([, pid]) => Number(pid));
    assert.equal(pids.filter(isRunning).length, 3);
    exec.peer.close();
    await exec.served;
    for (const pid of pids) await ends(pid);
  });
}

test("a client that does not open its streams is let go", async () => {
  await using exec = new Exec(["true"], { setupTimeoutMs: 50 });
  await exec.peer.open("error", "stdin");
  await exec.served;
});

test("a client that sends to a process which does not read is held, bounded, and missed when it has gone", async () => {
  await using exec = new Exec(["sleep", "60"], { probeMs: 100 });
  await exec.peer.open("error", "stdin", "stdout", "stderr");
  let sentBytes = 0;
  const chunk = new Uint8Array(32_768);
  const flood = async () => {
    for (;;) {
      await exec.peer.data(3, chunk);
      sentBytes += chunk.length;
    }
  };
  const flooding = flood().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(sentBytes < 1 << 20, `${sentBytes} bytes were taken`);
  exec.peer.close();
  await flooding;
});

test("a shutdown ends the command of a client that is held", async () => {
  await using exec = new Exec(["sh", "-c", "echo pid $$; exec sleep 60"]);
  await exec.peer.open("error", "stdin", "stdout", "stderr");
  const pid = Number(/pid (\d+)/.exec(await exec.says(5, /pid \d+\n/))?.[1]);
  const sending = exec.peer.data(3, new Uint8Array(1 << 20)).then(() => exec.peer.data(3, "more")).catch(
    () => {},
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  exec.shutdown.abort();
  await exec.served;
  await ends(pid);
  await sending;
});

const users = createUsers();
const state = await readCluster(new URL("../../demo/cluster.yaml", import.meta.url), {
  kubelet: { host: "127.0.0.1", port: 10250 },
  webPort: 8123,
  users,
});
const app = createApi(state, { findLog: () => new ContainerLog(), ended: new AbortController().signal });
const kubelet = createKubelet({
  webhook: new Webhook(app.fetch, tokenOf(users, NODE_USER), NODE_NAME),
  pods: state.pods,
  podsFolder: join(FOLDER, "pods"),
  path: "/usr/bin:/bin",
});

const UPGRADE: HeaderLine[] = [
  ["Connection", "Upgrade"],
  ["Upgrade", "SPDY/3.1"],
  ["X-Stream-Protocol-Version", "v4.channel.k8s.io"],
];

/** Asks the kubelet, and returns its answer, or the headers with which it would upgrade. */
async function ask(
  target: string,
  { user = GATEWAY_USER, method = "POST", headers = UPGRADE }: {
    user?: string;
    method?: string;
    headers?: HeaderLine[];
  } = {},
): Promise<{ status: number; text: string; headers: readonly HeaderLine[] }> {
  const token = user === "" ? "wrong" : tokenOf(users, user);
  let accepted: readonly HeaderLine[] | undefined;
  const context: RequestContext = {
    remoteAddress: "127.0.0.1",
    remotePort: 1,
    rawTarget: target,
    rawHeaders: [["Authorization", `Bearer ${token}`], ...headers],
    signal: new AbortController().signal,
    ...(headers.length > 0 && {
      upgrade: {
        accept: (lines: readonly HeaderLine[]) => {
          accepted = lines;
          return new Response(null);
        },
        answerRaw: () => assert.fail("nothing is answered raw"),
      },
    }),
  };
  const answer = await kubelet(new Request(`https://kubelet${target}`, { method }), context);
  if (accepted !== undefined) return { status: 101, text: "", headers: accepted };
  return { status: answer.status, text: await answer.text(), headers: [...answer.headers] };
}

const EXEC = "/exec/default/shell/shell?command=id&output=1";
const uid = state.pods.find(({ metadata }) => metadata.name === "shell")!.metadata.uid;

const ANSWERS: {
  name: string;
  target: string;
  options?: Parameters<typeof ask>[1];
  status: number;
  text?: string;
}[] = [
  { name: "the gateway, by name", target: EXEC, status: 101 },
  {
    name: "the gateway, by UID",
    target: `/exec/default/shell/${uid}/shell?command=id&output=1`,
    status: 101,
  },
  {
    name: "the pod's former UID",
    target: "/exec/default/shell/0b0c/shell?command=id&output=1",
    status: 404,
    text: "pod does not exist",
  },
  {
    name: "an init container that runs",
    target: "/exec/default/init/setup?command=id&output=1",
    status: 101,
  },
  {
    name: "a container that waits",
    target: "/exec/default/init/main?command=id&output=1",
    status: 500,
    text: 'container not found ("main")',
  },
  {
    name: "no stream",
    target: "/exec/default/nosuch/shell?command=id&output=true",
    status: 400,
    text: "you must specify at least 1 of stdin, stdout, stderr",
  },
  {
    name: "a token that is nobody's",
    target: EXEC,
    options: { user: "" },
    status: 401,
    text: "Unauthorized",
  },
  {
    name: "alice, who may exec but not use nodes",
    target: EXEC,
    options: { user: "alice" },
    status: 403,
    text: "Forbidden (user=alice, verb=create, resource=nodes, subresource(s)=[proxy])\n",
  },
  {
    name: "the gateway by GET, which is another verb",
    target: EXEC,
    options: { method: "GET" },
    status: 403,
    text: `Forbidden (user=${GATEWAY_USER}, verb=get, resource=nodes, subresource(s)=[proxy])\n`,
  },
  { name: "a cluster-admin by GET", target: EXEC, options: { user: "root", method: "GET" }, status: 101 },
  { name: "another path", target: "/pods", status: 404, text: "404: Page Not Found" },
  {
    name: "another method",
    target: EXEC,
    options: { user: "root", method: "PUT" },
    status: 405,
    text: "405: Method Not Allowed",
  },
  {
    name: "no upgrade",
    target: EXEC,
    options: { headers: [] },
    status: 500,
    text: "Upgrade request required\n",
  },
  {
    name: "WebSocket",
    target: EXEC,
    options: { headers: [["Connection", "Upgrade"], ["Upgrade", "websocket"]] },
    status: 400,
  },
  {
    name: "no protocol",
    target: EXEC,
    options: { headers: UPGRADE.slice(0, 2) },
    status: 400,
    text: "unable to upgrade: X-Stream-Protocol-Version is required\n",
  },
  { name: "a broken escape", target: "/exec/default/%zz/shell?output=1", status: 400 },
];
for (const { name, target, options, status, text } of ANSWERS) {
  test(`the kubelet answers ${status} to ${name}`, async () => {
    const answer = await ask(target, options);
    assert.equal(answer.status, status, answer.text);
    if (text !== undefined) assert.equal(answer.text, text);
  });
}

test("a kubelet whose API server does not answer lets nobody in", async () => {
  const failing = createKubelet({
    webhook: new Webhook(() => Response.json({}, { status: 503 }), "token", NODE_NAME),
    pods: state.pods,
    podsFolder: FOLDER,
    path: "/bin",
  });
  const context: RequestContext = {
    remoteAddress: "127.0.0.1",
    remotePort: 1,
    rawTarget: EXEC,
    rawHeaders: [["Authorization", `Bearer ${tokenOf(users, "root")}`], ...UPGRADE],
    signal: new AbortController().signal,
    upgrade: { accept: () => assert.fail("upgraded"), answerRaw: () => assert.fail("answered raw") },
  };
  const answer = await failing(new Request(`https://kubelet${EXEC}`, { method: "POST" }), context);
  assert.equal(answer.status, 500);
  assert.match(await answer.text(), /^Authorization error/);
});
