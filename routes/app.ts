import { Hono } from "hono";
import { Refusal } from "../kube/status.ts";
import { answerOf, toResponse } from "./answer.ts";
import { recordRefusal } from "./evidence.ts";
import { exec } from "./exec.ts";
import { FallbackMemory } from "./fallback_memory.ts";
import type { Gate } from "./gate.ts";
import type { Handler, RequestContext } from "./handler.ts";
import { Journey } from "./journey.ts";
import { type Forward, passThrough } from "./passthrough.ts";
import { readRequestTarget, type RequestTarget } from "./request_target.ts";

/** What hono hands to a handler: the request as the front saw it, and its target as we read it. */
interface Bindings {
  context: RequestContext;
  target: RequestTarget;
}

type Step = (journey: Journey, request: Request) => Promise<Response>;

const POD = "/api/v1/namespaces/:namespace/pods/:name";

/** Paths that reach a container, a pod's port or a node in a way that is not served yet. */
const NOT_YET = [
  `${POD}/attach`,
  `${POD}/portforward`,
  `${POD}/proxy`,
  `${POD}/proxy/*`,
  "/api/v1/namespaces/:namespace/services/:name/proxy",
  "/api/v1/namespaces/:namespace/services/:name/proxy/*",
  "/api/v1/nodes/:name/proxy",
  "/api/v1/nodes/:name/proxy/*",
  "/api/v1/proxy/*",
  "/proxy/*",
];

/**
 * The routes. What is matched is the canonical path that {@linkcode readRequestTarget} made, never a URL that
 * something else has normalised.
 */
export function createApp(gate: Gate, forward: Forward): Handler {
  const app = new Hono<{ Bindings: Bindings }>({
    getPath: (_request, options) => options?.env?.target.path ?? "/",
  });

  const fallbacks = new FallbackMemory();

  /** Runs a step; whatever it throws is answered and written down, here and nowhere else. */
  const route = (step: Step, subresource?: string) => async (c: HonoContext) => {
    const { context, target } = c.env;
    const journey = new Journey(
      c.req.raw.method,
      context,
      target,
      subresource ? podRef(target, subresource) : undefined,
    );
    fallbacks.recall(journey);
    try {
      return await step(journey, c.req.raw);
    } catch (thrown) {
      fallbacks.keep(journey);
      return await refuse(gate, journey, thrown);
    }
  };
  type HonoContext = { env: Bindings; req: { raw: Request } };

  app.all(`${POD}/exec`, route((journey) => exec(journey, gate), "exec"));
  for (const path of NOT_YET) app.all(path, route(notYet));
  app.on(["PUT", "PATCH", "POST"], `${POD}/ephemeralcontainers`, route(notYet, "ephemeralcontainers"));
  app.all("*", route((journey, request) => plain(journey, request, forward)));

  return async (request, context) => {
    let target: RequestTarget;
    try {
      target = readRequestTarget(context.rawTarget);
    } catch (thrown) {
      return await refuse(
        gate,
        new Journey(request.method, context, { segments: [], path: "/", query: [] }),
        thrown,
      );
    }
    return await app.fetch(request, { context, target });
  };
}

async function refuse(gate: Gate, journey: Journey, thrown: unknown): Promise<Response> {
  const answer = answerOf(thrown);
  await recordRefusal(gate, journey, answer, thrown);
  return toResponse(answer, journey.auditId, journey.context.upgrade);
}

function notYet({ target }: Journey): Promise<Response> {
  const what = target.segments.find((segment) => NAMES.has(segment)) ?? "proxy";
  const message = `${what} is not served by this gateway yet; only exec is`;
  return Promise.reject(new Refusal("NotImplemented", message, { rule: "not-served" }));
}
const NAMES: ReadonlySet<string> = new Set(["attach", "portforward", "ephemeralcontainers"]);

function plain(journey: Journey, request: Request, forward: Forward): Promise<Response> {
  if (journey.context.upgrade === undefined) return passThrough(journey, request, forward);
  const message = "this path cannot be upgraded through the gateway";
  return Promise.reject(new Refusal("BadRequest", message, { rule: "upgrade" }));
}

function podRef({ segments }: RequestTarget, subresource: string) {
  return { resource: "pods", namespace: segments[3]!, name: segments[5]!, apiVersion: "v1", subresource };
}
