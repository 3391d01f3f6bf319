import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import type { OpenedUpstream } from "../session/upstream.ts";
import type { OpenRequest } from "./gate.ts";
import { pinnedDial } from "./pinned_dial.ts";

const cases: {
  name: string;
  isRunning: boolean;
  isSame: boolean;
  /** As it is once it is open. */
  containerId?: string;
  beginsAtOnce: boolean;
  want: string;
}[] = [
  { name: "what was checked", isRunning: true, isSame: true, beginsAtOnce: false, want: "opened, asked" },
  {
    name: "a container that began anew, perhaps with another image",
    ...{ isRunning: true, isSame: true, containerId: "containerd://2", beginsAtOnce: false },
    want: 'opened, asked: container "app" of pod "web" began anew while it was opened: please try again',
  },
  {
    name: "escape: a pod that was put in the place of one that still ends",
    ...{ isRunning: false, isSame: true, beginsAtOnce: false },
    want: 'opened, closed: container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "escape: the same, where a command begins at once",
    ...{ isRunning: false, isSame: true, beginsAtOnce: true },
    want: ': container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "escape: a pod that was replaced after it was checked",
    ...{ isRunning: true, isSame: false, beginsAtOnce: false },
    want: 'opened, asked: pods "web" not found',
  },
];
for (const { name, isRunning, isSame, containerId, beginsAtOnce, want } of cases) {
  Deno.test(`pinnedDial opens what was checked, or nothing: ${name}`, async () => {
    const did: string[] = [];
    const connection = { close: () => void did.push("closed") } as OpenedUpstream["connection"];
    const opened: OpenedUpstream = { connection, authority: "node:10250", protocol: "SPDY/3.1" };
    const dial = pinnedDial(() => ({
      open: () => {
        did.push("opened");
        return Promise.resolve(opened);
      },
      abandon: () => {},
    }), {
      beginsAtOnce,
      requireSamePod: () => {
        did.push("asked");
        return isSame
          ? Promise.resolve(podThat(isRunning, containerId))
          : Promise.reject(new Refusal("NotFound", 'pods "web" not found'));
      },
    });
    const target = targetThat(isRunning);
    const opening = dial(target, new AbortController().signal).open({} as OpenRequest);
    const said = await opening.then(({ connection, confirmed }) => {
      assert.equal(connection, opened.connection);
      return confirmed;
    }).catch((thrown: Error) => `: ${thrown.message}`);
    assert.equal(did.join(", ") + (said ?? ""), want);
  });
}

function podThat(isRunning: boolean, containerID = "containerd://1"): V1Pod {
  const state = isRunning ? { running: { startedAt: new Date(0) } } : { waiting: {} };
  const status = { name: "app", image: "", imageID: "", containerID, ready: true, restartCount: 0, state };
  return { status: { containerStatuses: [status] } };
}

function targetThat(isRunning: boolean): Target {
  return {
    ...{ namespace: "default", podName: "web", podUid: "u-1", nodeName: "node1", node: {} },
    pod: podThat(isRunning),
    container: { kind: "regular", name: "app", spec: { name: "app" } },
    kubelet: { host: "node1", port: 10250 },
  };
}
