import type { V1ContainerStatus, V1Node } from "@kubernetes/client-node";
import type { ServedPod } from "../manifest.ts";

/** What `kubectl get` prints: a `meta.k8s.io/v1` Table, which the server fills. */
export function podTable(pods: readonly ServedPod[]): object {
  return table(["Name", "Ready", "Status", "Restarts", "Age"], pods, (pod) => {
    const containers = pod.status?.containerStatuses ?? [];
    const ready = `${containers.filter(({ ready }) => ready).length}/${containers.length}`;
    return [pod.metadata.name, ready, status(pod), 0, age(pod)];
  });
}

export function nodeTable(nodes: readonly V1Node[]): object {
  return table(["Name", "Status", "Roles", "Age", "Version"], nodes, (node) => {
    return [node.metadata?.name, "Ready", "<none>", age(node), node.status?.nodeInfo?.kubeletVersion];
  });
}

export function namespaceTable(namespaces: readonly { metadata: { name: string } }[]): object {
  return table(["Name", "Status"], namespaces, ({ metadata }) => [metadata.name, "Active"]);
}

function table<T extends object>(
  columns: readonly string[],
  objects: readonly T[],
  cells: (object: T) => unknown[],
) {
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: { resourceVersion: "1" },
    columnDefinitions: columns.map((name) => {
      return {
        name,
        type: name === "Restarts" ? "integer" : "string",
        format: name === "Name" ? "name" : "",
        priority: 0,
      };
    }),
    rows: objects.map((object) => ({ cells: cells(object), object })),
  };
}

function status({ status }: ServedPod): string {
  const init: readonly V1ContainerStatus[] = status?.initContainerStatuses ?? [];
  return init.length > 0 ? `Init:0/${init.length}` : status?.phase ?? "Unknown";
}

function age({ metadata }: { metadata?: { creationTimestamp?: unknown } }): string {
  const seconds = Math.max(
    0,
    Math.round((Date.now() - Date.parse(String(metadata?.creationTimestamp))) / 1000),
  );
  return seconds < 120
    ? `${seconds}s`
    : seconds < 7200
    ? `${Math.floor(seconds / 60)}m`
    : `${Math.floor(seconds / 3600)}h`;
}
