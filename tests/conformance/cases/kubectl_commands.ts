/** What kubectl does with sessions besides exec, and what it needs besides sessions. */

import { createHash } from "node:crypto";
import { IMAGE } from "../../e2e/support/pods.ts";
import type { KubectlClient } from "../clients/kubectl.ts";
import type { Column } from "../columns.ts";
import type { Claims, Row, Seen } from "../matrix.ts";
import { POD } from "../pods.ts";
import { digestOf } from "../transcript.ts";
import { found } from "./exec_commands.ts";

interface Command {
  name: string;
  play(client: KubectlClient, at: Column): Promise<Seen>;
  directly?: Claims;
}

const pod = POD.one;
const SUCCESS: Claims = { "exit code": /^0$/ };

const bytes = Uint8Array.from({ length: 700_000 }, (_, index) => (index * 11 + (index >> 9)) & 0xff);
const sum = createHash("md5").update(bytes).digest("hex");

const commands: readonly Command[] = [
  {
    name: "cp: a file there",
    play: (client, at) =>
      withFolder(async (folder) => {
        await Deno.writeFile(`${folder}/file`, bytes);
        const path = `/tmp/there-${mark(client, at)}`;
        const seen = await client.run(at, ["cp", `${folder}/file`, `${pod}:${path}`]);
        return { ...seen, effect: await found(at, ["sh", "-c", `md5sum < ${path}`]) };
      }),
    directly: { ...SUCCESS, effect: new RegExp(sum) },
  },
  {
    name: "cp: a file back",
    play: (client, at) =>
      withFolder(async (folder) => {
        const seen = await client.run(at, ["cp", `${pod}:/bin/busybox`, `${folder}/file`]);
        const file = await Deno.readFile(`${folder}/file`).catch(() => new Uint8Array());
        return { ...seen, effect: digestOf(file) };
      }),
    directly: { ...SUCCESS, effect: /^\d{6,} bytes/ },
  },
  {
    name: "cp: a folder there and back",
    play: (client, at) =>
      withFolder(async (folder) => {
        await Deno.mkdir(`${folder}/one/two`, { recursive: true });
        await Deno.writeTextFile(`${folder}/one/a`, "a");
        await Deno.writeTextFile(`${folder}/one/two/b`, "b");
        await Deno.mkdir(`${folder}/again`);
        const path = `/tmp/folder-${mark(client, at)}`;
        const there = await client.run(at, ["cp", `${folder}/one`, `${pod}:${path}`]);
        const back = await client.run(at, ["cp", `${pod}:${path}`, `${folder}/again`]);
        const names: string[] = [];
        for await (const name of filesBelow(`${folder}/again`)) names.push(name);
        return { there: there["exit code"]!, back: back["exit code"]!, effect: names.sort().join(" ") };
      }),
    directly: { there: /^0$/, back: /^0$/, effect: /^a two\/b$/ },
  },
  {
    name: "cp: a file that is not there",
    play: (client, at) =>
      withFolder(async (folder) => {
        // How much is shown of what tar says depends on what ends first.
        const { stdout: _, ...seen } = await client.run(at, ["cp", `${pod}:/nosuch`, `${folder}/file`]);
        return seen;
      }),
  },
  {
    name: "run --rm -i",
    play: (client, at) => {
      const name = `conformance-run-${mark(client, at)}`;
      const args = [
        "run",
        name,
        `--image=${IMAGE}`,
        "--image-pull-policy=Never",
        "--restart=Never",
        "--rm",
        "-i",
      ];
      const stdin = new TextEncoder().encode("fed\n");
      const script = 'read -r line; echo "got $line"; sleep 1; exit 3';
      // What it says while it waits depends on how long that is.
      return client.run(at, [...args, "--quiet", "--command", "--", "sh", "-c", script], { stdin })
        .then(({ "exit code": code, stdout }) => ({
          "exit code": code!,
          stdout: stdout!.replaceAll(name, "<pod>"),
        }));
    },
    directly: { stdout: /got fed/ },
  },
  { name: "logs", play: (client, at) => client.run(at, ["logs", "attach-init", "-c", "setup"]) },
  {
    name: "logs of a container that waits",
    play: (client, at) => client.run(at, ["logs", "init", "-c", "main"]),
  },
  {
    name: "logs by a stranger",
    play: (client, at) => client.run(at, ["--token", "no.such.token", "logs", "web"]),
  },
  {
    name: "get",
    play: (client, at) => client.run(at, ["get", "pod", "web", "-o", "name"]),
    directly: SUCCESS,
  },
  {
    name: "get of a pod's spec",
    play: (client, at) => client.run(at, ["get", "pod", "web", "-o", "jsonpath={.spec}"]),
    directly: SUCCESS,
  },
  { name: "get of a pod that is not there", play: (client, at) => client.run(at, ["get", "pod", "nosuch"]) },
  {
    name: "get of secrets, by bob",
    play: (client, at) => client.run(at, ["get", "secrets"], { user: "bob" }),
    directly: { "exit code": /^1$/, stderr: /forbidden/ },
  },
  {
    name: "auth can-i",
    play: (client, at) => client.run(at, ["auth", "can-i", "create", "pods/exec"], { user: "bob" }),
  },
  { name: "api-versions", play: (client, at) => client.run(at, ["api-versions"]), directly: SUCCESS },
  {
    name: "port-forward by bob, who may not",
    play: (client, at) => client.run(at, ["port-forward", "pod/ports", ":7000"], { user: "bob" }),
    directly: { "exit code": /^1$/, stderr: /forbidden/ },
  },
  {
    name: "port-forward of a pod that is not there",
    play: (client, at) => client.run(at, ["port-forward", "pod/nosuch", ":7000"]),
    directly: { "exit code": /^1$/ },
  },
  {
    name: "attach by bob, who may not",
    play: (client, at) => client.run(at, ["attach", "attach", "-c", "ticker"], { user: "bob" }),
    directly: { "exit code": /^1$/ },
  },
  {
    name: "attach to a container that is not there",
    play: (client, at) => client.run(at, ["attach", "attach", "-c", "nosuch"]),
    directly: { "exit code": /^1$/ },
  },
  {
    name: "attach to a completed pod",
    play: (client, at) => client.run(at, ["attach", "done"]),
    directly: { "exit code": /^1$/ },
  },
];

/** The rows of one kubectl. */
export function kubectlRows(client: KubectlClient): Row[] {
  return commands.map(({ name, play, directly }) => ({
    client: client.name,
    command: name,
    protocol: client.protocol,
    observe: (at) => play(client, at),
    ...(directly && { directly }),
  }));
}

/** Tells the rows of one command apart, which may run at once. */
function mark(client: KubectlClient, { word }: Column): string {
  return `${word}-${`${client.name}-${client.protocol}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
}

async function withFolder(act: (folder: string) => Promise<Seen>): Promise<Seen> {
  const folder = await Deno.makeTempDir();
  try {
    const seen = await act(folder);
    return Object.fromEntries(
      Object.entries(seen).map(([key, value]) => [key, value.replaceAll(folder, "<folder>")]),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function* filesBelow(folder: string, prefix = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${prefix}`)) {
    if (isDirectory) yield* filesBelow(folder, `${prefix}${name}/`);
    else yield `${prefix}${name}`;
  }
}
