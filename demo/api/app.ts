import { type Context, Hono } from "hono";
import { ZodError } from "zod";
import { Refusal, toStatus } from "../../kube/status.ts";
import type { ClusterState, Requester } from "../manifest.ts";
import { authenticate, authorize } from "./authenticate.ts";
import { DISCOVERY } from "./discovery.ts";
import { answerLog, type FindLog } from "./log.ts";
import { answerList, answerOne, answerWatch, collections } from "./objects.ts";
import { createOne, deleteOne, writeEphemeral } from "./pod_writes.ts";
import { listRbac, RBAC_RESOURCES, RBAC_ROOT } from "./rbac.ts";
import { isWatch, requestInfo } from "./request_info.ts";
import {
  reviewSelf,
  reviewSelfAccess,
  reviewSelfRules,
  reviewSubjectAccess,
  reviewToken,
} from "./reviews.ts";
import { StatusError } from "./status_error.ts";

interface Env {
  Variables: { user: Requester };
}

/** What the API serves, beside the state of its cluster. */
export interface ApiOptions {
  findLog: FindLog;
  /** Aborted when the API server ends: watches and followed logs end with it. */
  ended: AbortSignal;
}

/**
 * The API of the embedded cluster: what kubectl needs to find its way (discovery, namespaces, pods, services, nodes, logs) and
 * to make, debug and delete pods, and what the gateway asks (TokenReview, SubjectAccessReview). Every request is authenticated by its token and decided by the
 * rules of the manifest before anything else is looked at, and refused in the words of a real API server.
 */
export function createApi(state: ClusterState, { findLog, ended }: ApiOptions): Hono<Env> {
  const app = new Hono<Env>();
  const served = collections(state);

  app.onError((thrown) => {
    if (thrown instanceof StatusError) return Response.json(thrown.toStatus(), { status: thrown.code });
    const status = toStatus(thrown instanceof ZodError ? unrecognized(thrown) : thrown);
    return Response.json(status, { status: status.code ?? 500 });
  });
  app.notFound((c) => {
    const isKnown = isServed(c.req.path, Object.keys(served));
    throw isKnown
      ? new Refusal("MethodNotAllowed", "the server does not allow this method on the requested resource")
      : new Refusal("NotFound", "the server could not find the requested resource");
  });

  app.use(async (c, next) => {
    await next();
    c.res.headers.set("Audit-Id", c.req.header("Audit-Id") || crypto.randomUUID());
  });
  app.use(async (c, next) => {
    const user = authenticate(c.req.raw.headers, state.users, state.policy);
    authorize(state.policy, user, readInfo(c.req.raw));
    c.set("user", user);
    await next();
  });

  for (const [path, document] of Object.entries(DISCOVERY)) app.get(path, () => Response.json(document));
  for (const path of ["/healthz", "/livez", "/readyz"]) app.get(path, (c) => c.text("ok"));

  for (const resource of RBAC_RESOURCES) {
    app.get(`${RBAC_ROOT}/${resource}`, () => listRbac(state.policy, resource));
  }

  for (const [resource, collection] of Object.entries(served)) {
    const list = (request: Request, namespace?: string) => {
      return isWatch(new URL(request.url).searchParams)
        ? answerWatch(collection, request, namespace, ended)
        : answerList(collection, request, namespace);
    };
    const one = (request: Request, name: string, namespace?: string) => {
      const found = answerOne(collection, request, namespace, name);
      if (found === undefined) throw notFound(resource, name);
      return found;
    };
    const root = collection.apiVersion === "v1" ? "/api/v1" : `/apis/${collection.apiVersion}`;
    app.get(`${root}/${resource}`, (c) => list(c.req.raw));
    if (!collection.isNamespaced) {
      app.get(`${root}/${resource}/:name`, (c) => one(c.req.raw, c.req.param("name")));
    } else {
      const base = `${root}/namespaces/:namespace/${resource}` as const;
      app.get(base, (c) => list(c.req.raw, c.req.param("namespace")));
      app.get(`${base}/:name`, (c) => one(c.req.raw, c.req.param("name"), c.req.param("namespace")));
    }
  }
  const { pods } = state;
  const podOf = ({ namespace, name }: { namespace: string; name: string }) => {
    const pod = pods.find(namespace, name);
    if (pod === undefined) throw notFound("pods", name);
    return pod;
  };
  const base = "/api/v1/namespaces/:namespace/pods";
  app.post(base, (c) => {
    const { namespace } = c.req.param();
    if (!state.namespaces.includes(namespace)) throw notFound("namespaces", namespace);
    return createOne(c.req.raw, pods, namespace);
  });
  app.delete(`${base}/:name`, (c) => deleteOne(c.req.raw, pods, () => podOf(c.req.param())));
  const debug = (c: Context<Env, `${typeof base}/:name/ephemeralcontainers`>) => {
    return writeEphemeral(c.req.raw, pods, () => podOf(c.req.param()));
  };
  app.patch(`${base}/:name/ephemeralcontainers`, debug);
  app.put(`${base}/:name/ephemeralcontainers`, debug);
  app.get(`${base}/:name/log`, (c) => {
    return answerLog(podOf(c.req.param()), new URL(c.req.url).searchParams, findLog, ended);
  });

  const [authentication, authorization] = ["/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1"];
  app.post(`${authentication}/tokenreviews`, (c) => reviewToken(c.req.raw, state));
  app.post(`${authentication}/selfsubjectreviews`, (c) => reviewSelf(c.get("user")));
  app.post(`${authorization}/subjectaccessreviews`, (c) => reviewSubjectAccess(c.req.raw, state));
  app.post(
    `${authorization}/selfsubjectaccessreviews`,
    (c) => reviewSelfAccess(c.req.raw, state, c.get("user")),
  );
  app.post(
    `${authorization}/selfsubjectrulesreviews`,
    (c) => reviewSelfRules(c.req.raw, state, c.get("user")),
  );
  return app;
}

function readInfo(request: Request) {
  try {
    return requestInfo(request.method, new URL(request.url));
  } catch (cause) {
    throw new Refusal("BadRequest", "the path of the request cannot be read", { cause });
  }
}

function unrecognized(cause: ZodError): Refusal {
  return new Refusal("BadRequest", "the object provided is unrecognized", { cause });
}

/** Whether a path is served, with another method perhaps. */
function isServed(path: string, resources: readonly string[]): boolean {
  const info = requestInfo("GET", new URL(path, "https://api"));
  if ("path" in info) return Object.hasOwn(DISCOVERY, info.path);
  return info.subresource === undefined && resources.includes(info.resource);
}

function notFound(kind: string, name: string): Refusal {
  return new Refusal("NotFound", `${kind} "${name}" not found`, { details: { name, kind } });
}
