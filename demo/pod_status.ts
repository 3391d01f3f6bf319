import { randomBytes } from "node:crypto";
import type { V1PodStatus } from "@kubernetes/client-node";
import type { ServedPod } from "./pod_store.ts";

/** State of a container, as its status has it; times as RFC 3339. */
export type ContainerState =
  | { waiting: { reason: string; message?: string } }
  | { running: { startedAt: string } }
  | {
    terminated: {
      exitCode: number;
      reason: string;
      startedAt: string;
      finishedAt: string;
      containerID: string;
    };
  };

/** What is known of a container. */
export interface ContainerFacts {
  /** Empty before it was first started. */
  containerID: string;
  restartCount: number;
  state: ContainerState;
  lastState: ContainerState | undefined;
}

/** A container that has not begun. */
export function waiting(reason: string): ContainerFacts {
  return { containerID: "", restartCount: 0, state: { waiting: { reason } }, lastState: undefined };
}

/** A container that has just begun, or begun again. */
export function running(startedAt: string, before = waiting("")): ContainerFacts {
  return {
    ...before,
    containerID: `demo://${randomBytes(32).toString("hex")}`,
    state: { running: { startedAt } },
  };
}

/** A time as Kubernetes writes it. */
export function now(): string {
  return new Date().toISOString().replace(/\.\d+/, "");
}

/**
 * The status of a pod, as a kubelet reports it.
 *
 * @param facts of its containers, by name; of those that are missing nothing is known yet
 */
export function podStatus(pod: ServedPod, facts: ReadonlyMap<string, ContainerFacts>): V1PodStatus {
  const { initContainers = [], containers = [], ephemeralContainers = [] } = pod.spec ?? {};
  const startedAt = String(pod.metadata.creationTimestamp);
  const isInitialized = initContainers.every(({ name }) => exitCode(facts.get(name)) === 0);
  const unknown = waiting(isInitialized ? "ContainerCreating" : "PodInitializing");
  const of = ({ name }: { name: string }) => facts.get(name) ?? unknown;
  const phase = phaseOf(isInitialized, containers.map(of));
  const isReady = phase === "Running" && containers.every((container) => isRunning(of(container)));
  const names = (list: readonly { name: string }[]) => `[${list.map(({ name }) => name).join(" ")}]`;
  const condition = (type: string, isTrue: boolean, reason = "", message = "") => {
    const why = isTrue || reason === "" ? {} : { reason, message };
    return { type, status: isTrue ? "True" : "False", lastTransitionTime: startedAt, ...why };
  };
  const notReady = phase === "Succeeded"
    ? ["PodCompleted"] as const
    : ["ContainersNotReady", `containers with unready status: ${names(containers)}`] as const;
  const uninitialized = [
    "ContainersNotInitialized",
    `containers with incomplete status: ${names(initContainers)}`,
  ] as const;
  const statuses = (list: readonly { name: string; image?: string }[], isReadiness: boolean) => {
    return list.map((container) => containerStatus(container, of(container), isReadiness));
  };
  const status = {
    phase,
    hostIP: "127.0.0.1",
    ...(pod.status?.podIP !== undefined && { podIP: pod.status.podIP, podIPs: [{ ip: pod.status.podIP }] }),
    startTime: startedAt,
    qosClass: "BestEffort",
    conditions: [
      condition("PodReadyToStartContainers", true),
      condition("Initialized", isInitialized, ...uninitialized),
      condition("Ready", isReady, ...notReady),
      condition("ContainersReady", isReady, ...notReady),
      condition("PodScheduled", true),
    ],
    ...(initContainers.length > 0 && { initContainerStatuses: statuses(initContainers, false) }),
    containerStatuses: statuses(containers, true),
    ...(ephemeralContainers.length > 0 && {
      ephemeralContainerStatuses: statuses(ephemeralContainers, false),
    }),
  };
  return status as unknown as V1PodStatus; // times are text
}

function phaseOf(isInitialized: boolean, containers: readonly ContainerFacts[]): string {
  if (!isInitialized || containers.some(({ containerID }) => containerID === "")) return "Pending";
  const codes = containers.map(exitCode);
  if (codes.some((code) => code === undefined)) return "Running";
  return codes.every((code) => code === 0) ? "Succeeded" : "Failed";
}

function exitCode(facts: ContainerFacts | undefined): number | undefined {
  return facts !== undefined && "terminated" in facts.state ? facts.state.terminated.exitCode : undefined;
}

function isRunning({ state }: ContainerFacts): boolean {
  return "running" in state;
}

function containerStatus(
  { name, image = "" }: { name: string; image?: string },
  { containerID, restartCount, state, lastState }: ContainerFacts,
  isReadiness: boolean,
): object {
  const hasStarted = containerID !== "";
  return {
    name,
    image,
    imageID: hasStarted ? `demo://${image}` : "",
    ...(hasStarted && { containerID }),
    ready: isReadiness ? "running" in state : "terminated" in state && state.terminated.exitCode === 0,
    started: "running" in state,
    restartCount,
    state,
    lastState: lastState ?? {},
  };
}
