import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { safeJsonText } from "../audit/line.ts";
import { Refusal } from "../kube/status.ts";
import type { ApiCall, ApiGate } from "./call.ts";
import { readRecording } from "./recording.ts";
import {
  ListQuery,
  Named,
  NoQuery,
  SessionDocument,
  SessionEventList,
  SessionList,
  StatusDocument,
} from "./schemas.ts";
import { endSession, getEvents, getSession, listSessions, noSuchPath } from "./sessions.ts";
import { tail } from "./tail.ts";

/** The paths of the API, which is guarded by the API server: see `description`. */
const SESSIONS = "/postern/v1/sessions";
const SESSION = `${SESSIONS}/{auditId}`;

/** What hono hands to a handler. */
interface Environment {
  Bindings: { call: ApiCall };
}

/** Tuning of tests. */
export interface ApiOptions {
  heartbeatMs?: number;
  endWaitMs?: number;
}

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

/** Refusals, by HTTP status: what each means here. */
const REFUSALS: Readonly<Record<number, string>> = {
  400: "A parameter is wrong, or not known.",
  401: "No bearer token, or nobody's.",
  403: "Not granted. Said alike of a session that is there and of one that is not.",
  404: "There is none. Told to those who may see every session.",
  409: "It runs in another replica of the gateway.",
  410: "It has ended.",
  412: "The recording is not the one that `If-Match` names.",
  416: "The recording has no byte of that range.",
  429: "As many watch as may.",
  501: "The gateway has no index of sessions.",
  503: "The API server, the index, the store or the audit log does not answer.",
};

function refusals<const Codes extends readonly (keyof typeof REFUSALS)[]>(...codes: Codes) {
  return Object.fromEntries(
    [400, 401, 403, 503, ...codes].map((code) => [code, json(StatusDocument, REFUSALS[code] ?? "")]),
  );
}

const security = [{ bearer: [] }];

const routes = {
  list: createRoute({
    method: "get",
    path: SESSIONS,
    operationId: "listSessions",
    summary: "Sessions, the newest first",
    description: "Grant: `list` on `sessions` in group `postern.dev`, in the namespace asked for or in all.",
    security,
    request: { query: ListQuery },
    responses: { 200: json(SessionList, "A page."), ...refusals(501) },
  }),
  get: createRoute({
    method: "get",
    path: SESSION,
    operationId: "getSession",
    summary: "One session, with its decisions, streams and connections",
    description: "Grant: `get` on `sessions` in group `postern.dev`.",
    security,
    request: { params: Named, query: NoQuery },
    responses: { 200: json(SessionDocument, "The session."), ...refusals(404, 501) },
  }),
  events: createRoute({
    method: "get",
    path: `${SESSION}/events`,
    operationId: "listSessionEvents",
    summary: "What happened in a session",
    description:
      "Grant: `get` on `sessions` in group `postern.dev`. Made from the rows of the index, which are made from the " +
      "audit events; the audit log has each of them whole.",
    security,
    request: { params: Named, query: NoQuery },
    responses: { 200: json(SessionEventList, "The events, the earliest first."), ...refusals(404, 501) },
  }),
  recording: createRoute({
    method: "get",
    path: `${SESSION}/recording`,
    operationId: "readRecording",
    summary: "The bytes of a session's recording",
    description:
      "Grant: `get` on `recordings` in group `postern.dev`. As `docs/recording-format.md` has it, and encrypted where " +
      "it is. While the session runs: what is durable. One range of bytes may be asked for (RFC 9110). That it is read is an audit " +
      "event, written before the first byte.",
    security,
    request: {
      params: Named,
      query: NoQuery,
      headers: z.object({
        "Range": z.string().optional().meta({
          description: "`bytes=0-1023`, `bytes=1024-` or `bytes=-1024`.",
        }),
        "If-Range": z.string().optional().meta({ description: "The range is meant of this ETag alone." }),
      }),
    },
    responses: {
      200: {
        description:
          "The whole. When the session has ended, `ETag` is the last link of the recording's chain.",
        content: { "application/octet-stream": { schema: z.string().meta({ format: "binary" }) } },
      },
      206: {
        description: "The range that was asked for.",
        content: { "application/octet-stream": { schema: z.string().meta({ format: "binary" }) } },
      },
      304: { description: "The client has it already." },
      ...refusals(404, 412, 416),
    },
  }),
  tail: createRoute({
    method: "get",
    path: `${SESSION}/tail`,
    operationId: "tailSession",
    summary: "What passes in a session that runs, as it passes",
    description:
      "Grant: `watch` on `sessions` in group `postern.dev`. Server-sent events, whose data is JSON: `header` first, then " +
      "`opened`, `data` (`bytes`, and `data` in base64 where content is recorded too: by default not what is typed), `half_closed`, " +
      "`reset`, and `ended` as the last. `gap`: some of what came behind `Last-Event-ID` is lost. `dropped`: this reader was too " +
      "slow. `revoked`: its permission was withdrawn meanwhile. It is an audit event, written before the first byte.",
    security,
    request: {
      params: Named,
      query: NoQuery,
      headers: z.object({
        "Last-Event-ID": z.string().optional().meta({
          description: "What was seen last, to go on behind it.",
        }),
      }),
    },
    responses: {
      200: {
        description: "Events, until the session ends.",
        content: { "text/event-stream": { schema: z.string() } },
      },
      ...refusals(404, 409, 410, 429),
    },
  }),
  end: createRoute({
    method: "delete",
    path: SESSION,
    operationId: "endSession",
    summary: "End a session that runs",
    description:
      "Grant: `delete` on `sessions` in group `postern.dev`. The session's user is told who has ended it. It is an audit " +
      "event, written before anything is done.",
    security,
    request: { params: Named, query: NoQuery },
    responses: {
      200: json(StatusDocument, "It has ended, and that is written down."),
      202: json(StatusDocument, "It is being ended."),
      ...refusals(404, 409, 410),
    },
  }),
  openapi: createRoute({
    method: "get",
    path: "/postern/v1/openapi.json",
    operationId: "getOpenapi",
    summary: "This document",
    description: "For everybody with a good token.",
    security,
    request: { query: NoQuery },
    responses: { 200: json(z.looseObject({}), "OpenAPI 3.1."), ...refusals() },
  }),
};

/**
 * The gateway's own API, under `/postern/v1/`.
 *
 * @returns answers a request; what it throws is for the caller to answer and to write down
 */
export function createApi(
  gate: ApiGate,
  options: ApiOptions = {},
): (request: Request, call: ApiCall) => Promise<Response> {
  const calls = new WeakMap<Request, ApiCall>();
  // What is matched is the call's path, which was read in one way only, and not a URL that something else has normalised.
  const app = buildApi(gate, (request) => calls.get(request)?.path ?? "/", options);
  return async (request, call) => {
    calls.set(request, call);
    return await app.fetch(request, { call });
  };
}

/** The OpenAPI document, made from the schemas. */
export function openapiDocument(): ReturnType<ReturnType<typeof buildApi>["getOpenAPI31Document"]> {
  const nobody: ApiGate = {
    access: () => Promise.resolve({ allowed: false, reason: "" }),
    catalog: undefined,
    sessions: { find: () => undefined },
    store: () => Promise.resolve(undefined),
  };
  return describe(buildApi(nobody, () => "/"));
}

function describe(app: ReturnType<typeof buildApi>) {
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Postern",
      version: "v1",
      description:
        "Sessions through the gateway: what there were, what was recorded, what passes in them now, and how to end one. " +
        "Who asks is found out by TokenReview, and what they may by SubjectAccessReview in group `postern.dev`. Every refusal is a " +
        "`metav1.Status`.",
    },
  });
}

function buildApi(
  gate: ApiGate,
  getPath: (request: Request) => string,
  { heartbeatMs, endWaitMs }: ApiOptions = {},
) {
  const app = new OpenAPIHono<Environment>({
    getPath,
    defaultHook: (result) => {
      if (!result.success) throw badParameter(result.error);
    },
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  // The one place that answers what is thrown is the caller's.
  app.onError((thrown) => {
    throw thrown;
  });
  app.notFound(() => {
    throw noSuchPath();
  });
  // `kubectl get --raw` prints answers as they come.
  app.use(async (c, next) => {
    await next();
    if (!c.res.headers.get("Content-Type")?.startsWith("application/json")) return;
    c.res = new Response(safeJsonText(await c.res.text()), c.res);
  });
  app.openapi(
    routes.list,
    async (c) => c.json(await listSessions(c.env.call, gate, c.req.valid("query")), 200),
  );
  app.openapi(routes.get, async (c) => {
    return c.json(await getSession(c.env.call, gate, c.req.valid("param").auditId), 200);
  });
  app.openapi(routes.events, async (c) => {
    return c.json(await getEvents(c.env.call, gate, c.req.valid("param").auditId), 200);
  });
  app.openapi(routes.recording, async (c) => {
    return await readRecording(c.req.raw, c.env.call, gate, c.req.valid("param").auditId);
  });
  app.openapi(routes.tail, async (c) => {
    return await tail(c.req.raw, c.env.call, gate, c.req.valid("param").auditId, heartbeatMs);
  });
  app.openapi(routes.end, async (c) => {
    const status = await endSession(c.env.call, gate, c.req.valid("param").auditId, endWaitMs);
    return c.json(status, status.code);
  });
  app.openapi(routes.openapi, (c) => c.json(describe(app), 200));
  const known = Object.values(routes).map((route) => route.getRoutingPath());
  for (const path of new Set(known)) {
    const methods = Object.values(routes).filter((route) => route.getRoutingPath() === path)
      .map(({ method }) => method.toUpperCase());
    app.all(path, () => {
      const message = "the server does not allow this method on the requested resource";
      throw new Refusal("MethodNotAllowed", message, { headers: { Allow: ["HEAD", ...methods].join(", ") } });
    });
  }
  return app;
}

/** Says which parameter is wrong, and what was expected. */
function badParameter({ issues }: { issues: readonly z.core.$ZodIssue[] }): Refusal {
  const [issue] = issues;
  const where = issue?.path.join(".");
  const what = issue?.code === "unrecognized_keys"
    ? `unknown parameter ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`
    : `parameter ${JSON.stringify(where)}: ${issue?.message ?? "wrong"}`;
  return new Refusal("BadRequest", what, { rule: "parameters" });
}
