/** Commands by every client: exec, with all that a container may answer. */

import { createHash } from "node:crypto";
import { kubectl } from "../../e2e/support/kubectl.ts";
import type { Client, ExecRequest } from "../clients/client.ts";
import type { Column } from "../columns.ts";
import type { Claims, Row } from "../matrix.ts";
import { KINDS, POD } from "../pods.ts";
import { digestOf, masked } from "../transcript.ts";

const pod = POD.one;

/** Large enough for many frames in every protocol, and for every pipe on the way to fill. */
const BIG_BYTES = 3_000_000;

interface Command {
  name: string;
  request(at: Column): ExecRequest;
  /** What must be found afterwards in the container, straight at the API server. */
  effect?: (at: Column) => readonly string[];
  directly?: Claims;
  /** How the command ends, where it starts. */
  code?: number;
  /** Which clients it is for. @default all */
  isFor?: (client: Client) => boolean;
}

const sh = (script: string) => ["sh", "-c", script];
const endsStdin = (client: Client) => client.endsStdin;
const isKubectl = (client: Client) => client.name.startsWith("kubectl");

const big = Uint8Array.from(
  { length: BIG_BYTES },
  (_, index) => (index * 7 + (index >> 8) + (index >> 16)) & 0xff,
);

const commands: readonly Command[] = [
  { name: "output", request: () => ({ pod, argv: ["echo", "hello"] }), directly: { stdout: /^hello\n$/ } },
  {
    name: "output and errors apart",
    request: () => ({ pod, argv: sh("echo out; echo err >&2") }),
    directly: { stdout: /^out\n$/, stderr: /err\n/ },
  },
  { name: "no output", request: () => ({ pod, argv: ["true"] }), directly: { stdout: /^$/ }, code: 0 },
  ...[3, 137, 255].map((value) => ({
    name: `exit code ${value}`,
    request: () => ({ pod, argv: sh(`echo out; exit ${value}`) }),
    directly: { stdout: /^out\n$/ },
    code: value,
  })),
  {
    name: "killed by a signal",
    request: () => ({ pod, argv: sh("kill -9 $$") }),
    code: 137,
  },
  {
    name: "an effect",
    request: (at) => ({ pod, argv: sh(`echo written > /tmp/${at.word}`) }),
    effect: (at) => ["cat", `/tmp/${at.word}`],
    directly: { effect: /^written\n$/ },
  },
  {
    name: "stdin of one line",
    request: () => ({ pod, argv: sh('read -r line; echo "got $line"'), stdin: utf8("a line\n") }),
    directly: { stdout: /^got a line\n$/ },
  },
  {
    name: "stdin to its end, without a terminal",
    request: () => ({ pod, argv: sh("cat; echo end"), stdin: utf8("one\ntwo") }),
    directly: { stdout: /^one\ntwoend\n$/ },
    isFor: endsStdin,
  },
  {
    name: "an empty stdin",
    request: () => ({ pod, argv: ["wc", "-c"], stdin: new Uint8Array() }),
    directly: { stdout: /^0\n$/ },
    isFor: endsStdin,
  },
  {
    name: "a big stdin",
    request: () => ({ pod, argv: sh(`head -c ${BIG_BYTES} | md5sum`), stdin: big }),
    directly: { stdout: new RegExp(createHash("md5").update(big).digest("hex")) },
  },
  {
    name: "a big output",
    request: () => ({ pod, argv: sh(`head -c ${BIG_BYTES} /dev/zero; echo end >&2`) }),
    directly: { stdout: /^3000000 bytes, sha256 / },
  },
  {
    name: "a big stdin, echoed",
    request: () => ({ pod, argv: ["cat"], stdin: big }),
    directly: { stdout: new RegExp(digestOf(big)) },
    isFor: endsStdin,
  },
  {
    name: "bytes that are no text",
    request: () => ({
      pod,
      argv: ["head", "-c", "256"],
      stdin: Uint8Array.from({ length: 256 }, (_, i) => i),
    }),
    directly: { stdout: /^[^]{256}$/ },
  },
  {
    name: "a command that is not there",
    request: () => ({ pod, argv: ["nosuch", "<&>"] }),
  },
  {
    name: "a command that is a folder",
    request: () => ({ pod, argv: ["/etc"] }),
  },
  { name: "an unknown container", request: () => ({ pod, container: "nosuch", argv: ["true"] }) },
  { name: "an unknown pod", request: () => ({ pod: "nosuch", argv: ["true"] }) },
  { name: "no command", request: () => ({ pod, argv: [] }), isFor: (client) => client.name !== "client-go" },
  { name: "a completed pod", request: () => ({ pod: "done", argv: ["true"] }) },
  {
    name: "an init container that runs",
    request: () => ({ pod: "init", container: "setup", argv: ["echo", "early"] }),
    directly: { stdout: /^early\n$/ },
  },
  { name: "a container that waits", request: () => ({ pod: "init", container: "main", argv: ["true"] }) },
  {
    name: "an ephemeral container",
    request: () => ({ pod: POD.kinds, container: KINDS.ephemeral, argv: ["echo", "late"] }),
    directly: { stdout: /^late\n$/ },
  },
  {
    name: "one of two containers, by name",
    request: () => ({ pod: "web", container: "sidecar", argv: ["cat", "/proc/1/cmdline"] }),
    directly: { stdout: /^sleep/ },
  },
  {
    name: "one of two containers, none named",
    request: () => ({ pod: "web", argv: ["cat", "/proc/1/cmdline"] }),
  },
  {
    name: "a terminal and its keys",
    request: () => ({
      pod,
      argv: sh('echo ready; read -r line; echo "got $line"; exit 4'),
      stdin: utf8("typed\n"),
      tty: true,
    }),
    code: 4,
    // Others do not wait for the command before they send.
    isFor: isKubectl,
  },
  {
    name: "a terminal without stdin",
    request: () => ({
      pod,
      argv: sh("sleep 0.3; tty > /dev/null && echo out; echo err >&2; sleep 0.3; exit 4"),
      tty: true,
    }),
    code: 4,
  },
  { name: "by bob, who may not", request: () => ({ pod, argv: ["true"], user: "bob" }) },
  {
    name: "by a stranger",
    request: () => ({ pod, argv: ["true"], user: "stranger" }),
    isFor: (client) => client.name !== "client-go",
  },
  {
    name: "by alice, who may only create",
    request: () => ({ pod, argv: ["echo", "hello"], user: "alice" }),
    isFor: (client) => isKubectl(client) || client.name === "client-go",
  },
  {
    name: "a privileged container, by root",
    request: () => ({ pod: "privileged", argv: ["echo", "in"], user: "root" }),
    directly: { stdout: /^in\n$/ },
    isFor: isKubectl,
  },
  {
    name: "a privileged container, by alice",
    request: () => ({ pod: "privileged", argv: ["echo", "in"], user: "alice" }),
    directly: { stdout: /^in\n$/ },
    isFor: isKubectl,
  },
];

/** The rows of one client. */
export function execRows(client: Client): Row[] {
  return commands.filter(({ isFor }) => isFor?.(client) ?? true).map((
    { name, request, effect, directly, code },
  ) => ({
    client: client.name,
    command: `exec: ${name}`,
    protocol: client.protocol,
    directly: { ...directly, ...(code !== undefined && client.ending(code)) },
    observe: async (at) => {
      const seen = await client.exec(at, request(at));
      return effect === undefined ? seen : { ...seen, effect: await found(at, effect(at)) };
    },
  }));
}

/** What a command prints straight at the API server, by its administrator. */
export async function found(at: Column, argv: readonly string[]): Promise<string> {
  const { cluster } = at;
  const args = ["exec", pod, "--", ...argv];
  const { stdout, stderr } = await kubectl({ cluster, endpoint: cluster.paths, user: "admin", args });
  return masked(at, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
