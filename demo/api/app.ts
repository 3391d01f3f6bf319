import { type Context, Hono } from "hono";
import type { V1SubjectAccessReview, V1TokenReview } from "@kubernetes/client-node";
import { forbidden } from "../../authz/authorize.ts";
import { Refusal, toStatus } from "../../kube/status.ts";
import type { ClusterState, Requester, ServedPod } from "../manifest.ts";
import { evaluate, type Request as AccessRequest } from "../rbac/evaluate.ts";
import { DISCOVERY } from "./discovery.ts";
import { child, readEnvelope, textOf } from "./protobuf.ts";
import { namespaceTable, nodeTable, podTable } from "./table.ts";

interface Variables {
  user: Requester;
}
type ApiContext = Context<{ Variables: Variables }>;

/** What a container has printed since it was started, as text. */
export type ReadLog = (pod: ServedPod, container: string) => string;

/**
 * The API of the embedded cluster: what kubectl needs to find its way (discovery, namespaces, pods, nodes, logs) and
 * what the gateway asks (TokenReview, SubjectAccessReview). Every request is authenticated by its token and decided by the
 * rules of the manifest, in the words of a real API server.
 */
export function createApi(state: ClusterState, readLog: ReadLog): Hono<{ Variables: Variables }> {
  const app = new Hono<{ Variables: Variables }>();
  app.onError((error, c) => {
    const status = toStatus(error);
    return c.json(status, (status.code ?? 500) as 500);
  });
  app.notFound((c) =>
    c.json(toStatus(new Refusal("NotFound", "the server could not find the requested resource")), 404)
  );

  app.use(async (c, next) => {
    const token = /^Bearer (.+)$/i.exec(c.req.header("Authorization") ?? "")?.[1] ?? "";
    const user = state.users.get(token);
    if (user === undefined) throw new Refusal("Unauthorized", "Unauthorized");
    c.set("user", user);
    await next();
  });

  const require = (c: ApiContext, request: AccessRequest) => {
    const user = c.get("user");
    if (evaluate(state.policy, user, request) !== undefined) return;
    if ("path" in request) {
      throw new Refusal(
        "Forbidden",
        `forbidden: User "${user.username}" cannot ${request.verb} path "${request.path}"`,
      );
    }
    const { verb, group, resource, subresource, namespace, name } = request;
    throw forbidden({ ...user, extra: {} }, {
      verb,
      group,
      resource,
      ...(subresource !== undefined && { subresource }),
      ...(namespace !== undefined && { namespace }),
      ...(name !== undefined && { name }),
    }, "");
  };

  for (const [path, document] of Object.entries(DISCOVERY)) {
    app.get(path, (c) => {
      require(c, { verb: "get", path });
      return c.json(document as object);
    });
  }
  app.get("/healthz", (c) => c.text("ok"));

  const lists = {
    pods: {
      kind: "Pod",
      of: (namespace?: string) =>
        state.pods.filter((pod) => !namespace || pod.metadata.namespace === namespace),
      table: podTable,
    },
    nodes: { kind: "Node", of: () => [state.node], table: nodeTable },
    namespaces: { kind: "Namespace", of: () => state.namespaces.map(namespaceObject), table: namespaceTable },
  };
  type Kind = keyof typeof lists;

  const list = (resource: Kind) => (c: ApiContext) => {
    const namespace = c.req.param("namespace");
    const isWatch = ["1", "true"].includes(c.req.query("watch") ?? "");
    require(c, { verb: isWatch ? "watch" : "list", group: "", resource, namespace });
    const name = /^metadata\.name=(.+)$/.exec(c.req.query("fieldSelector") ?? "")?.[1];
    const items = lists[resource].of(namespace).filter(({ metadata }) => !name || metadata?.name === name);
    const asTable = c.req.header("Accept")?.includes("as=Table") ?? false;
    const render = lists[resource].table as (items: readonly object[]) => object;
    if (isWatch) {
      return watch(
        c.req.query("resourceVersion") ? [] : items.map((item) => asTable ? render([item]) : item),
        c.req.raw.signal,
      );
    }
    if (asTable) return c.json(render(items));
    return c.json({
      kind: `${lists[resource].kind}List`,
      apiVersion: "v1",
      metadata: { resourceVersion: "1" },
      items,
    });
  };
  const one = (resource: Kind) => (c: ApiContext) => {
    const { namespace, name = "" } = c.req.param();
    require(c, { verb: "get", group: "", resource, namespace, name });
    const found = lists[resource].of(namespace).find(({ metadata }) => metadata?.name === name);
    if (found === undefined) throw notFound(resource, name);
    const asTable = c.req.header("Accept")?.includes("as=Table") ?? false;
    return c.json(asTable ? (lists[resource].table as (items: readonly object[]) => object)([found]) : found);
  };
  app.get("/api/v1/pods", list("pods"));
  app.get("/api/v1/namespaces/:namespace/pods", list("pods"));
  app.get("/api/v1/namespaces/:namespace/pods/:name", one("pods"));
  app.get("/api/v1/nodes", list("nodes"));
  app.get("/api/v1/nodes/:name", one("nodes"));
  app.get("/api/v1/namespaces", list("namespaces"));
  app.get("/api/v1/namespaces/:name", one("namespaces"));
  app.get("/api/v1/namespaces/:namespace/pods/:name/log", (c) => {
    const { namespace, name } = c.req.param();
    require(c, { verb: "get", group: "", resource: "pods", subresource: "log", namespace, name });
    const pod = state.pods.find(({ metadata }) => metadata.name === name && metadata.namespace === namespace);
    if (pod === undefined) throw notFound("pods", name);
    return c.text(readLog(pod, c.req.query("container") ?? pod.spec?.containers[0]?.name ?? ""));
  });

  app.post("/apis/authentication.k8s.io/v1/tokenreviews", async (c) => {
    require(c, { verb: "create", group: "authentication.k8s.io", resource: "tokenreviews" });
    const review: V1TokenReview = await c.req.json();
    const user = state.users.get(review.spec?.token ?? "");
    const status = user === undefined ? { authenticated: false, user: {} } : { authenticated: true, user };
    return c.json({ ...review, spec: {}, status }, 201);
  });
  app.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", (c) => {
    require(c, { verb: "create", group: "authentication.k8s.io", resource: "selfsubjectreviews" });
    const kind = { kind: "SelfSubjectReview", apiVersion: "authentication.k8s.io/v1" };
    return c.json({ ...kind, metadata: {}, status: { userInfo: c.get("user") } }, 201);
  });
  const decide = (
    c: ApiContext,
    review: V1SubjectAccessReview,
    requester: Pick<Requester, "username" | "groups">,
  ) => {
    const request = accessRequest(review);
    const reason = request && evaluate(state.policy, requester, request);
    return c.json({ ...review, status: { allowed: reason !== undefined, ...(reason && { reason }) } }, 201);
  };
  app.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", async (c) => {
    require(c, { verb: "create", group: "authorization.k8s.io", resource: "subjectaccessreviews" });
    const review: V1SubjectAccessReview = await c.req.json();
    return decide(c, review, { username: review.spec.user ?? "", groups: review.spec.groups ?? [] });
  });
  app.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", async (c) => {
    require(c, { verb: "create", group: "authorization.k8s.io", resource: "selfsubjectaccessreviews" });
    return decide(c, await readSelfReview(c), c.get("user"));
  });
  return app;
}

/** The review that kubectl sends for its own user, in either encoding. */
async function readSelfReview(c: ApiContext): Promise<V1SubjectAccessReview> {
  if (!c.req.header("Content-Type")?.includes("protobuf")) return await c.req.json();
  const spec = child(readEnvelope(new Uint8Array(await c.req.arrayBuffer())), 2) ?? new Map();
  const [resource, url] = [child(spec, 1), child(spec, 2)];
  const [namespace, verb, group, , type, subresource, name] = [1, 2, 3, 4, 5, 6, 7].map((number) => {
    return resource && textOf(resource, number) || undefined;
  });
  const attributes = url
    ? { nonResourceAttributes: { path: textOf(url, 1), verb: textOf(url, 2) } }
    : { resourceAttributes: { namespace, verb, group, resource: type, subresource, name } };
  return {
    kind: "SelfSubjectAccessReview",
    apiVersion: "authorization.k8s.io/v1",
    metadata: {},
    spec: attributes,
  } as V1SubjectAccessReview;
}

/** What a review asks; `undefined` where it asks nothing. */
function accessRequest({ spec }: V1SubjectAccessReview): AccessRequest | undefined {
  const { resourceAttributes: resource, nonResourceAttributes: url } = spec;
  if (resource !== undefined) {
    return {
      verb: resource.verb ?? "",
      group: resource.group ?? "",
      resource: resource.resource ?? "",
      subresource: resource.subresource,
      namespace: resource.namespace,
      name: resource.name,
    };
  }
  return url && { verb: url.verb ?? "", path: url.path ?? "" };
}

/** Nothing changes here: a watch tells what there is, and stays silent until its client goes. */
function watch(objects: readonly object[], gone: AbortSignal): Response {
  const lines = objects.map((object) => `${JSON.stringify({ type: "ADDED", object })}\n`).join("");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(lines));
      gone.addEventListener("abort", () => controller.error(gone.reason), { once: true });
    },
  });
  return new Response(body, { headers: { "Content-Type": "application/json" } });
}

function namespaceObject(name: string) {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, uid: name }, status: { phase: "Active" } };
}

function notFound(kind: string, name: string): Refusal {
  return new Refusal("NotFound", `${kind} "${name}" not found`, { details: { name, kind } });
}
