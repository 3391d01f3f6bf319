import {
  type Client as Kubectl132,
  Kubectl,
  kubectl,
  type KubectlRun,
  type Outcome,
} from "../../e2e/support/kubectl.ts";
import { Terminal } from "../../e2e/support/terminal.ts";
import { Digest, pattern } from "../../e2e/support/digest.ts";
import { eventually, sleep } from "../../e2e/support/wait.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { ECHO_PORT, POD } from "../pods.ts";
import { digestOf, masked, shown } from "../transcript.ts";
import {
  answerOf,
  type AttachRequest,
  type Client,
  type ExecRequest,
  exitCode,
  type ForwardRequest,
  STRANGERS_TOKEN,
} from "./client.ts";

/** A kubectl, one way of speaking. */
export interface KubectlClient extends Client {
  /** Any other of its commands. */
  run(at: Column, args: readonly string[], options?: Partial<KubectlRun>): Promise<Seen>;
  attach(at: Column, request: AttachRequest): Promise<Seen>;
  forward(at: Column, request: ForwardRequest): Promise<Seen>;
  /** A port at which nobody listens: what it says, and whether it goes on. */
  forwardToNobody(at: Column, pod: string, port: number): Promise<Seen>;
  /** Copies a stream to the pod and back: by a command, or by a port that echoes. */
  copy(at: Column, way: "exec" | "port-forward", bytes: number): Promise<Seen>;
}

/** The kubectls, and what each speaks. */
export const KUBECTLS: readonly KubectlClient[] = [
  kubectlClient("kubectl 1.20", "kubectl-1.20", "SPDY v4"),
  kubectlClient("kubectl 1.32", "websocket", "WebSocket"),
  kubectlClient("kubectl 1.32", "spdy", "SPDY v5"),
  kubectlClient("kubectl 1.34", "kubectl-1.34", "WebSocket"),
  kubectlClient("kubectl 1.34", "kubectl-1.34-spdy", "SPDY v5"),
];

/** A terminal as large as they used to be. */
const SIZE = { columns: 80, rows: 24 };

const DEADLINE_MS = 20_000;

function kubectlClient(name: string, client: Kubectl132, protocol: string): KubectlClient {
  const base = (at: Column): Pick<KubectlRun, "cluster" | "endpoint" | "client" | "deadlineMs"> => ({
    cluster: at.cluster,
    endpoint: at,
    client,
    deadlineMs: DEADLINE_MS,
  });
  return {
    name,
    protocol,
    endsStdin: true,
    ending: exitCode,
    async exec(at, request) {
      const args = execArgs(request);
      const user = request.user === "stranger" ? "bob" : request.user ?? "root";
      if (request.tty) return await inTerminal(at, { ...base(at), user, args }, request.stdin);
      const stdin = request.stdin ?? "none";
      return seenOf(at, await kubectl({ ...base(at), user, args, stdin }));
    },
    async attach(at, request) {
      const args = ["attach", request.pod, "-c", request.container];
      if (request.line !== undefined) args.push("-i");
      if (request.tty) return await attachTerminal({ ...base(at), args: [...args, "-t"] }, request);
      const session = Kubectl.start({
        ...base(at),
        args,
        stdin: request.line === undefined ? "none" : "open",
      });
      return await attached(at, session, request);
    },
    async forward(at, request) {
      const ports = request.ports.map((port) => `:${port}`);
      const session = Kubectl.start({ ...base(at), args: ["port-forward", `pod/${request.pod}`, ...ports] });
      return await forwarded(session, request);
    },
    async forwardToNobody(at, pod, port) {
      const session = Kubectl.start({ ...base(at), args: ["port-forward", `pod/${pod}`, `:${port}`] });
      return await forwardedToNobody(at, session, port);
    },
    copy: async (at, way, bytes) => await (way === "exec" ? copyByExec : copyByPort)(base(at), bytes),
    async run(at, args, options = {}) {
      return seenOf(at, await kubectl({ ...base(at), args, ...options }));
    },
  };
}

function execArgs({ pod, container, argv, stdin, tty, user }: ExecRequest): string[] {
  return [
    ...(user === "stranger" ? ["--token", STRANGERS_TOKEN] : []),
    "exec",
    ...(stdin === undefined ? [] : ["-i"]),
    ...(tty ? ["-t"] : []),
    pod,
    ...(container === undefined ? [] : ["-c", container]),
    ...(argv.length > 0 ? ["--", ...argv] : []),
  ];
}

/** An outcome as it is compared. */
export function seenOf(at: Column, { code, stdout, stderr }: Outcome): Seen {
  return { "exit code": `${code}`, stdout: shown(at, stdout), stderr: shown(at, stderr) };
}

async function inTerminal(at: Column, run: KubectlRun, stdin: Uint8Array | undefined): Promise<Seen> {
  const terminal = new Terminal(run, SIZE);
  if (stdin !== undefined) {
    await terminal.shows("ready\r\n");
    terminal.type(new TextDecoder().decode(stdin));
  }
  const code = await terminal.end(DEADLINE_MS);
  return { "exit code": `${code}`, terminal: masked(at, terminal.output) };
}

async function attachTerminal(run: KubectlRun, { line = "", until = "" }: AttachRequest): Promise<Seen> {
  const terminal = new Terminal(run, SIZE);
  await terminal.shows("try pressing enter.");
  terminal.type(`${line}\r`);
  // Whoever else is attached shows there, too.
  await terminal.shows(until);
  terminal.kill();
  await terminal.end();
  return { answer: until };
}

async function attached(
  at: Column,
  session: Kubectl,
  { line, until, endsStdin }: AttachRequest,
): Promise<Seen> {
  const isThere = until === undefined ? undefined : await answered(session, line, until);
  if (until === undefined && line !== undefined) await session.write(`${line}\n`);
  if (endsStdin) await session.endStdin();
  if (isThere !== undefined) {
    if (!endsStdin) session.kill("SIGTERM");
    const { code, stdout } = await session.outcome;
    const answer = answerOf(new TextDecoder().decode(stdout), until!);
    return { answer, ...(endsStdin && { "exit code": `${code}` }) };
  }
  return seenOf(at, await session.outcome);
}

/** A line that is written before the session stands is lost in older kubectls: it is written again until it is answered. */
async function answered(session: Kubectl, line: string | undefined, until: string): Promise<true> {
  return await eventually(`attach shows ${until}`, async () => {
    if (line !== undefined) await session.write(`${line}\n`);
    return await session.shows(until, 1_000).then(() => true as const, () => undefined);
  }, { deadlineMs: 10_000, everyMs: 10 });
}

async function forwarded(session: Kubectl, { ports, bytes }: ForwardRequest): Promise<Seen> {
  try {
    const echoes = await Promise.all(ports.map(async (port) => {
      return [`port ${port}`, await echo(await localPort(session, port), bytes)] as const;
    }));
    return Object.fromEntries(echoes);
  } finally {
    session.kill("SIGTERM");
    await session.outcome.catch(() => {});
  }
}

/** The local port that kubectl chose for one of the pod's. */
async function localPort(session: Kubectl, port: number): Promise<number> {
  const line = new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${port}\n`);
  return await eventually(`port ${port} is forwarded`, () => {
    const match = line.exec(session.stdoutText);
    return match === null ? undefined : Number(match[1]);
  });
}

async function forwardedToNobody(at: Column, session: Kubectl, port: number): Promise<Seen> {
  const local = await localPort(session, port);
  const received = await echo(local, new TextEncoder().encode("hello"));
  const goesOn = await Promise.race([session.outcome.then(() => false), sleep(2_000).then(() => true)]);
  session.kill("SIGTERM");
  const { code, stderr } = await session.outcome;
  const said = masked(at, new TextDecoder().decode(stderr)).replaceAll(`${local}`, "<local port>");
  return { received, end: goesOn ? "goes on" : `exit code ${code}`, stderr: said };
}

type Base = Pick<KubectlRun, "cluster" | "endpoint" | "client" | "deadlineMs">;

/** Three columns copy at once, on as little as two cores: a minute, and no less than 1 MB/s. */
function copyDeadlineMs(bytes: number): number {
  return 60_000 + bytes / 1_000;
}

async function copyByExec(base: Base, bytes: number): Promise<Seen> {
  const [sent, received] = [new Digest(), new Digest()];
  const { code, stderr } = await kubectl({
    ...base,
    args: ["exec", "-i", POD.one, "--", "cat"],
    stdin: pattern(bytes, sent),
    onStdout: received.take,
    deadlineMs: copyDeadlineMs(bytes),
  });
  return { "exit code": `${code}`, stderr: new TextDecoder().decode(stderr), ...copied(sent, received) };
}

async function copyByPort(base: Base, bytes: number): Promise<Seen> {
  const session = Kubectl.start({
    ...base,
    args: ["port-forward", "pod/ports", `:${ECHO_PORT}`],
    deadlineMs: copyDeadlineMs(bytes),
  });
  const [sent, received] = [new Digest(), new Digest()];
  try {
    using connection = await Deno.connect({
      hostname: "127.0.0.1",
      port: await localPort(session, ECHO_PORT),
    });
    const sending = (async () => {
      for await (const chunk of pattern(bytes, sent)) await sendAll(connection, chunk);
    })();
    const buffer = new Uint8Array(64 << 10);
    while (received.bytes < bytes) {
      const count = await connection.read(buffer);
      if (count === null) break;
      received.take(buffer.subarray(0, count));
    }
    await sending;
  } finally {
    session.kill("SIGTERM");
    await session.outcome.catch(() => {});
  }
  return copied(sent, received);
}

/** What came back of what was sent. */
export function copied(sent: Digest, received: Digest): Seen {
  return {
    bytes: `${received.bytes} of ${sent.bytes}`,
    checksums: sent.hex() === received.hex() ? "equal" : "differ",
  };
}

/** Sends bytes to a local port and reads as many, or what comes until the end. */
export async function echo(port: number, bytes: Uint8Array): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const sending = sendAll(connection, bytes);
  const received = new Uint8Array(bytes.length);
  let count = 0;
  try {
    while (count < received.length) {
      const read = await connection.read(received.subarray(count));
      if (read === null) break;
      count += read;
    }
  } catch { /* a reset is an end */ }
  await sending;
  return digestOf(received.subarray(0, count));
}

async function sendAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  } catch { /* whoever reads sees what is missing */ }
}
