import { headerValues } from "../../protocol/http/response_head.ts";
import { negotiateStreamProtocol, type RequestedStreams } from "../../protocol/remote_command/mod.ts";
import type { Handler, HeaderLine, RequestContext, Upgrade } from "../../routes/handler.ts";
import { negotiateStreams } from "../../protocol/port_forward/mod.ts";
import type { PodStore, ServedPod } from "../pod_store.ts";
import { serveAttach } from "./attach_session.ts";
import { serveExec } from "./exec_session.ts";
import type { Containers } from "./pod_runner.ts";
import { servePortForward } from "./port_forward_session.ts";
import type { Identity, Webhook } from "./webhook.ts";

/** What a kubelet knows. */
export interface KubeletOptions {
  /** Says who is there, and whether they may. */
  webhook: Pick<Webhook, "authenticate" | "mayProxy">;
  /** The pods of this node. */
  pods: Pick<PodStore, "find">;
  containers: Containers;
}

/** How long a client may take to open its streams, in milliseconds; as a real kubelet's. */
const SETUP_TIMEOUT_MS = 30_000;

/** How long a stream of a port-forward may wait for its other half, in milliseconds; as a real kubelet's. */
const PAIR_TIMEOUT_MS = 30_000;

/** What RBAC calls a request to a kubelet, by method. @see k8s.io/kubernetes pkg/kubelet/server/auth.go */
const VERBS: Readonly<Record<string, string>> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** An answer other than an upgrade, in a kubelet's plain words. */
class Answer extends Error {
  constructor(readonly status: number, text: string, readonly headers: readonly HeaderLine[] = []) {
    super(text);
  }

  toResponse(): Response {
    const headers = new Headers({ "Content-Type": "text/plain; charset=utf-8" });
    for (const [name, value] of this.headers) headers.append(name, value);
    return new Response(this.message, { status: this.status, headers });
  }
}

/**
 * The kubelet of the embedded node: exec, attach and port-forward, over SPDY, to local processes. It asks the API server who is there and whether they
 * may use `nodes/proxy`, as a real one does, and answers in its words.
 */
export function createKubelet(options: KubeletOptions): Handler {
  return async (request, context) => {
    try {
      await requireAccess(request.method, context, options.webhook);
      return serve(request.method, context, options);
    } catch (thrown) {
      if (thrown instanceof Answer) return thrown.toResponse();
      throw thrown;
    }
  };
}

/** Before anything is routed: who may not use the kubelet does not learn what it has. */
async function requireAccess(
  method: string,
  { rawHeaders }: RequestContext,
  webhook: KubeletOptions["webhook"],
): Promise<void> {
  const [authorization = ""] = headerValues(rawHeaders, "authorization");
  const token = /^Bearer (.+)$/i.exec(authorization)?.[1] ?? "";
  const verb = VERBS[method] ?? "";
  let user: Identity | undefined;
  let isAllowed: boolean;
  try {
    user = await webhook.authenticate(token);
    if (user === undefined) throw new Answer(401, "Unauthorized");
    isAllowed = await webhook.mayProxy(user, verb);
  } catch (thrown) {
    if (thrown instanceof Answer) throw thrown;
    const who = user?.username ?? "";
    throw new Answer(
      500,
      `Authorization error (user=${who}, verb=${verb}, resource=nodes, subresource=proxy)`,
    );
  }
  if (isAllowed) return;
  const text = `Forbidden (user=${user.username}, verb=${verb}, resource=nodes, subresource(s)=[proxy])\n`;
  throw new Answer(403, text);
}

/** What a request asks of a pod. */
interface Asked {
  context: RequestContext;
  query: URLSearchParams;
  pod: ServedPod;
  /** Empty where the path names none. */
  container: string;
  containers: Containers;
}

function serve(method: string, context: RequestContext, { pods, containers }: KubeletOptions): Response {
  const { pathname, searchParams: query } = new URL(context.rawTarget, "https://kubelet");
  const { serve, namespace, name, uid, container } = readPath(pathname);
  if (method !== "POST" && method !== "GET") {
    throw new Answer(405, "405: Method Not Allowed", [["Allow", "GET, POST"]]);
  }
  if (serve !== portForward) readStreams(query);
  const pod = pods.find(namespace, name);
  if (pod === undefined || (uid !== undefined && uid !== pod.metadata.uid)) {
    throw new Answer(404, "pod does not exist");
  }
  return serve({ context, query, pod, container, containers });
}

function exec({ context, query, pod, container, containers }: Asked): Response {
  const running = containers.find(pod, container);
  if (running === undefined) throw new Answer(500, `container not found (${JSON.stringify(container)})`);
  const { protocol, upgrade } = requireSpdy(context, negotiateStreamProtocol);
  return upgrade(async (connection) => {
    await serveExec(connection, {
      ...readStreams(query),
      argv: query.getAll("command"),
      folder: running.folder,
      env: running.env,
      protocol,
      setupTimeoutMs: SETUP_TIMEOUT_MS,
      signal: AbortSignal.any([context.signal, running.signal]),
    });
  });
}

function attach({ context, query, pod, container, containers }: Asked): Response {
  const running = containers.find(pod, container);
  if (running === undefined) {
    const { namespace, name } = pod.metadata;
    throw new Answer(500, `container ${container} not found in pod ${name}_${namespace}`);
  }
  const streams = readStreams(query);
  // Whether there is a terminal is the container's affair, whatever the client says.
  if (running.process.isTerminal && streams.stderr) {
    const text = "rpc error: code = InvalidArgument desc = tty and stderr cannot both be true";
    throw new Answer(500, text);
  }
  const { protocol, upgrade } = requireSpdy(context, negotiateStreamProtocol);
  return upgrade(async (connection) => {
    const { process } = running;
    const { signal } = context;
    await serveAttach(connection, {
      ...streams,
      process,
      protocol,
      setupTimeoutMs: SETUP_TIMEOUT_MS,
      signal,
    });
  });
}

function portForward({ context, pod, containers }: Asked): Response {
  const { upgrade } = requireSpdy(context, negotiateStreams);
  return upgrade(async (connection) => {
    await servePortForward(connection, {
      findPort: (port) => containers.findPort(pod, port),
      pairTimeoutMs: PAIR_TIMEOUT_MS,
      signal: context.signal,
    });
  });
}

interface KubeletPath {
  serve: (asked: Asked) => Response;
  namespace: string;
  name: string;
  uid: string | undefined;
  container: string;
}

/** `/exec/{namespace}/{pod}[/{uid}]/{container}`, `/attach/…` alike, `/portForward/{namespace}/{pod}[/{uid}]`. */
function readPath(pathname: string): KubeletPath {
  const [root = "", ...segments] = pathname.replace(/\/$/, "").split("/").slice(1).map(decode);
  const [namespace, name, ...rest] = segments;
  const serve = Object.hasOwn(SERVED, root) ? SERVED[root] : undefined;
  const container = serve === portForward ? "" : rest.pop();
  const isWhole = namespace !== undefined && name !== undefined && container !== undefined;
  if (serve === undefined || !isWhole || rest.length > 1) throw new Answer(404, "404: Page Not Found");
  return { serve, namespace, name, uid: rest[0], container };
}

const SERVED: Readonly<Record<string, KubeletPath["serve"]>> = { exec, attach, portForward };

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Answer(400, "400: Bad Request");
  }
}

/** Only a plain 1 is yes. A terminal has no stderr of its own. @see k8s.io/kubelet pkg/cri/streaming/remotecommand, NewOptions */
function readStreams(query: URLSearchParams): RequestedStreams {
  const flag = (name: string) => query.get(name) === "1";
  const [stdin, stdout, stderr, tty] = [flag("input"), flag("output"), flag("error"), flag("tty")];
  if (!stdin && !stdout && !stderr) {
    throw new Answer(400, "you must specify at least 1 of stdin, stdout, stderr");
  }
  return { stdin, stdout, stderr: stderr && !tty, tty };
}

/** What an upgrade agrees on. */
type Negotiate<T extends string> = (offers: readonly string[]) => { ok: true; protocol: T } | Disagreement;

interface Disagreement {
  ok: false;
  status: number;
  message: string;
  accepted: readonly string[];
}

/** Agrees on SPDY, and on what is spoken over it. @returns how to switch to it */
function requireSpdy<T extends string>({ upgrade, rawHeaders }: RequestContext, negotiate: Negotiate<T>) {
  const has = (header: string, word: string) => {
    return headerValues(rawHeaders, header)[0]?.toLowerCase().includes(word) === true;
  };
  if (upgrade === undefined || !has("connection", "upgrade")) {
    throw new Answer(500, "Upgrade request required\n");
  }
  if (!has("upgrade", "spdy/3.1")) {
    throw new Answer(
      400,
      "unable to upgrade: missing upgrade headers in request: SPDY/3.1 is all that is spoken\n",
    );
  }
  const negotiation = negotiate(headerValues(rawHeaders, "x-stream-protocol-version"));
  if (!negotiation.ok) throw refused(negotiation);
  const { protocol } = negotiation;
  const headers: HeaderLine[] = [
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", protocol],
  ];
  return { protocol, upgrade: (run: Parameters<Upgrade["accept"]>[1]) => upgrade.accept(headers, run) };
}

function refused({ status, message, accepted }: Disagreement): Answer {
  const lines = accepted.map((name): HeaderLine => ["X-Accepted-Stream-Protocol-Versions", name]);
  return new Answer(status, `${message}\n`, lines);
}
