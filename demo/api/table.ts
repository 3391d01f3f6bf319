import type { V1ContainerStatus, V1Deployment, V1Node, V1Service } from "@kubernetes/client-node";
import type { ServedPod } from "../pod_store.ts";

/** An object that a table shows. */
interface Named {
  metadata?: { name?: string; creationTimestamp?: unknown };
}

/** A column: its name, what it holds, and whether only `-o wide` shows it. */
interface Column<T> {
  name: string;
  cell(object: T): string;
  wide?: true;
}

/** How much of each object a table's rows carry. */
export type IncludedObject = "None" | "Metadata" | "Object";

/** What `kubectl get` prints: a `meta.k8s.io/v1` Table, which the server fills. */
export interface Table {
  kind: "Table";
  apiVersion: "meta.k8s.io/v1";
  metadata: { resourceVersion: string };
  columnDefinitions: object[];
  rows: { cells: string[]; object: object | null }[];
}

const NONE = "<none>";

const POD_COLUMNS: readonly Column<ServedPod>[] = [
  { name: "Name", cell: ({ metadata }) => metadata.name },
  { name: "Ready", cell: readiness },
  { name: "Status", cell: podStatus },
  { name: "Restarts", cell: ({ status }) => String(restarts(status?.containerStatuses)) },
  { name: "Age", cell: age },
  { name: "IP", cell: ({ status }) => status?.podIP ?? NONE, wide: true },
  { name: "Node", cell: ({ spec }) => spec?.nodeName ?? NONE, wide: true },
  { name: "Nominated Node", cell: () => NONE, wide: true },
  { name: "Readiness Gates", cell: () => NONE, wide: true },
];

const NODE_COLUMNS: readonly Column<V1Node>[] = [
  { name: "Name", cell: ({ metadata }) => metadata?.name ?? "" },
  { name: "Status", cell: () => "Ready" },
  { name: "Roles", cell: () => NONE },
  { name: "Age", cell: age },
  { name: "Version", cell: ({ status }) => status?.nodeInfo?.kubeletVersion ?? "" },
  { name: "Internal-IP", cell: (node) => addressOf(node, "InternalIP"), wide: true },
  { name: "External-IP", cell: (node) => addressOf(node, "ExternalIP"), wide: true },
  { name: "OS-Image", cell: ({ status }) => status?.nodeInfo?.osImage ?? "", wide: true },
  { name: "Kernel-Version", cell: ({ status }) => status?.nodeInfo?.kernelVersion ?? "", wide: true },
  {
    name: "Container-Runtime",
    cell: ({ status }) => status?.nodeInfo?.containerRuntimeVersion ?? "",
    wide: true,
  },
];

const NAMESPACE_COLUMNS: readonly Column<Named>[] = [
  { name: "Name", cell: ({ metadata }) => metadata?.name ?? "" },
  { name: "Status", cell: () => "Active" },
  { name: "Age", cell: age },
];

const SERVICE_COLUMNS: readonly Column<V1Service>[] = [
  { name: "Name", cell: ({ metadata }) => metadata?.name ?? "" },
  { name: "Type", cell: ({ spec }) => spec?.type ?? "ClusterIP" },
  { name: "Cluster-IP", cell: ({ spec }) => spec?.clusterIP ?? NONE },
  { name: "External-IP", cell: () => NONE },
  { name: "Port(s)", cell: ({ spec }) => (spec?.ports ?? []).map(({ port }) => `${port}/TCP`).join(",") },
  { name: "Age", cell: age },
];

const DEPLOYMENT_COLUMNS: readonly Column<V1Deployment>[] = [
  { name: "Name", cell: ({ metadata }) => metadata?.name ?? "" },
  { name: "Ready", cell: ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 1}` },
  { name: "Up-to-date", cell: ({ status }) => String(status?.updatedReplicas ?? 0) },
  { name: "Available", cell: ({ status }) => String(status?.availableReplicas ?? 0) },
  { name: "Age", cell: age },
];

export function podTable(pods: readonly ServedPod[], included: IncludedObject): Table {
  return table(POD_COLUMNS, pods, included);
}

export function nodeTable(nodes: readonly V1Node[], included: IncludedObject): Table {
  return table(NODE_COLUMNS, nodes, included);
}

export function serviceTable(services: readonly V1Service[], included: IncludedObject): Table {
  return table(SERVICE_COLUMNS, services, included);
}

export function deploymentTable(deployments: readonly V1Deployment[], included: IncludedObject): Table {
  return table(DEPLOYMENT_COLUMNS, deployments, included);
}

export function namespaceTable(namespaces: readonly Named[], included: IncludedObject): Table {
  return table(NAMESPACE_COLUMNS, namespaces, included);
}

function table<T extends Named>(
  columns: readonly Column<T>[],
  objects: readonly T[],
  included: IncludedObject,
): Table {
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: { resourceVersion: "1" },
    columnDefinitions: columns.map(({ name, wide }) => {
      const format = name === "Name" ? "name" : "";
      return { name, type: "string", format, description: "", priority: wide === undefined ? 0 : 1 };
    }),
    rows: objects.map((object) => {
      return { cells: columns.map(({ cell }) => cell(object)), object: include(object, included) };
    }),
  };
}

function include(object: Named, included: IncludedObject): object | null {
  switch (included) {
    case "None":
      return null;
    case "Metadata": {
      const { metadata } = object;
      return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata };
    }
    case "Object":
      return object;
  }
}

function readiness({ status }: ServedPod): string {
  const containers = status?.containerStatuses ?? [];
  return `${containers.filter(({ ready }) => ready).length}/${containers.length}`;
}

/** @see k8s.io/kubernetes pkg/printers/internalversion/printers.go, printPod */
function podStatus({ metadata, status }: ServedPod): string {
  const init = status?.initContainerStatuses ?? [];
  const done = init.filter(({ state }) => state?.terminated?.exitCode === 0).length;
  if (metadata.deletionTimestamp !== undefined) return "Terminating";
  if (done < init.length) return `Init:${done}/${init.length}`;
  for (const { state } of status?.containerStatuses ?? []) {
    const reason = state?.waiting?.reason ?? state?.terminated?.reason;
    if (reason !== undefined) return reason;
  }
  return status?.phase ?? "Unknown";
}

function restarts(containers: readonly V1ContainerStatus[] = []): number {
  return containers.reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function addressOf({ status }: V1Node, type: string): string {
  return status?.addresses?.find((address) => address.type === type)?.address ?? NONE;
}

function age({ metadata }: Named): string {
  return humanDuration(Date.now() - Date.parse(String(metadata?.creationTimestamp)));
}

/** A duration as kubectl's columns have it: the larger its unit, the less is told. @see k8s.io/apimachinery pkg/util/duration */
export function humanDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const rest = (value: number, unit: string) => value === 0 ? "" : `${value}${unit}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return `${minutes}m${rest(seconds % 60, "s")}`;
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return `${hours}h${rest(minutes % 60, "m")}`;
  if (hours < 48) return `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}
