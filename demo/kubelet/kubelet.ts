import { join } from "node:path";
import { headerValues } from "../../protocol/http/response_head.ts";
import { negotiateStreamProtocol } from "../../protocol/remote_command/mod.ts";
import type { Handler, HeaderLine, RequestContext } from "../../routes/handler.ts";
import type { ClusterState, ServedPod } from "../manifest.ts";
import { evaluate } from "../rbac/evaluate.ts";
import { serveExec } from "./exec_session.ts";

/** Where the containers' folders are, and what their processes may know of the world. */
export interface KubeletOptions {
  /** Holds `<pod>/<container>/`, each a container's home. */
  podsFolder: string;
  /** Where commands are found. */
  path: string;
}

/** How long a client may take to open its streams, in milliseconds; as a real kubelet's. */
const SETUP_TIMEOUT_MS = 30_000;

/**
 * The kubelet of the embedded node: exec, over SPDY, into local processes. It asks who is there and whether they may use
 * `nodes/proxy`, as a real one does, and answers in its words.
 */
export function createKubelet(state: ClusterState, options: KubeletOptions): Handler {
  return (request, context) => Promise.resolve(answer(request.method, context, state, options));
}

function answer(
  method: string,
  context: RequestContext,
  state: ClusterState,
  options: KubeletOptions,
): Response {
  const [authorization = ""] = headerValues(context.rawHeaders, "authorization");
  const user = state.users.get(/^Bearer (.+)$/i.exec(authorization)?.[1] ?? "");
  if (user === undefined) return text(401, "Unauthorized");
  const verb = method === "POST" ? "create" : "get";
  const access = { verb, group: "", resource: "nodes", subresource: "proxy", name: "demo-node" };
  if (evaluate(state.policy, user, access) === undefined) {
    return text(
      403,
      `Forbidden (user=${user.username}, verb=${verb}, resource=nodes, subresource(s)=[proxy])\n`,
    );
  }
  const url = new URL(context.rawTarget, "https://kubelet");
  const segments = url.pathname.split("/").slice(1).map(decodeURIComponent);
  if (segments[0] !== "exec" || segments.length < 4 || segments.length > 5) {
    return text(404, "404: Page Not Found");
  }
  if (method !== "POST" && method !== "GET") {
    return text(405, "405: Method Not Allowed", [["Allow", "GET, POST"]]);
  }
  return exec(context, url.searchParams, segments, state, options);
}

function exec(
  context: RequestContext,
  query: URLSearchParams,
  segments: readonly string[],
  state: ClusterState,
  options: KubeletOptions,
): Response {
  const [, namespace, name, ...rest] = segments;
  const [uid, container] = rest.length === 2 ? rest : [undefined, rest[0]];
  const flag = (key: string) => query.get(key) === "1";
  const tty = flag("tty");
  const streams = { stdin: flag("input"), stdout: flag("output"), stderr: flag("error") && !tty, tty };
  if (!streams.stdin && !streams.stdout && !flag("error")) {
    return text(400, "you must specify at least 1 of stdin, stdout, stderr");
  }
  const pod = state.pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  if (pod === undefined || (uid !== undefined && uid !== pod.metadata.uid)) {
    return text(404, "pod does not exist");
  }
  if (!isRunning(pod, container ?? "")) return text(500, `container not found ("${container}")`);
  if (context.upgrade === undefined) return text(500, "Upgrade request required\n");
  const negotiation = negotiateStreamProtocol(headerValues(context.rawHeaders, "x-stream-protocol-version"));
  if (!negotiation.ok) {
    const accepted = negotiation.accepted.map((
      each,
    ): HeaderLine => ["X-Accepted-Stream-Protocol-Versions", each]);
    return text(negotiation.status, `${negotiation.message}\n`, accepted);
  }
  const { protocol } = negotiation;
  const headers: HeaderLine[] = [
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", protocol],
  ];
  const folder = join(options.podsFolder, pod.metadata.name, container!);
  const env = { PATH: options.path, HOME: folder, HOSTNAME: pod.metadata.name, LANG: "C.UTF-8", PWD: folder };
  const argv = query.getAll("command");
  return context.upgrade.accept(headers, async (connection) => {
    await serveExec(connection, {
      ...streams,
      argv,
      folder,
      env,
      protocol,
      setupTimeoutMs: SETUP_TIMEOUT_MS,
    });
  });
}

function isRunning({ status }: ServedPod, container: string): boolean {
  const all = [...status?.initContainerStatuses ?? [], ...status?.containerStatuses ?? []];
  return all.some(({ name, state }) => name === container && state?.running !== undefined);
}

/** Kubelets speak plain text. */
function text(status: number, body: string, headers: readonly HeaderLine[] = []): Response {
  return new Response(body, {
    status,
    headers: [
      ["Content-Type", "text/plain; charset=utf-8"],
      ...headers.map(([name, value]): [string, string] => [name, value]),
    ],
  });
}
