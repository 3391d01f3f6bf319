/** What real sessions leave in the store holds against `postern verify`, and what is done to it afterwards does not. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { postern } from "../../cli/postern.ts";
import { sharedGateway } from "./support/gateway.ts";
import { kubectl } from "./support/kubectl.ts";
import { endOf } from "./support/recordings.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

async function verify(): Promise<{ code: number; out: string }> {
  const { recordings, recordingsKey } = gateway();
  let out = "";
  const output = { out: (text: string) => out += text, error: (text: string) => assert.fail(text) };
  const code = await postern(["verify", recordings, "--key", recordingsKey], output);
  return { code, out };
}

/** Runs a session to its end. @returns the path of its recording */
async function session(): Promise<string> {
  const marker = crypto.randomUUID();
  const { cluster } = gateway();
  const args = ["exec", "shell", "--", "echo", marker];
  const { code } = await kubectl({ cluster, endpoint: gateway(), client: "websocket", user: "alice", args });
  assert.equal(code, 0);
  const end = await eventually("the session has ended", () => endOf(gateway(), marker));
  return join(gateway().recordings, end.annotations["postern.dev/recording"] ?? "");
}

live("a store that a gateway wrote is whole, while it runs", async () => {
  await session();
  await session();
  await eventually("nothing is wrong", async () => {
    const { code, out } = await verify();
    if (code !== 0) return undefined;
    assert.match(out, /^(\S+\.rec: ok: \d+ blocks, \d+ signatures\n){2}\S+\.chain: ok: \d+ lines\n$/);
    return true;
  });
});

live("a recording that somebody took away, changed, or put in another's place is found", async () => {
  const [gone, changed, kept] = [await session(), await session(), await session()];
  await Deno.remove(gone);
  const bytes = await Deno.readFile(changed);
  bytes[bytes.length >> 1]! ^= 1;
  await Deno.writeFile(changed, bytes);
  const added = join(kept, "..", "added.rec");
  await Deno.copyFile(kept, added);

  const { code, out } = await verify();
  assert.equal(code, 1);
  const lineOf = (path: string) => out.split("\n").filter((line) => line.startsWith(`${path}: `)).join("\n");
  assert.match(lineOf(gone), /recording_missing: /);
  assert.match(lineOf(changed), /block \d+, byte \d+: [\s\S]*recording_cut: /);
  assert.match(lineOf(added), /ok: [\s\S]*recording_unnamed: /);
  assert.match(lineOf(kept), /^\S+: ok: [^\n]*$/);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
