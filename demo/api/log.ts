import { Refusal } from "../../kube/status.ts";
import type { ContainerLog, LogLine } from "../kubelet/container_log.ts";
import type { ServedPod } from "../pod_store.ts";

/** The log of a container that runs; empty where its process prints nothing. */
export type FindLog = (pod: ServedPod, container: string) => ContainerLog;

/**
 * Answers `pods/log`, with `container`, `follow`, `tailLines`, `sinceSeconds` and `timestamps`.
 *
 * @throws {Refusal} BadRequest where there is no such container, or none that could have printed
 * @see k8s.io/kubernetes pkg/registry/core/pod/strategy.go, LogLocation
 */
export function answerLog(
  pod: ServedPod,
  query: URLSearchParams,
  findLog: FindLog,
  ended: AbortSignal,
): Response {
  const container = chooseContainer(pod, query.get("container") ?? "");
  requireStarted(pod, container);
  if (isSet(query, "previous")) {
    const message = `previous terminated container "${container}" in pod "${pod.metadata.name}" not found`;
    throw new Refusal("BadRequest", message);
  }
  const log = findLog(pod, container);
  const format = ({ at, text }: LogLine) => isSet(query, "timestamps") ? `${at} ${text}\n` : `${text}\n`;
  const text = select(log.lines, query).map(format).join("");
  const headers = { "Content-Type": "text/plain" };
  if (!isSet(query, "follow")) return new Response(text, { headers });
  return new Response(followed(log, text, format, ended), { headers });
}

function chooseContainer(pod: ServedPod, asked: string): string {
  const { name } = pod.metadata;
  const { initContainers = [], containers = [], ephemeralContainers = [] } = pod.spec ?? {};
  const names = [...initContainers, ...containers, ...ephemeralContainers].map(({ name }) => name);
  if (asked === "" && containers.length === 1) return containers[0]!.name;
  if (asked === "") {
    const message = `a container name must be specified for pod ${name}, choose one of: [${names.join(" ")}]`;
    throw new Refusal("BadRequest", message);
  }
  if (!names.includes(asked)) {
    throw new Refusal("BadRequest", `container ${asked} is not valid for pod ${name}`);
  }
  return asked;
}

function requireStarted({ metadata, status }: ServedPod, container: string): void {
  const all = [...status?.initContainerStatuses ?? [], ...status?.containerStatuses ?? []];
  const waiting = all.find(({ name }) => name === container)?.state?.waiting;
  if (waiting === undefined) return;
  const where = `container "${container}" in pod "${metadata.name}"`;
  throw new Refusal("BadRequest", `${where} is waiting to start: ${waiting.reason}`);
}

function select(lines: readonly LogLine[], query: URLSearchParams): readonly LogLine[] {
  const sinceSeconds = natural(query, "sinceSeconds");
  const tailLines = natural(query, "tailLines");
  const since = sinceSeconds === undefined ? 0 : Date.now() - sinceSeconds * 1000;
  const recent = lines.filter(({ at }) => Date.parse(at) >= since);
  return tailLines === undefined ? recent : recent.slice(Math.max(0, recent.length - tailLines));
}

/** The text, then every line that is printed from now on. A reader that is too slow misses lines: they are kept for nobody. */
function followed(
  log: ContainerLog,
  text: string,
  format: (line: LogLine) => string,
  ended: AbortSignal,
): ReadableStream<Uint8Array> {
  const utf8 = new TextEncoder();
  let forget = () => {};
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const end = () => {
        forget();
        controller.close();
      };
      const unfollow = log.follow((line) => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(utf8.encode(format(line)));
      });
      forget = () => {
        unfollow();
        ended.removeEventListener("abort", end);
      };
      ended.addEventListener("abort", end);
      if (text !== "") controller.enqueue(utf8.encode(text));
    },
    cancel: () => forget(),
  }, new ByteLengthQueuingStrategy({ highWaterMark: 1 << 20 }));
}

function isSet(query: URLSearchParams, name: string): boolean {
  return ["1", "true"].includes(query.get(name)?.toLowerCase() ?? "");
}

function natural(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) {
    throw new Refusal("BadRequest", `${name} must be a number, not ${JSON.stringify(text)}`);
  }
  return Number(text);
}
