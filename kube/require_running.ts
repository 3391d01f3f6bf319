import type { V1ContainerStatus, V1Pod } from "@kubernetes/client-node";
import { quoted } from "./printable.ts";
import { Refusal } from "./status.ts";
import type { ContainerKind, Target } from "./target.ts";

/**
 * Makes sure that a target ran before it was opened, as its pod's status told when it was checked: of a port-forward, which has no
 * container, any of the pod's.
 *
 * A kubelet is told the pod's UID and looks for its name all the same: it opens the newest pod of that name which runs on its node.
 * After a forced deletion a name is free while the pod that had it still ends, for seconds. Who puts another in its place comes out
 * in the old one then, and what was checked is the new one. A pod that runs itself is the newest, so it is the one that is opened.
 *
 * @throws {Refusal} Conflict
 * @see k8s.io/kubernetes pkg/kubelet/kubelet_pods.go, findContainer and GetPortForward; pkg/kubelet/kuberuntime, GetPods
 */
export function requireRunning(
  { pod, podName, container }: Pick<Target, "pod" | "podName" | "container">,
): void {
  const isSeen = container === undefined
    ? KINDS.some((kind) => statusesOf(pod, kind).some(isRunning))
    : statusesOf(pod, container.kind).some((each) => each.name === container.name && isRunning(each));
  if (isSeen) return;
  const inPod = `of pod ${quoted(podName)}`;
  let message = container === undefined
    ? `no container ${inPod} is known to run yet: please try again`
    : `container ${quoted(container.name)} ${inPod} is not known to run yet: please try again`;
  if (/^(Succeeded|Failed)$/.test(pod.status?.phase ?? "")) {
    message = `pod ${quoted(podName)} has ended: nothing in it runs any more`;
  }
  throw new Refusal("Conflict", message, {
    details: { name: podName, kind: "pods" },
    rule: "not-running",
  });
}

/**
 * Makes sure that a target's container did not begin anew while it was opened, with another image perhaps than is written down.
 *
 * @param now its pod, as it is since
 * @throws {Refusal} Conflict
 */
export function requireSameContainer(
  { pod, podName, container }: Pick<Target, "pod" | "podName" | "container">,
  now: V1Pod,
): void {
  if (container === undefined) return;
  const [before, after] = [pod, now].map((each) =>
    statusesOf(each, container.kind).find(({ name }) => name === container.name)
  );
  if (before?.containerID === after?.containerID) return;
  const which = `container ${quoted(container.name)} of pod ${quoted(podName)}`;
  throw new Refusal("Conflict", `${which} began anew while it was opened: please try again`, {
    details: { name: podName, kind: "pods" },
    rule: "not-running",
  });
}

const KINDS: readonly ContainerKind[] = ["init", "regular", "ephemeral"];

function statusesOf({ status }: V1Pod, kind: ContainerKind): readonly V1ContainerStatus[] {
  switch (kind) {
    case "init":
      return status?.initContainerStatuses ?? [];
    case "regular":
      return status?.containerStatuses ?? [];
    case "ephemeral":
      return status?.ephemeralContainerStatuses ?? [];
  }
}

function isRunning({ state }: V1ContainerStatus): boolean {
  return state?.running !== undefined && state.running !== null;
}
