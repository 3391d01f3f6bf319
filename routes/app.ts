import { Hono } from "hono";
import type { ObjectReference } from "../audit/event.ts";
import { Refusal } from "../kube/status.ts";
import { answerOf, toResponse } from "./answer.ts";
import { API_ROOT, type ApiGate, callApi } from "./api_call.ts";
import { command } from "./command.ts";
import { readCommandRequest, readKubeletCommand } from "./command_request.ts";
import { debug, type DebugGate } from "./debug.ts";
import { recordRefusal } from "./evidence.ts";
import { FallbackMemory } from "./fallback_memory.ts";
import type { Gate } from "./gate.ts";
import type { Handler, RequestContext } from "./handler.ts";
import { Journey } from "./journey.ts";
import { passThrough } from "./passthrough.ts";
import { readRequestTarget, type RequestTarget } from "./request_target.ts";
import { portForward } from "./port_forward.ts";
import { proxy, type ProxyGate } from "./proxy.ts";
import { Readiness } from "./readiness.ts";
import { run } from "./run.ts";
import {
  type KubeletAddress,
  noSuchPath,
  readKubeletAddress,
  readPodAddress,
  type SessionAddress,
} from "./session_address.ts";

/** What hono hands to a handler: the request as the front saw it, and its target as we read it. */
interface Bindings {
  context: RequestContext;
  target: RequestTarget;
}

type Step = (journey: Journey, request: Request) => Promise<Response>;

const POD = "/api/v1/namespaces/:namespace/pods/:name";
const SERVICE = "/api/v1/namespaces/:namespace/services/:name";
const NODE_PROXY = "/api/v1/nodes/:name/proxy";

/** The forms of path by which the OpenShift documents open sessions. */
const LEGACY = ["/proxy/*", "/api/v1/proxy/*"];

/** What reaches a pod's port or a service's as HTTP. */
const PROXIES = [POD, SERVICE].flatMap((path) => [`${path}/proxy`, `${path}/proxy/*`]);

/** Whether the gateway is ready, for whoever balances: it says nothing of anybody, so anybody may ask. */
const READY = "/readyz";

/**
 * The routes. What is matched is the canonical path that {@linkcode readRequestTarget} made, never a URL that
 * something else has normalised.
 *
 * @param readiness whether new sessions are taken: what would be upgraded is refused where they are not
 */
export function createApp(
  gate: Gate & DebugGate & ProxyGate & ApiGate,
  readiness: Readiness = new Readiness(),
): Handler {
  const app = new Hono<{ Bindings: Bindings }>({
    getPath: (_request, options) => options?.env?.target.path ?? "/",
  });

  const fallbacks = new FallbackMemory();

  /** Runs a step; whatever it throws is answered and written down, here and nowhere else. */
  const route = (step: Step, about?: (target: RequestTarget) => ObjectReference | undefined) =>
  async (
    c: { env: Bindings; req: { raw: Request } },
  ) => {
    const { context, target } = c.env;
    const journey = new Journey(c.req.raw.method, context, target, about?.(target), gate.watch);
    journey.learn({ commandMask: gate.commandMask });
    fallbacks.recall(journey);
    try {
      if (context.upgrade !== undefined) readiness.require();
      const answer = await journey.watch.run(() => step(journey, c.req.raw));
      journey.watch.answered(answer.status);
      return answer;
    } catch (thrown) {
      fallbacks.keep(journey);
      return await refuse(gate, journey, thrown);
    }
  };

  for (const kind of ["exec", "attach"] as const) {
    const step: Step = (journey) => command(journey, gate, readCommandRequest(journey.target, kind));
    app.all(`${POD}/${kind}`, route(step, (target) => podRef(readPodAddress(target, kind))));
  }
  const forwarding: Step = (journey) =>
    portForward(journey, gate, readPodAddress(journey.target, "portforward"));
  app.all(`${POD}/portforward`, route(forwarding, (target) => podRef(readPodAddress(target, "portforward"))));
  for (const path of PROXIES) app.all(path, route((journey, request) => proxy(journey, request, gate)));
  for (const path of [NODE_PROXY, `${NODE_PROXY}/*`]) {
    app.all(path, route((journey, request) => nodeProxy(journey, request, gate), kubeletRef));
  }
  const reads = ["GET", "HEAD"];
  app.on(reads, `${POD}/ephemeralcontainers`, route((journey, request) => plain(journey, request, gate)));
  app.all(`${POD}/ephemeralcontainers`, route((journey, request) => debug(journey, request, gate)));
  for (const path of LEGACY) app.all(path, route((journey) => legacy(journey, gate), kubeletRef));
  for (const path of [API_ROOT, `${API_ROOT}/*`]) {
    app.all(path, route((journey, request) => callApi(journey, request, gate)));
  }
  app.on(["GET", "HEAD"], READY, () => readiness.response());
  app.all("*", route((journey, request) => plain(journey, request, gate)));

  return async (request, context) => {
    let target: RequestTarget;
    try {
      target = readRequestTarget(context.rawTarget);
    } catch (thrown) {
      const unread = { segments: [], path: "/", query: [] };
      return await refuse(gate, new Journey(request.method, context, unread, undefined, gate.watch), thrown);
    }
    return await app.fetch(request, { context, target });
  };
}

async function refuse(gate: Gate, journey: Journey, thrown: unknown): Promise<Response> {
  const answer = answerOf(thrown);
  await recordRefusal(gate, journey, answer, thrown);
  return toResponse(answer, journey.auditId, journey.context.upgrade);
}

/** A session by one of the paths of the OpenShift documents. Nothing else was ever served there. */
function legacy(journey: Journey, gate: Gate): Promise<Response> {
  const address = readKubeletAddress(journey.target.segments);
  return address === undefined ? Promise.reject(noSuchPath()) : kubeletSession(journey, gate, address);
}

/** A session by a path of the node's kubelet, or another of its paths. */
function nodeProxy(journey: Journey, request: Request, gate: Gate & ProxyGate): Promise<Response> {
  const address = readKubeletAddress(journey.target.segments);
  return address === undefined ? proxy(journey, request, gate) : kubeletSession(journey, gate, address);
}

/** A session by a kubelet's own path. */
async function kubeletSession(journey: Journey, gate: Gate, address: KubeletAddress): Promise<Response> {
  const { kind, isRun } = address;
  if (kind === "portforward") return await portForward(journey, gate, address);
  const request = readKubeletCommand({ ...address, kind }, journey.target);
  return isRun ? await run(journey, gate, request) : await command(journey, gate, request);
}

function plain(journey: Journey, request: Request, { forward }: DebugGate): Promise<Response> {
  if (journey.context.upgrade === undefined) return passThrough(journey, request, forward);
  const message = "this path cannot be upgraded through the gateway";
  return Promise.reject(new Refusal("BadRequest", message, { rule: "upgrade" }));
}

function podRef({ namespace, pod: name, kind: subresource }: SessionAddress): ObjectReference {
  return { resource: "pods", namespace, name, apiVersion: "v1", subresource };
}

/** What a kubelet's path is about: the pod, and by which of its subresources, as the API would say it. */
function kubeletRef({ segments }: RequestTarget): ObjectReference | undefined {
  const address = readKubeletAddress(segments);
  return address && podRef(address);
}
