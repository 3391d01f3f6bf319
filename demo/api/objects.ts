import { Refusal } from "../../kube/status.ts";
import type { ClusterState } from "../manifest.ts";
import { fieldSelector, labelSelector } from "./selector.ts";
import {
  deploymentTable,
  type IncludedObject,
  namespaceTable,
  nodeTable,
  podTable,
  serviceTable,
  type Table,
} from "./table.ts";

/** What becomes of objects, for watches. */
export interface Changes {
  /** Of the last change. */
  readonly version: number;
  /** `undefined` where that is no longer known. */
  since(version: number): readonly Change[] | undefined;
  /** Tells every change from now on, until the function that it returns is called. */
  follow(onChange: (change: Change) => void): () => void;
}

export interface Change {
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: ObjectMeta;
  version: number;
}

/** A kind of object that the API serves: what there is, what becomes of it, and how it is shown. */
export interface Collection {
  kind: string;
  apiVersion: string;
  isNamespaced: boolean;
  changes: Changes;
  list(namespace: string | undefined): readonly object[];
  table(objects: readonly object[], included: IncludedObject): Table;
}

/** One object of a collection, as far as all of them are alike. */
interface ObjectMeta {
  metadata?: { name?: string; namespace?: string };
}

/** Of what stays as it is. */
const NO_CHANGES: Changes = { version: 1, since: () => [], follow: () => () => {} };

/** The collections of a cluster, by resource. */
export function collections(state: ClusterState): Readonly<Record<string, Collection>> {
  const namespaces = state.namespaces.map((name) => {
    const metadata = { name, uid: name, resourceVersion: "1", creationTimestamp: state.startedAt };
    return { apiVersion: "v1", kind: "Namespace", metadata, status: { phase: "Active" } };
  });
  const { pods, node, services, deployments } = state;
  const inNamespace = <T extends ObjectMeta>(objects: readonly T[]) => (namespace: string | undefined) => {
    return objects.filter(({ metadata }) => namespace === undefined || metadata?.namespace === namespace);
  };
  return {
    pods: collection("Pod", (namespace) => pods.list(namespace), podTable, {
      isNamespaced: true,
      changes: pods,
    }),
    services: collection("Service", inNamespace(services), serviceTable, { isNamespaced: true }),
    nodes: collection("Node", () => [node], nodeTable),
    namespaces: collection("Namespace", () => namespaces, namespaceTable),
    deployments: collection("Deployment", inNamespace(deployments), deploymentTable, {
      apiVersion: "apps/v1",
      isNamespaced: true,
    }),
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
    apiVersion: collection.apiVersion,
    metadata: { resourceVersion: String(collection.changes.version) },
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
 * Answers a watch: tells what there is, if it is asked to, and what becomes of it until its client goes or its time is over.
 *
 * @throws {Refusal} BadRequest
 */
export function answerWatch(
  collection: Collection,
  request: Request,
  namespace: string | undefined,
  ended: AbortSignal,
): Response {
  const { kind, apiVersion, changes } = collection;
  const { searchParams: query } = new URL(request.url);
  const isMeant = selector(request);
  const table = tableOf(collection, request);
  const show = (type: string, object: object) => ({ type, object: table?.([object]) ?? object });
  const isSeen = ({ object }: Change) => {
    return isMeant(object) && (namespace === undefined || object.metadata?.namespace === namespace);
  };
  const version = query.get("resourceVersion") || "0";
  const isInitial = version === "0" || query.get("sendInitialEvents") === "true";
  const missed = isInitial ? [] : changes.since(Number(version));
  const events: object[] = isInitial
    ? select(collection, request, namespace).map((object) => show("ADDED", object))
    : (missed ?? []).filter(isSeen).map(({ type, object }) => show(type, object));
  if (missed === undefined) events.push({ type: "ERROR", object: tooOld(version) });
  if (query.get("sendInitialEvents") === "true") {
    const annotations = { "k8s.io/initial-events-end": "true" };
    const metadata = { resourceVersion: String(changes.version), annotations };
    events.push({ type: "BOOKMARK", object: { kind, apiVersion, metadata } });
  }
  const timeoutSeconds = Number(query.get("timeoutSeconds") ?? 0);
  return openStream(events, timeoutSeconds, ended, (push) => {
    return changes.follow((change) => {
      if (isSeen(change)) push(show(change.type, change.object));
    });
  });
}

/** What a watch is told that begins too far back: it lists anew. */
function tooOld(version: string): object {
  const message = `too old resource version: ${version}`;
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason: "Expired",
    code: 410,
  };
}

/** Changes that a client has not read yet, in bytes; a slower one is cut off, and begins anew. */
const MAX_UNREAD_BYTES = 4 << 20;

/** A JSON body of one line for each event: those given, then those that `follow` pushes, until it has ended. */
function openStream(
  events: readonly object[],
  timeoutSeconds: number,
  ended: AbortSignal,
  follow: (push: (event: object) => void) => () => void,
): Response {
  let forget = () => {};
  const utf8 = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const end = () => {
        forget();
        controller.close();
      };
      const push = (event: object) => {
        controller.enqueue(utf8.encode(`${JSON.stringify(event)}\n`));
        if ((controller.desiredSize ?? 0) <= 0) end();
      };
      const timer = timeoutSeconds > 0 ? setTimeout(end, Math.min(timeoutSeconds, 86_400) * 1000) : undefined;
      const unfollow = follow(push);
      forget = () => {
        clearTimeout(timer);
        unfollow();
        ended.removeEventListener("abort", end);
      };
      ended.addEventListener("abort", end);
      controller.enqueue(utf8.encode(events.map((event) => `${JSON.stringify(event)}\n`).join("")));
    },
    cancel: () => forget(),
  }, new ByteLengthQueuingStrategy({ highWaterMark: MAX_UNREAD_BYTES }));
  return new Response(body, { headers: { "Content-Type": "application/json" } });
}

function collection<T extends object>(
  kind: string,
  list: (namespace: string | undefined) => readonly T[],
  table: (objects: readonly T[], included: IncludedObject) => Table,
  { apiVersion = "v1", isNamespaced = false, changes = NO_CHANGES }: Partial<Collection> = {},
): Collection {
  // What is shown comes from this very list.
  const show = (objects: readonly object[], included: IncludedObject) =>
    table(objects as readonly T[], included);
  return { kind, apiVersion, isNamespaced, changes, list, table: show };
}

function select(
  { list }: Collection,
  request: Request,
  namespace: string | undefined,
): readonly object[] {
  return list(namespace).filter(selector(request));
}

/** Which objects a request means. @throws {Refusal} BadRequest */
function selector(request: Request): (object: object) => boolean {
  const { searchParams: query } = new URL(request.url);
  const hasFields = fieldSelector(query.get("fieldSelector") ?? "");
  const hasLabels = labelSelector(query.get("labelSelector") ?? "");
  return (object) => hasFields(object) && hasLabels(object);
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
