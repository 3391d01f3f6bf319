import { Refusal } from "../../kube/status.ts";
import type { ClusterState } from "../manifest.ts";
import { fieldSelector, labelSelector } from "./selector.ts";
import { type IncludedObject, namespaceTable, nodeTable, podTable, type Table } from "./table.ts";

/** A kind of object that the API serves: what there is, and how it is shown. */
export interface Collection {
  kind: string;
  list(namespace: string | undefined): readonly object[];
  table(objects: readonly object[], included: IncludedObject): Table;
}

/** One object of a collection, as far as all of them are alike. */
interface ObjectMeta {
  metadata?: { name?: string };
}

/** The collections of a cluster, by resource. */
export function collections(state: ClusterState): Readonly<Record<string, Collection>> {
  const namespaces = state.namespaces.map((name) => {
    const metadata = { name, uid: name, resourceVersion: "1", creationTimestamp: state.startedAt };
    return { apiVersion: "v1", kind: "Namespace", metadata, status: { phase: "Active" } };
  });
  const { pods, node } = state;
  return {
    pods: collection("Pod", (namespace) => {
      return pods.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);
    }, podTable),
    nodes: collection("Node", () => [node], nodeTable),
    namespaces: collection("Namespace", () => namespaces, namespaceTable),
  };
}

/** Answers a list, whole or as the table that the client accepts. @throws {Refusal} BadRequest */
export function answerList(
  collection: Collection,
  request: Request,
  namespace: string | undefined,
): Response {
  const items = select(collection, request, namespace);
  const table = tableOf(collection, request);
  if (table !== undefined) return Response.json(table(items));
  return Response.json({
    kind: `${collection.kind}List`,
    apiVersion: "v1",
    metadata: { resourceVersion: "1" },
    items,
  });
}

/** Answers one object. `undefined`: there is none of that name. */
export function answerOne(
  collection: Collection,
  request: Request,
  namespace: string | undefined,
  name: string,
): Response | undefined {
  const found = collection.list(namespace).find((object: ObjectMeta) => object.metadata?.name === name);
  return found && Response.json(tableOf(collection, request)?.([found]) ?? found);
}

/**
 * Answers a watch. Nothing changes here: it tells what there is, if it is asked to, and stays silent until its client goes
 * or its time is over.
 *
 * @throws {Refusal} BadRequest
 */
export function answerWatch(
  collection: Collection,
  request: Request,
  namespace: string | undefined,
  ended: AbortSignal,
): Response {
  const { searchParams: query } = new URL(request.url);
  const table = tableOf(collection, request);
  const isInitial = ["", "0"].includes(query.get("resourceVersion") ?? "");
  const wantsAll = query.get("sendInitialEvents") === "true";
  const events: object[] = isInitial || wantsAll
    ? select(collection, request, namespace).map((object) => {
      return { type: "ADDED", object: table?.([object]) ?? object };
    })
    : [];
  if (wantsAll) {
    const metadata = { resourceVersion: "1", annotations: { "k8s.io/initial-events-end": "true" } };
    events.push({ type: "BOOKMARK", object: { kind: collection.kind, apiVersion: "v1", metadata } });
  }
  const timeoutSeconds = Number(query.get("timeoutSeconds") ?? 0);
  return openStream(events.map((event) => `${JSON.stringify(event)}\n`).join(""), timeoutSeconds, ended);
}

/** A JSON body that begins with `text` and goes on, silent, until it has ended. */
function openStream(text: string, timeoutSeconds: number, ended: AbortSignal): Response {
  let end = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const forget = () => {
    clearTimeout(timer);
    ended.removeEventListener("abort", end);
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      end = () => {
        forget();
        controller.close();
      };
      controller.enqueue(new TextEncoder().encode(text));
      ended.addEventListener("abort", end);
      if (timeoutSeconds > 0) timer = setTimeout(end, Math.min(timeoutSeconds, 86_400) * 1000);
    },
    cancel: forget,
  });
  return new Response(body, { headers: { "Content-Type": "application/json" } });
}

function collection<T extends object>(
  kind: string,
  list: (namespace: string | undefined) => readonly T[],
  table: (objects: readonly T[], included: IncludedObject) => Table,
): Collection {
  // What is shown comes from this very list.
  return { kind, list, table: (objects, included) => table(objects as readonly T[], included) };
}

function select(
  { list }: Collection,
  request: Request,
  namespace: string | undefined,
): readonly object[] {
  const { searchParams: query } = new URL(request.url);
  const hasFields = fieldSelector(query.get("fieldSelector") ?? "");
  const hasLabels = labelSelector(query.get("labelSelector") ?? "");
  return list(namespace).filter((object) => hasFields(object) && hasLabels(object));
}

/** How the client wants objects shown, where it asks for a table first. */
function tableOf(
  { table }: Collection,
  request: Request,
): ((objects: readonly object[]) => Table) | undefined {
  const [first = ""] = (request.headers.get("Accept") ?? "").split(",");
  if (!/;\s*as=Table\b/.test(first) || !/;\s*v=v1\b/.test(first)) return undefined;
  const asked = new URL(request.url).searchParams.get("includeObject") || "Metadata";
  if (asked !== "None" && asked !== "Metadata" && asked !== "Object") {
    throw new Refusal("BadRequest", `unrecognized includeObject value: ${JSON.stringify(asked)}`);
  }
  return (objects) => table(objects, asked);
}
