/** `kubectl debug`: a container is added to a pod that runs, waited for, and attached to. */

import assert from "node:assert/strict";
import { sharedGateway } from "./support/gateway.ts";
import { type Client, type Endpoint, Kubectl } from "./support/kubectl.ts";
import { ASLEEP, createPod, deletePod, IMAGE } from "./support/pods.ts";
import { both, normalised } from "./support/side_by_side.ts";
import { Terminal } from "./support/terminal.ts";

const gateway = sharedGateway();

/** Says the first line again and again, because containerd connects stdin before stdout, until there is a second one. */
const TALK =
  'read -r line; while :; do echo "got $line on $(hostname)"; sleep 0.2; done & read -r stop; kill $!; exit 3';

const POD = "e2e-debug";
const IMAGE_ARGS = [`--image=${IMAGE}`, "--image-pull-policy=Never"];
Deno.test.beforeAll(() => createPod(gateway().cluster, POD, { containers: { main: { command: ASLEEP } } }));
Deno.test.afterAll(() => deletePod(gateway().cluster, POD));

for (const client of ["websocket", "spdy", "kubectl-1.34", "kubectl-1.34-spdy"] as const) {
  live(`kubectl debug -i adds a container and attaches to it by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const container = `debug-${client.replace(".", "-")}-${endpoint === gateway() ? "through" : "direct"}`;
      const args = ["debug", POD, "-i", "-c", container, ...IMAGE_ARGS, "--", "sh", "-c", TALK];
      const session = start(endpoint, client, args);
      await session.write("hello\n"); // and no end, which would end the attach: the container has no stdinOnce
      await session.shows(`got hello on ${POD}\n`, 20_000);
      await session.write("stop\n");
      const { code, stdout, stderr } = normalised(gateway(), await session.outcome);
      const lines = new Set(text(stdout).trimEnd().split("\n"));
      return { code, lines, stderr: stderr.replaceAll(container, "<container>") };
    });
    assert.deepEqual(direct.lines, new Set([`got hello on ${POD}`]));
    assert.deepEqual(through, direct);
  });
}

live("kubectl debug -it opens a terminal in the pod", async () => {
  const { cluster } = gateway();
  const args = ["debug", POD, "-it", ...IMAGE_ARGS, "--", "sh", "-c", TALK];
  const terminal = new Terminal({ cluster, endpoint: gateway(), args }, { columns: 80, rows: 24 });
  await terminal.shows("try pressing enter.\r\n", 20_000);
  terminal.type("hello\r");
  await terminal.shows(`got hello on ${POD}\r\n`);
  terminal.type("stop\r");
  assert.equal(await terminal.end(), 0);
});

live("kubectl debug of a copy of the pod opens a terminal in the copy", async () => {
  const { cluster } = gateway();
  const copy = `${POD}-copy`;
  await deletePod(cluster, copy);
  const args = [
    "debug",
    POD,
    "-it",
    `--copy-to=${copy}`,
    "--container=main",
    ...IMAGE_ARGS,
    ...["--", "sh", "-c", TALK],
  ];
  const terminal = new Terminal({ cluster, endpoint: gateway(), args }, { columns: 80, rows: 24 });
  try {
    await terminal.shows("try pressing enter.\r\n", 20_000);
    terminal.type("hello\r");
    await terminal.shows(`got hello on ${copy}\r\n`);
  } finally {
    terminal.kill();
    await terminal.exitCode;
    await deletePod(cluster, copy);
  }
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

function start(endpoint: Endpoint, client: Client, args: readonly string[]): Kubectl {
  return Kubectl.start({ cluster: gateway().cluster, endpoint, client, args, stdin: "open" });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
