/** The metrics of the gateway as it ships are what real clients did: kubectl in its three ways, at the embedded cluster. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { kubeconfig } from "../../demo/kubeconfig.ts";
import { tokenOf } from "../../demo/manifest.ts";
import { lint, parseText } from "../../observability/test_exposition.ts";
import { layout } from "../cluster/layout.ts";
import { ObservedGateway } from "../support/observed_gateway.ts";
import { within } from "./support/wait.ts";

const BYTES = 1_000_001;

/** How kubectl opens a session: 1.32 over WebSocket and over SPDY, and Debian's 1.20, which knows only the latter. */
const CLIENTS = [
  { binary: "kubectl", opensWebSockets: true },
  { binary: "kubectl", opensWebSockets: false },
  { binary: join(layout().kubectl120, "usr", "bin", "kubectl"), opensWebSockets: false },
] as const;

Deno.test({
  name: "the metrics are what real clients did: sessions, refusals, phases and bytes",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using observed = await ObservedGateway.start();
    await writeKubeconfig(observed);
    for (const client of CLIENTS) assert.deepEqual(await cat(observed, "alice", client), [0, BYTES]);
    assert.deepEqual(await cat(observed, "bob", CLIENTS[1]), [1, 0]);

    const ended = 'postern_sessions_ended_total{kind="exec",reason="command_ended"}';
    const { body } = await observed.until("/metrics", ({ body }) => parseText(body).samples.get(ended) === 3);
    const { samples } = parseText(body);
    for (
      const [name, value] of [
        ['postern_sessions_opened_total{kind="exec",protocol="WebSocket v5.channel.k8s.io"}', 1],
        ['postern_sessions_opened_total{kind="exec",protocol="SPDY/3.1 v4.channel.k8s.io"}', 2],
        ['postern_sessions_live{kind="exec",protocol="SPDY/3.1 v4.channel.k8s.io"}', 0],
        ['postern_sessions_refused_total{kind="exec",reason="Forbidden",rule="authorization"}', 1],
        ['postern_stream_bytes_total{stream="stdin",direction="in"}', 3 * BYTES],
        ['postern_stream_bytes_total{stream="stdout",direction="out"}', 3 * BYTES],
        ['postern_session_open_seconds_count{phase="authenticate"}', 4],
        ['postern_session_open_seconds_count{phase="decide"}', 3],
        ['postern_session_open_seconds_count{phase="record"}', 3],
        ['postern_session_open_seconds_count{phase="dial"}', 3],
      ] as const
    ) assert.equal(samples.get(name), value, name);
    assert.deepEqual(lint(body), []);
    assert.doesNotMatch(body, /alice|bob|"shell"|"default"/);
  },
});

/** Sends bytes to a `cat` in the pod `shell`. @returns the exit code, and how many came back */
async function cat(
  { folder }: ObservedGateway,
  user: string,
  { binary, opensWebSockets }: typeof CLIENTS[number],
): Promise<[code: number, bytes: number]> {
  const child = new Deno.Command(binary, {
    args: ["--kubeconfig", join(folder, "kubeconfig"), "--context", user, "exec", "-i", "shell", "--", "cat"],
    env: {
      PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
      HOME: folder,
      KUBECTL_REMOTE_COMMAND_WEBSOCKETS: String(opensWebSockets),
    },
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const sent = new Blob([new Uint8Array(BYTES)]).stream().pipeTo(child.stdin).catch(() => {}); // refused
  const { code, stdout } = await within(30_000, "kubectl ends", child.output());
  await sent;
  return [code, stdout.length];
}

async function writeKubeconfig({ folder, cluster: { ca, state }, gateway: { port } }: ObservedGateway) {
  const users = ["alice", "bob"].map((name) => ({ name, token: tokenOf(state.users, name) }));
  const text = kubeconfig({ server: `https://127.0.0.1:${port}`, ca, users });
  await Deno.writeTextFile(join(folder, "kubeconfig"), text);
}
