import type { V1Pod } from "@kubernetes/client-node";
import { Refusal } from "./status.ts";
import type { ContainerKind, Target } from "./target.ts";

/** The container of a {@linkcode Target}. */
export type TargetContainer = NonNullable<Target["container"]>;

/** Where a client that names no container may find one named. kubectl reads it itself; the API server does not. */
const DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container";

/**
 * Chooses the container of an exec or attach, as the API server does.
 *
 * @param name as the request says it; `undefined` where it names none
 * @param honourAnnotation take the pod's default-container annotation for a request that names none
 * @throws {Refusal} BadRequest, in the API server's words
 * @see k8s.io/kubernetes pkg/registry/core/pod/strategy.go
 */
export function chooseContainer(
  pod: V1Pod,
  name: string | undefined,
  honourAnnotation = false,
): TargetContainer {
  const podName = pod.metadata?.name ?? "";
  const wanted = name ?? (honourAnnotation ? pod.metadata?.annotations?.[DEFAULT_CONTAINER] : undefined);
  const all = containersOf(pod);
  if (wanted !== undefined) {
    const found = all.find((container) => container.name === wanted);
    if (found === undefined) {
      throw new Refusal("BadRequest", `container ${wanted} is not valid for pod ${podName}`);
    }
    return found;
  }
  const regular = all.filter(({ kind }) => kind === "regular");
  if (regular.length === 1) return regular[0]!;
  const message = `a container name must be specified for pod ${podName}`;
  if (regular.length === 0) throw new Refusal("BadRequest", message);
  throw new Refusal(
    "BadRequest",
    `${message}, choose one of: [${all.map((container) => container.name).join(" ")}]`,
  );
}

/** All containers, in the API server's order: init, regular, ephemeral. */
export function containersOf({ spec }: V1Pod): TargetContainer[] {
  const of = (kind: ContainerKind, list: readonly TargetContainer["spec"][] | undefined) =>
    (list ?? []).map((spec) => ({ kind, name: spec.name, spec }));
  return [
    ...of("init", spec?.initContainers),
    ...of("regular", spec?.containers),
    ...of("ephemeral", spec?.ephemeralContainers),
  ];
}
