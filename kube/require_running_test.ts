import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { requireRunning } from "./require_running.ts";
import type { Target } from "./target.ts";

const RUNNING = { running: { startedAt: new Date(0) } };
const NONE = 'no container of pod "web" is known to run yet: please try again';

const container = (name: string, kind: "init" | "regular" | "ephemeral" = "regular"): Target["container"] => {
  return { name, kind, spec: { name } };
};
const status = (name: string, state?: object) => ({
  ...{ name, image: "", imageID: "", ready: true, restartCount: 0 },
  ...(state && { state }),
});

const cases: { name: string; container?: Target["container"]; status?: V1Pod["status"]; want: string }[] = [
  {
    name: "a container that runs",
    container: container("app"),
    status: { containerStatuses: [status("app", RUNNING)] },
    want: "",
  },
  {
    name: "an init container that runs",
    container: container("setup", "init"),
    status: { initContainerStatuses: [status("setup", RUNNING)] },
    want: "",
  },
  {
    name: "an ephemeral container that runs",
    container: container("debugger", "ephemeral"),
    status: { ephemeralContainerStatuses: [status("debugger", RUNNING)] },
    want: "",
  },
  {
    name: "escape: a pod that nobody has started, in the place of one that still ends",
    container: container("app"),
    status: { phase: "Pending" },
    want: 'container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "no status at all",
    container: container("app"),
    want: 'container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "a container that has run",
    container: container("app"),
    status: { containerStatuses: [status("app", { terminated: { exitCode: 0 } })] },
    want: 'container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "a pod that has ended",
    container: container("app"),
    status: {
      phase: "Succeeded",
      containerStatuses: [status("app", { terminated: { exitCode: 0 } })],
    },
    want: 'pod "web" has ended: nothing in it runs any more',
  },
  {
    name: "a neighbour that runs",
    container: container("app"),
    status: { containerStatuses: [status("app", { waiting: {} }), status("other", RUNNING)] },
    want: 'container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "a container of that name in another list",
    container: container("app"),
    status: { ephemeralContainerStatuses: [status("app", RUNNING)] },
    want: 'container "app" of pod "web" is not known to run yet: please try again',
  },
  {
    name: "a port-forward to a pod that runs",
    status: { containerStatuses: [status("app", RUNNING)] },
    want: "",
  },
  {
    name: "escape: a port-forward to a pod that nobody has started",
    status: { phase: "Pending", containerStatuses: [status("app", { waiting: {} })] },
    want: NONE,
  },
];
for (const { name, container, status, want } of cases) {
  Deno.test(`requireRunning: ${name}`, () => {
    const pod: V1Pod = { ...(status && { status }) };
    const target = { podName: "web", pod, ...(container && { container }) };
    if (want === "") return requireRunning(target);
    assert.throws(() => requireRunning(target), { name: "Refusal", reason: "Conflict", message: want });
  });
}
