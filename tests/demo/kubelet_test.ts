/** The embedded kubelet by itself: what it answers, and real processes behind SPDY frames over a connection in memory. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { createApi } from "../../demo/api/app.ts";
import { type AttachOptions, serveAttach } from "../../demo/kubelet/attach_session.ts";
import { ContainerLog } from "../../demo/kubelet/container_log.ts";
import { MainProcess, type MainProcessOptions } from "../../demo/kubelet/main_process.ts";
import { PodRunner } from "../../demo/kubelet/pod_runner.ts";
import { type ExecOptions, serveExec } from "../../demo/kubelet/exec_session.ts";
import { createKubelet } from "../../demo/kubelet/kubelet.ts";
import { servePortForward } from "../../demo/kubelet/port_forward_session.ts";
import { Webhook } from "../../demo/kubelet/webhook.ts";
import {
  createUsers,
  GATEWAY_USER,
  NODE_NAME,
  NODE_USER,
  readCluster,
  tokenOf,
} from "../../demo/manifest.ts";
import { RST_STATUS } from "../../protocol/spdy/mod.ts";
import type { Handler, HeaderLine, RequestContext } from "../../routes/handler.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { pipe, type PipeEnd } from "../support/pipe.ts";
import { SpdyMux } from "../support/spdy_mux.ts";
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

  /** A terminal's output has come by then, and so has the status. */
  end(): Promise<SeenFrame[]> {
    return framesOf(this.peer);
  }

  says(id: number, pattern: RegExp): Promise<string> {
    return seen(this.peer, id, pattern);
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

/** A container's main process and a client that is attached to it. */
class Attached implements AsyncDisposable {
  readonly peer: SpdyPeer;
  readonly shutdown = new AbortController();
  readonly served: Promise<void>;

  constructor(readonly process: MainProcess, options: Partial<AttachOptions> = {}) {
    const [client, server] = pipe();
    this.peer = new SpdyPeer(new ReadAhead(client));
    this.served = serveAttach(server, {
      ...(process.isTerminal ? TTY : ALL),
      process,
      protocol: "v4.channel.k8s.io",
      setupTimeoutMs: 5_000,
      signal: this.shutdown.signal,
      ...options,
    });
  }

  async open(): Promise<void> {
    const { isTerminal } = this.process;
    await this.peer.open("error", "stdin", "stdout", isTerminal ? "resize" : "stderr");
    await this.peer.take(4);
    await new Promise((resolve) => setTimeout(resolve, 20)); // it is attached once the last stream is open
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer.close();
    await this.served;
  }
}

function start(script: string, options: Partial<MainProcessOptions> = {}): MainProcess {
  return new MainProcess({
    argv: ["sh", "-c", script],
    folder: FOLDER,
    env: { PATH: "/usr/bin:/bin" },
    stdin: true,
    stdinOnce: false,
    tty: false,
    log: new ContainerLog(),
    ...options,
  });
}

const SUCCESS = '{"metadata":{},"status":"Success"}';

test("attach sees what is printed from now on, stdout and stderr apart, and ends with Success whatever the exit code", async () => {
  const log = new ContainerLog();
  await using process = start("echo before; read x; echo got $x; echo bad >&2; exit 3", { log });
  while (log.lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await using client = new Attached(process);
  await client.open();
  await client.peer.data(3, "this\n");
  const frames = await framesOf(client.peer);
  assert.deepEqual([5, 7, 1].map((id) => textOf(frames, id)), ["got this\n", "bad\n", SUCCESS]);
  assert.equal(await process.ended, 3);
  assert.deepEqual(log.lines.map(({ text }) => text).sort(), ["bad", "before", "got this"]);
});

test("attach: the end of a client's stdin ends stdin where it is read once, and output goes on", async () => {
  await using process = start("cat; sleep 0.05; echo after", { stdinOnce: true });
  await using client = new Attached(process);
  await client.open();
  await client.peer.data(3, "in ", true);
  const frames = await framesOf(client.peer);
  assert.deepEqual([textOf(frames, 5), textOf(frames, 1)], ["in after\n", SUCCESS]);
});

for (const tty of [false, true]) {
  test(`attach: the end of a client's stdin detaches it from what others may attach to, with${tty ? "" : "out"} a terminal`, async () => {
    await using process = start("while read x; do echo got $x; done", { tty });
    for (const word of ["one", "two"]) {
      await using client = new Attached(process);
      await client.open();
      await client.peer.data(3, `${word}\n`);
      await seen(client.peer, 5, new RegExp(`got ${word}`));
      await client.peer.data(3, "", true);
      assert.equal(textOf(await framesOf(client.peer), 1), SUCCESS);
    }
  });
}

test("attach: a client that goes away leaves the process as it was, and the next one sees it", async () => {
  await using process = start("while sleep 0.02; do echo tick; done", { stdin: false });
  const first = new Attached(process);
  await first.open();
  await first[Symbol.asyncDispose]();
  await using second = new Attached(process);
  await second.open();
  await seen(second.peer, 5, /tick\ntick\n/);
});

test("attach: two clients see the same, and a shutdown lets go of both", async () => {
  await using process = start("while read x; do echo got $x; done");
  await using one = new Attached(process);
  await using other = new Attached(process);
  for (const client of [one, other]) await client.open();
  await one.peer.data(3, "this\n");
  for (const client of [one, other]) await seen(client.peer, 5, /got this/);
  for (const { shutdown } of [one, other]) shutdown.abort();
  await Promise.all([one.served, other.served]);
});

test("attach: a terminal takes the client's size, and Ctrl-C interrupts", async () => {
  await using process = start("trap 'stty size; exit' INT; while :; do sleep 0.05; done", { tty: true });
  await using client = new Attached(process);
  await client.open();
  await client.peer.data(7, '{"Width":101,"Height":42}\n');
  await client.peer.data(3, "\x03");
  const frames = await framesOf(client.peer);
  assert.match(textOf(frames, 5), /42 101\r\n/);
});

test("attach: what is sent to a process that has no stdin is dropped, and does not end the session", async () => {
  await using process = start("while [ ! -e go ]; do sleep 0.02; done; echo done", { stdin: false });
  await using client = new Attached(process);
  await client.open();
  await client.peer.data(3, "x".repeat(600_000), true);
  await Deno.writeTextFile(join(FOLDER, "go"), "");
  assert.equal(textOf(await framesOf(client.peer), 5), "done\n");
});

test("a process whose stdin is nobody's is handed none, and takes its jobs along when it ends", async () => {
  const log = new ContainerLog();
  await using process = start("cat; sleep 61 & echo job $!; sleep 62 & echo job $!", { stdin: false, log });
  assert.equal(await process.ended, 0);
  const pids = log.lines.map(({ text }) => Number(text.slice("job ".length)));
  assert.equal(pids.length, 2);
  for (const pid of pids) await ends(pid);
});

/** What a program in the pod makes of a connection. */
type Program = (conn: Deno.TcpConn) => Promise<void>;

/** A pod on whose ports these programs listen, and a client of its port-forward. */
class Forwarded implements AsyncDisposable {
  readonly mux: SpdyMux;
  readonly #served: Promise<void>;
  readonly #listeners = new Map<number, Deno.TcpListener>();
  readonly #running: Promise<void>[] = [];

  constructor(programs: Readonly<Record<number, Program>>, pairTimeoutMs = 5_000) {
    for (const [port, program] of Object.entries(programs)) {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      this.#listeners.set(Number(port), listener);
      this.#running.push(serveAll(listener, program));
    }
    const [client, server] = pipe();
    this.mux = new SpdyMux(new ReadAhead(client));
    this.#served = servePortForward(server, {
      findPort: (port) => this.#listeners.get(port)?.addr.port,
      pairTimeoutMs,
      signal: new AbortController().signal,
      halfClosedMs: 100,
    });
  }

  open(port: number, requestid: string, types: readonly string[] = ["error", "data"]) {
    const headers = { port: String(port), requestid };
    const streams = new Map(
      types.map((streamtype) => [streamtype, this.mux.open({ ...headers, streamtype })]),
    );
    return { data: streams.get("data")!, error: streams.get("error")! };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mux.close();
    await this.#served;
    for (const listener of this.#listeners.values()) listener.close();
    await Promise.all(this.#running);
  }
}

async function serveAll(listener: Deno.TcpListener, program: Program): Promise<void> {
  const running: Promise<void>[] = [];
  for await (const conn of listener) {
    running.push(
      program(conn).catch(() => {}).finally(() => {
        try {
          conn.close();
        } catch {
          // The program has closed it.
        }
      }),
    );
  }
  await Promise.all(running);
}

const ECHO: Program = (conn) => conn.readable.pipeTo(conn.writable);

/** Answers the first bytes that come, and ends. */
const ANSWER: Program = async (conn) => {
  const buffer = new Uint8Array(64);
  const length = await conn.read(buffer) ?? 0;
  await conn.write(
    new TextEncoder().encode(`you said ${new TextDecoder().decode(buffer.subarray(0, length))}`),
  );
};

for (const types of [["error", "data"], ["data", "error"]]) {
  test(`port-forward: a connection whose streams come as ${types.join(", ")} carries both ways and ends both`, async () => {
    await using pod = new Forwarded({ 80: ANSWER });
    const { data, error } = pod.open(80, "0", types);
    await error.end();
    await data.write("this");
    assert.equal(await data.text(), "you said this");
    assert.equal(await error.text(), "");
    assert.deepEqual([data.resetStatus, error.resetStatus], [undefined, undefined]);
  });
}

test("port-forward: without request IDs the stream two before is the other one (E-100)", async () => {
  await using pod = new Forwarded({ 80: ANSWER });
  pod.mux.open({ streamtype: "error", port: "80" });
  const data = pod.mux.open({ streamtype: "data", port: "80" });
  await data.write("this");
  assert.equal(await data.text(), "you said this");
});

test("port-forward: a megabyte comes back, over many connections at once", async () => {
  await using pod = new Forwarded({ 7: ECHO, 80: ANSWER });
  const chunk = "0123456789abcdef".repeat(4_096);
  await Promise.all(Array.from({ length: 16 }, async (_, index) => {
    const { data } = pod.open(7, String(index));
    let length = 0;
    for (let sent = 0; sent < 16; sent++) await data.write(chunk);
    while (length < 16 * chunk.length) length += (await data.read())!.length;
    await data.end();
    assert.equal(await data.text(), "");
  }));
});

test("port-forward: a port on which nobody listens is told in containerd's words, and the others live on (E-103)", async () => {
  await using pod = new Forwarded({ 7: ECHO });
  const living = pod.open(7, "0");
  const { data, error } = pod.open(9999, "1");
  assert.match(
    await error.text(),
    /^error forwarding port 9999 to pod [0-9a-f]{64}, uid : failed to execute portforward in network namespace .*failed to connect to localhost:9999 .*connection refused/,
  );
  await data.text();
  assert.deepEqual([data.resetStatus, error.resetStatus], [RST_STATUS.CANCEL, RST_STATUS.CANCEL]);
  await living.data.write("still here");
  assert.equal(new TextDecoder().decode((await living.data.read())!), "still here");
});

const REFUSED_STREAMS = [
  { name: "no port", headers: { streamtype: "data" } },
  { name: "port 0", headers: { streamtype: "data", port: "0" } },
  { name: "a port that is no number", headers: { streamtype: "error", port: "http" } },
  { name: "no type", headers: { port: "80" } },
  { name: "an unknown type", headers: { streamtype: "foo", port: "80" } },
];
for (const { name, headers } of REFUSED_STREAMS) {
  test(`port-forward: a stream with ${name} is reset before it is accepted (E-101)`, async () => {
    await using pod = new Forwarded({});
    const stream = pod.mux.open(headers as Record<string, string>);
    assert.equal(await stream.answered, "refused");
    assert.equal(stream.resetStatus, RST_STATUS.CANCEL);
  });
}

test("port-forward: a second stream of one kind is told so, and the connection is served all the same (E-104)", async () => {
  await using pod = new Forwarded({ 80: ANSWER });
  const { error } = pod.open(80, "4", ["error"]);
  pod.open(80, "4", ["error"]);
  const { data } = pod.open(80, "4", ["data"]);
  await data.write("this");
  assert.equal(await data.text(), "you said this");
  assert.equal(await error.text(), "error processing stream for request 4: error stream already assigned");
});

test("port-forward: a stream whose other does not come is told so, and may still come anew (E-105)", async () => {
  await using pod = new Forwarded({ 80: ANSWER }, 30);
  const { error } = pod.open(80, "4", ["error"]);
  const text = new TextDecoder().decode((await error.read())!);
  assert.match(text, /^\(conn=0xc[0-9a-f]{9}, request=4\) timed out waiting for streams$/);
  const { data } = pod.open(80, "4");
  await data.write("this");
  assert.equal(await data.text(), "you said this");
});

test("port-forward: a client that resets its stream, or goes away, ends the program's connection", async () => {
  const ended = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const watch: Program = async (conn) => {
    const name = new Uint8Array(1);
    await conn.read(name);
    await conn.write(name);
    if (await conn.read(new Uint8Array(16)).catch(() => null) === null) ended[name[0]!]!.resolve();
  };
  {
    await using pod = new Forwarded({ 80: watch });
    const [one, other] = [pod.open(80, "0"), pod.open(80, "1")];
    for (const [index, { data }] of [one, other].entries()) {
      await data.write(Uint8Array.of(index));
      await data.read();
    }
    await one.data.cancel();
    await one.error.text();
    await ended[0]!.promise;
  }
  await ended[1]!.promise;
});

/** All frames up to GOAWAY. */
async function framesOf(peer: SpdyPeer): Promise<SeenFrame[]> {
  const frames: SeenFrame[] = [];
  for (let frame = await peer.next(); frame !== null && frame.type !== "goaway"; frame = await peer.next()) {
    frames.push(frame);
  }
  return frames;
}

/** Reads until a stream has said this. */
async function seen(peer: SpdyPeer, id: number, pattern: RegExp): Promise<string> {
  let text = "";
  while (!pattern.test(text)) {
    const frame = await peer.next();
    assert.ok(frame !== null, `the connection ended before ${pattern}: ${JSON.stringify(text)}`);
    if (frame.type === "data" && frame.id === id) text += frame.text;
  }
  return text;
}

const users = createUsers();
const state = await readCluster(new URL("../../demo/cluster.yaml", import.meta.url), {
  kubelet: { host: "127.0.0.1", port: 10250 },
  users,
});
const app = createApi(state, { findLog: () => new ContainerLog(), ended: new AbortController().signal });
const webhook = new Webhook(app.fetch, tokenOf(users, NODE_USER), NODE_NAME);
/** Set while its pods run. */
let kubelet: Handler = () => Promise.reject(new Error("no pods run"));

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
const uid = state.pods.find("default", "shell")!.metadata.uid;

const ATTACH = "/attach/default/tty/tty?input=1&output=1&tty=1";
const ttyUid = state.pods.find("default", "tty")!.metadata.uid;
const FORWARD: HeaderLine[] = [...UPGRADE.slice(0, 2), ["X-Stream-Protocol-Version", "portforward.k8s.io"]];

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
  { name: "attach", target: ATTACH, status: 101 },
  { name: "attach by UID", target: `/attach/default/tty/${ttyUid}/tty?output=1`, status: 101 },
  {
    name: "attach to a container that waits",
    target: "/attach/default/init/main?output=1",
    status: 500,
    text: "container main not found in pod init_default",
  },
  {
    name: "attach to a terminal with a stderr of its own (E-30)",
    target: "/attach/default/tty/tty?output=1&error=1",
    status: 500,
    text: "rpc error: code = InvalidArgument desc = tty and stderr cannot both be true",
  },
  {
    name: "attach without a stream",
    target: "/attach/default/tty/tty",
    status: 400,
    text: "you must specify at least 1 of stdin, stdout, stderr",
  },
  { name: "a port-forward", target: "/portForward/default/web", options: { headers: FORWARD }, status: 101 },
  {
    name: "a port-forward by UID",
    target: `/portForward/default/tty/${ttyUid}`,
    options: { headers: FORWARD },
    status: 101,
  },
  {
    name: "a port-forward to the pod's former UID",
    target: "/portForward/default/tty/0b0c",
    options: { headers: FORWARD },
    status: 404,
    text: "pod does not exist",
  },
  {
    name: "a port-forward by a protocol of exec",
    target: "/portForward/default/web",
    status: 403,
    text:
      "unable to upgrade: unable to negotiate protocol: client supports [v4.channel.k8s.io], server accepts [portforward.k8s.io]\n",
  },
  { name: "a port-forward in small letters", target: "/portforward/default/web", status: 404 },
  { name: "a broken escape", target: "/exec/default/%zz/shell?output=1", status: 400 },
];
Deno.test({
  name: "the kubelet answers",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    const { pods } = state;
    const folders = { podsFolder: join(FOLDER, "pods"), cacheFolder: join(FOLDER, "deno") };
    await using containers = await PodRunner.start({ pods, path: "/usr/bin:/bin", ...folders });
    kubelet = createKubelet({ webhook, pods, containers });
    for (const { name, target, options, status, text } of ANSWERS) {
      await t.step(`${status} to ${name}`, async () => {
        const answer = await ask(target, options);
        assert.equal(answer.status, status, answer.text);
        if (text !== undefined) assert.equal(answer.text, text);
      });
    }
  },
});

test("a kubelet whose API server does not answer lets nobody in", async () => {
  const failing = createKubelet({
    webhook: new Webhook(() => Response.json({}, { status: 503 }), "token", NODE_NAME),
    pods: state.pods,
    containers: { find: () => undefined, findPort: () => undefined },
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
