import { run } from "../../cluster/processes.ts";
import { asAdmin } from "../../e2e/support/service_account.ts";
import { sleep } from "../../e2e/support/wait.ts";
import type { Fault } from "../fault.ts";
import { killComponent } from "../support/component.ts";
import { toldAtOnce } from "./api_server.ts";

let restart: (() => Promise<void>) | undefined;

/** What happens to the node, and to what runs on it. Sessions end there, and every client is told. */
export const NODE: readonly Fault[] = [
  {
    title: "The kubelet is killed",
    how: "`kill -9`, then started again.",
    live: { outcome: "end", withinMs: 10_000, reasons: ["upstream_vanished", "upstream_closed"] },
    inject: async (scene) => {
      ({ restart } = await killComponent("kubelet"));
      return await toldAtOnce(scene);
    },
    heal: async () => await restart?.(),
    recoversWithinMs: 20_000,
  },
  {
    title: "containerd is killed",
    how: "`kill -9`, then started again. Containers go on, for their shims do.",
    live: {
      ...{ outcome: "end", withinMs: 15_000 },
      reasons: ["upstream_vanished", "upstream_closed", "command_ended"],
    },
    inject: async (scene) => {
      ({ restart } = await killComponent("containerd"));
      return await toldAtOnce(scene);
    },
    heal: async () => await restart?.(),
    recoversWithinMs: 60_000,
  },
  {
    ...{ title: "The pod is deleted", meanwhile: "are told that there is no such pod" },
    how: "`kubectl delete pod`; its grace period is one second. Then there is another pod.",
    live: {
      ...{ outcome: "end", withinMs: 40_000 },
      // A forwarded connection is closed, and the session is left to its client, who then has no use for it.
      reasons: ["command_ended", "upstream_closed", "upstream_vanished", "client_closed"],
      // An attach ends as its container does: the kubelet tells no exit code, and directly it looks the same.
      mayLookGood: ({ kind }) => kind === "attach",
    },
    inject: async ({ pod, cluster }) => {
      await asAdmin(cluster, "delete", "pod", pod.name, "--wait=false");
    },
    heal: (scene) => scene.replacePod(),
    recoversWithinMs: 5_000,
  },
  {
    title: "The node's network is cut",
    how:
      "Packets to and from the kubelet's port are dropped without a word, as when a link goes down; later they pass again.",
    live: { outcome: "end", withinMs: 30_000, reasons: ["upstream_vanished"] },
    inject: async (scene) => {
      await cut("-I");
      return await toldAtOnce(scene);
    },
    heal: async () => {
      await cut("-D");
      await sleep(100);
    },
    recoversWithinMs: 10_000,
  },
];

/** The kubelet's port, both ways: `-I` cuts, `-D` heals. */
async function cut(how: "-I" | "-D"): Promise<void> {
  for (const side of ["--dport", "--sport"]) {
    await run(["iptables", how, "INPUT", "-i", "lo", "-p", "tcp", side, "10250", "-j", "DROP"]);
  }
}
