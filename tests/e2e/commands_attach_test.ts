/**
 * The commands that end in attach: `kubectl attach` itself and `run`. What is attached to lives longer than the
 * session, so each side has containers of its own, or the two would read one another's answers.
 */

import assert from "node:assert/strict";
import { sharedGateway } from "./support/gateway.ts";
import {
  ALL_CLIENTS,
  type Client,
  type Endpoint,
  Kubectl,
  kubectl,
  type KubectlRun,
} from "./support/kubectl.ts";
import { ASLEEP, type ContainerSpec, createPod, deletePod, IMAGE } from "./support/pods.ts";
import { asAdmin } from "./support/service_account.ts";
import { both, normalised, withoutNames } from "./support/side_by_side.ts";
import { Terminal } from "./support/terminal.ts";

const gateway = sharedGateway();

const SIDES = ["direct", "through"] as const;
const SIZE = { columns: 91, rows: 31 };

/**
 * Answers each line, on standard error where it begins with `err`; not at once, because containerd connects stdin before stdout,
 * and what is written in between is seen by nobody.
 */
const ANSWER = 'sleep 1; case $line in err*) echo "got $line" >&2 ;; *) echo "got $line" ;; esac';
const reader: ContainerSpec = {
  command: ["sh", "-c", `while read -r line; do ${ANSWER}; done; exec ${ASLEEP.join(" ")}`],
  stdin: true,
};
/** As a command that reads its whole input: the first client to end its stdin ends it. */
const readsOnce: ContainerSpec = {
  command: ["sh", "-c", `while read -r line; do ${ANSWER}; done; echo "stdin has ended"; exit 3`],
  stdin: true,
  stdinOnce: true,
};
const ticker: ContainerSpec = {
  command: ["sh", "-c", 'i=0; while :; do echo "tick $i"; echo "tock $i" >&2; i=$((i+1)); sleep 0.05; done'],
};
/** Says nothing before its terminal has the size of the tests', so that what is shown does not hang on when that comes. */
const inTerminal: ContainerSpec = {
  command: [
    "sh",
    "-c",
    `until [ "$(stty size 2>/dev/null)" = "${SIZE.rows} ${SIZE.columns}" ]; do sleep 0.05; done; echo sized
     while read -r line; do echo "got $line"; [ "$line" = end ] && exit 3; done`,
  ],
  stdin: true,
  tty: true,
};

const POD = "e2e-attach";
const INIT_POD = "e2e-attach-init";
const PODS = [POD, INIT_POD];
const RUN_LABEL = "e2e=attach";
Deno.test.beforeAll(async () => {
  const { cluster } = gateway();
  const containers: Record<string, ContainerSpec> = { ticker };
  const initContainers: Record<string, ContainerSpec> = { setup: reader };
  for (const side of SIDES) {
    containers[`reader-${side}`] = reader;
    for (const client of ALL_CLIENTS) {
      containers[own("once", client, side)] = readsOnce;
      containers[own("tty", client, side)] = inTerminal;
    }
  }
  const initRuns = "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}";
  await Promise.all([
    createPod(cluster, POD, { containers }),
    createPod(cluster, INIT_POD, { initContainers, containers: { main: { command: ASLEEP } } }, initRuns),
  ]);
});
Deno.test.afterAll(async () => {
  await Promise.all(PODS.map((name) => deletePod(gateway().cluster, name)));
  // A run that was killed could not remove its pod.
  await asAdmin(gateway().cluster, "delete", "pod", "-l", RUN_LABEL, "--now");
});

for (const client of ALL_CLIENTS) {
  live(`attach shows what a container writes from then on, both outputs, by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const session = attach({ endpoint, client }, POD, "-c", "ticker");
      await session.shows("tick");
      await session.showsError("tock");
      session.kill("SIGINT");
      const { code, stdout, stderr } = await session.outcome;
      for (const [word, output] of [["tick", stdout], ["tock", stderr]] as const) {
        const numbers = [...text(output).matchAll(new RegExp(`^${word} (\\d+)$`, "gm"))].map(([, n]) =>
          Number(n)
        );
        assert.deepEqual(
          numbers,
          numbers.map((_, index) => (numbers[0] ?? 0) + index),
          `no ${word} is missing`,
        );
      }
      return code;
    });
    assert.equal(through, direct);
  });

  live(`attach -i passes lines and answers by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const session = attach(
        { endpoint, client, stdin: "open" },
        "-i",
        POD,
        "-c",
        `reader-${side(endpoint)}`,
      );
      return await talk(session);
    });
    assert.deepEqual([direct.code, text(direct.stdout)], [0, "got hello\n"]);
    assert.match(direct.stderr, /^got err x$/m);
    assert.deepEqual(through, direct);
  });

  live(`attach -i with stdinOnce ends the container's stdin with its own by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const container = own("once", client, side(endpoint));
      const outcome = await talk(attach({ endpoint, client, stdin: "open" }, "-i", POD, "-c", container));
      const exitCode = await exitCodeOf(container);
      return { ...outcome, stderr: outcome.stderr.replaceAll(container, "<container>"), exitCode };
    });
    assert.equal(text(direct.stdout), "got hello\nstdin has ended\n");
    assert.equal(direct.exitCode, "3");
    assert.deepEqual(through, direct);
  });

  live(`attach -it is a terminal with its size by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const container = own("tty", client, side(endpoint));
      const terminal = new Terminal(
        { ...base({ endpoint, client }), args: ["attach", "-it", POD, "-c", container] },
        SIZE,
      );
      await terminal.shows("sized\r\n");
      terminal.type("hello\r");
      await terminal.shows("got hello\r\n");
      terminal.type("end\r");
      const code = await terminal.end();
      return { code, shown: withoutNames(gateway(), terminal.output).replaceAll(container, "<container>") };
    });
    assert.match(direct.shown, /sized\r\nhello\r\ngot hello\r\nend\r\ngot end\r\n/);
    assert.deepEqual(through, direct);
  });

  live(`attach -i reaches an init container that runs by ${client}`, async () => {
    const session = attach({ endpoint: gateway(), client, stdin: "open" }, "-i", INIT_POD, "-c", "setup");
    const { code, stdout } = await talk(session);
    assert.deepEqual([code, text(stdout)], [0, "got hello\n"]);
  });
}

live("who leaves an attach does not end what was attached to", async () => {
  for (const word of ["first", "second"]) {
    const session = attach(
      { endpoint: gateway(), client: "websocket", stdin: "open" },
      "-i",
      POD,
      "-c",
      "reader-through",
    );
    await session.write(`${word}\n`);
    await session.shows(`got ${word}\n`);
    session.kill();
    await session.outcome;
  }
});

const refusals: { name: string; user: KubectlRun["user"]; args: string[]; stderr: RegExp }[] = [
  {
    name: "who may not attach",
    user: "bob",
    args: ["attach", POD, "-c", "ticker"],
    stderr: /User "bob" cannot create resource "pods\/attach"/,
  },
  {
    name: "who is no cluster-admin, of a privileged container",
    user: "alice",
    args: ["attach", "privileged"],
    stderr: /only cluster-admins/,
  },
];
for (const { name, user, args, stderr } of refusals) {
  live(`attach is refused to ${name}`, async () => {
    const outcome = await kubectl({ cluster: gateway().cluster, endpoint: gateway(), user, args });
    assert.equal(outcome.code, 1);
    assert.match(text(outcome.stderr), stderr);
  });
}

const NEW_POD = [`--image=${IMAGE}`, "--image-pull-policy=Never", `--labels=${RUN_LABEL}`];
/** Late enough for containerd to have connected stdout on a machine that is busy. */
const TALK_ONCE = ["sh", "-c", 'read -r line; sleep 3; echo "got $line"; exit 3'];

for (const client of ["websocket", "kubectl-1.20", "kubectl-1.34"] as const) {
  live(`kubectl run -i --rm is the same by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const name = `e2e-run-${crypto.randomUUID()}`;
      const args = ["run", name, "-i", "--rm", "--restart=Never", ...NEW_POD, "--", ...TALK_ONCE];
      const outcome = await kubectl({ ...base({ endpoint, client }), args, stdin: utf8("hello\n") });
      const { code, stdout, stderr } = normalised(gateway(), outcome);
      return {
        code,
        stdout: text(stdout).replaceAll(name, "<pod>"),
        stderr: stderr.replaceAll(name, "<pod>"),
      };
    });
    assert.equal(direct.code, 3);
    assert.match(direct.stdout, /^got hello\npod "<pod>" deleted/);
    assert.deepEqual(through, direct);
  });

  live(`kubectl run -it --rm opens a terminal by ${client}`, async () => {
    const name = `e2e-run-${crypto.randomUUID()}`;
    const args = ["run", name, "-it", "--rm", "--restart=Never", ...NEW_POD, "--", ...inTerminal.command];
    const terminal = new Terminal({ ...base({ endpoint: gateway(), client }), args }, SIZE);
    await terminal.shows("sized\r\n", 20_000);
    terminal.type("end\r");
    await terminal.shows("end\r\ngot end\r\n");
    await terminal.shows(`pod "${name}" deleted`);
    assert.equal(await terminal.end(), 3);
  });
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

/** A container's name, for one client on one side. */
function own(name: string, client: Client, side: typeof SIDES[number]): string {
  return `${name}-${client.replaceAll(".", "-")}-${side}`;
}

function side(endpoint: Endpoint): typeof SIDES[number] {
  return endpoint === gateway() ? "through" : "direct";
}

function base(run: Pick<KubectlRun, "endpoint" | "client" | "stdin">) {
  return { cluster: gateway().cluster, ...run };
}

function attach(run: Pick<KubectlRun, "endpoint" | "client" | "stdin">, ...args: string[]): Kubectl {
  return Kubectl.start({ ...base(run), args: ["attach", ...args] });
}

/** Says a line for each output, hears both answers, and ends stdin. */
async function talk(session: Kubectl) {
  await session.write("hello\n");
  await session.shows("got hello\n");
  await session.write("err x\n");
  await session.showsError("got err x\n");
  await session.endStdin();
  return normalised(gateway(), await session.outcome);
}

async function exitCodeOf(container: string): Promise<string> {
  const status = `.status.containerStatuses[?(@.name=="${container}")].state.terminated.exitCode`;
  await asAdmin(gateway().cluster, "wait", `pod/${POD}`, `--for=jsonpath={${status}}`, "--timeout=10s");
  return await asAdmin(gateway().cluster, "get", "pod", POD, "-o", `jsonpath={${status}}`);
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
