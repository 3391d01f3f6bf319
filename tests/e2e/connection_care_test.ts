/** Who is silent, and who only seems so: real clients that idle, page their output, push back, or hang. */

import assert from "node:assert/strict";
import { runningCluster } from "./support/cluster.ts";
import { Gateway } from "./support/gateway.ts";
import { type Client, CLIENTS, commandOf, Kubectl } from "./support/kubectl.ts";
import { eventually, sleep, within } from "./support/wait.ts";

/** Every second without data both sides are pinged; who says nothing for two more is given up. */
const SESSIONS = { pingSeconds: 1, silenceTimeoutSeconds: 2 };

/** Longer than a silence may be, several times over. */
const LONG_MS = 8_000;

const cluster = await runningCluster();

test("an idle session lives on", async (gateway, client) => {
  const session = start(gateway, client, ["-i", "shell", "--", "sh", "-c", "echo ready; cat"]);
  await session.shows("ready");
  await sleep(LONG_MS);
  await session.write("still here\n");
  await session.shows("still here");
  await session.endStdin();
  assert.equal((await session.outcome).code, 0);
  assert.equal((await endOf(gateway))["postern.dev/end-reason"], "command_ended");
});

test("E-50 output that nobody reads for a while is no silence", async (gateway, client) => {
  const bytes = await pipeline(
    gateway,
    client,
    `"$@" exec shell -- sh -c 'yes | head -c 8000000' | (sleep 14; wc -c)`,
  );
  assert.equal(bytes, "8000000");
  assert.equal((await endOf(gateway))["postern.dev/end-reason"], "command_ended");
});

test("pings stop nothing where stdin is stuck behind output that is read slowly", async (gateway, client) => {
  const slowly =
    "i=0; while [ $i -lt 20 ]; do dd bs=65536 count=16 iflag=fullblock 2>&-; sleep 0.3; i=$((i+1)); done";
  const bytes = await pipeline(
    gateway,
    client,
    `yes | head -c 20000000 | "$@" exec -i shell -- cat | (${slowly}; cat) | wc -c`,
  );
  assert.equal(bytes, "20000000");
  assert.equal((await endOf(gateway))["postern.dev/end-reason"], "command_ended");
});

test("a client that hangs is given up", async (gateway, client) => {
  const session = start(gateway, client, ["-i", "shell", "--", "sh", "-c", "echo ready; cat"]);
  await session.shows("ready");
  await sleep(6_500); // until it has sent a ping of its own: of a WebSocket client that shows that it reads
  session.kill("SIGSTOP");
  const end = await endOf(gateway);
  session.kill();
  await session.outcome;
  assert.equal(end["postern.dev/end-reason"], "client_vanished");
  assert.equal(
    end["postern.dev/message"],
    "nothing was heard from the client for 2s though it was asked",
  );
});
/** Tries something with every client, at the same time: most of it is waiting. */
function test(name: string, body: (gateway: Gateway, client: Client) => Promise<void>): void {
  const byClient = async (client: Client) => {
    await using gateway = await Gateway.start({ sessions: SESSIONS });
    try {
      await body(gateway, client);
    } catch (cause) {
      throw new Error(`by ${client}`, { cause });
    }
    await gateway.stop();
  };
  Deno.test({
    name: `${name}, by every client`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => void await Promise.all(CLIENTS.map(byClient)),
  });
}

function start(gateway: Gateway, client: Client, args: readonly string[]): Kubectl {
  return Kubectl.start({ cluster, endpoint: gateway, client, args: ["exec", ...args], stdin: "open" });
}

/** What a line of shell prints in which `"$@"` is kubectl. */
async function pipeline(gateway: Gateway, client: Client, line: string): Promise<string> {
  const { binary, args, env } = commandOf({ cluster, endpoint: gateway, client, args: [] });
  const command = new Deno.Command("sh", {
    args: ["-c", line, "sh", binary, ...args],
    env,
    clearEnv: true,
    stdin: "null",
    stderr: "inherit",
  });
  const { stdout } = await within(60_000, line, command.output());
  return new TextDecoder().decode(stdout).trim();
}

async function endOf(gateway: Gateway): Promise<Record<string, string>> {
  return await eventually("the session's end is written down", async () => {
    const ends = (await gateway.events()).filter(({ annotations }) =>
      annotations["postern.dev/event"] === "end"
    );
    return ends[0]?.annotations;
  }, { deadlineMs: 20_000 });
}
