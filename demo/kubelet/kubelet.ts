import { join } from "node:path";
import { headerValues } from "../../protocol/http/response_head.ts";
import {
  negotiateStreamProtocol,
  type RequestedStreams,
  type StreamNegotiation,
} from "../../protocol/remote_command/mod.ts";
import type { Handler, HeaderLine, RequestContext } from "../../routes/handler.ts";
import type { ServedPod } from "../manifest.ts";
import { serveExec } from "./exec_session.ts";
import type { Identity, Webhook } from "./webhook.ts";

/** What a kubelet knows. */
export interface KubeletOptions {
  /** Says who is there, and whether they may. */
  webhook: Pick<Webhook, "authenticate" | "mayProxy">;
  /** The pods of this node. */
  pods: readonly ServedPod[];
  /** Holds `<pod>/<container>/`, each a container's home. */
  podsFolder: string;
  /** Where commands are found. */
  path: string;
}

/** How long a client may take to open its streams, in milliseconds; as a real kubelet's. */
const SETUP_TIMEOUT_MS = 30_000;

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
 * The kubelet of the embedded node: exec, over SPDY, into local processes. It asks the API server who is there and whether they
 * may use `nodes/proxy`, as a real one does, and answers in its words.
 */
export function createKubelet(options: KubeletOptions): Handler {
  return async (request, context) => {
    try {
      await requireAccess(request.method, context, options.webhook);
      return exec(request.method, context, options);
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

function exec(method: string, context: RequestContext, options: KubeletOptions): Response {
  const { pathname, searchParams: query } = new URL(context.rawTarget, "https://kubelet");
  const path = readPath(pathname);
  if (method !== "POST" && method !== "GET") {
    throw new Answer(405, "405: Method Not Allowed", [["Allow", "GET, POST"]]);
  }
  const streams = readStreams(query);
  const pod = findPod(path, options.pods);
  requireRunning(pod, path.container);
  const protocol = requireSpdy(context);
  if (context.upgrade === undefined) throw new Answer(500, "Upgrade request required\n");
  const folder = join(options.podsFolder, pod.metadata.name, path.container);
  const headers: HeaderLine[] = [
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", protocol],
  ];
  return context.upgrade.accept(headers, async (connection) => {
    await serveExec(connection, {
      ...streams,
      argv: query.getAll("command"),
      folder,
      env: environment(pod, path.container, folder, options.path),
      protocol,
      setupTimeoutMs: SETUP_TIMEOUT_MS,
      signal: context.signal,
    });
  });
}

interface ExecPath {
  namespace: string;
  name: string;
  uid: string | undefined;
  container: string;
}

/** `/exec/{namespace}/{pod}/{container}` or `/exec/{namespace}/{pod}/{uid}/{container}` */
function readPath(pathname: string): ExecPath {
  const [root, namespace = "", name = "", ...rest] = pathname.replace(/\/$/, "").split("/").slice(1);
  if (root !== "exec" || rest.length < 1 || rest.length > 2) throw new Answer(404, "404: Page Not Found");
  const container = decode(rest.at(-1) ?? "");
  const uid = rest.length === 2 ? decode(rest[0] ?? "") : undefined;
  return { namespace: decode(namespace), name: decode(name), uid, container };
}

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

function findPod({ namespace, name, uid }: ExecPath, pods: readonly ServedPod[]): ServedPod {
  const found = pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  if (found === undefined || (uid !== undefined && uid !== found.metadata.uid)) {
    throw new Answer(404, "pod does not exist");
  }
  return found;
}

function requireRunning({ status }: ServedPod, container: string): void {
  const all = [...status?.initContainerStatuses ?? [], ...status?.containerStatuses ?? []];
  if (all.some(({ name, state }) => name === container && state?.running !== undefined)) return;
  throw new Answer(500, `container not found (${JSON.stringify(container)})`);
}

function requireSpdy({ upgrade, rawHeaders }: RequestContext) {
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
  const negotiation = negotiateStreamProtocol(headerValues(rawHeaders, "x-stream-protocol-version"));
  if (!negotiation.ok) throw refused(negotiation);
  return negotiation.protocol;
}

function refused({ status, message, accepted }: Extract<StreamNegotiation, { ok: false }>): Answer {
  const lines = accepted.map((name): HeaderLine => ["X-Accepted-Stream-Protocol-Versions", name]);
  return new Answer(status, `${message}\n`, lines);
}

/** What a container's processes know of the world: nothing of the demo's own environment but where commands are. */
function environment(
  { metadata, spec }: ServedPod,
  container: string,
  folder: string,
  path: string,
): Record<string, string> {
  const all = [...spec?.initContainers ?? [], ...spec?.containers ?? []];
  const own = all.find(({ name }) => name === container)?.env ?? [];
  return {
    PATH: path,
    HOSTNAME: metadata.name,
    HOME: folder,
    LANG: "C.UTF-8",
    ...Object.fromEntries(own.map(({ name, value = "" }) => [name, value])),
  };
}
