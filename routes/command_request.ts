import { Refusal } from "../kube/status.ts";
import type { RequestTarget } from "./request_target.ts";
import { type KubeletAddress, readPodAddress, type SessionAddress } from "./session_address.ts";

/** What a client asks of a container by exec or attach. */
export interface CommandRequest extends SessionAddress {
  kind: "exec" | "attach";
  /** The words of the command, never passed through a shell. May be empty: the runtime says so. An attach has none. */
  command: readonly string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

type Query = RequestTarget["query"];

/**
 * Reads the parameters of `…/namespaces/{namespace}/pods/{pod}/exec` and `…/attach` as the API server reads them.
 *
 * @throws {Refusal} BadRequest
 */
export function readCommandRequest(target: RequestTarget, kind: "exec" | "attach"): CommandRequest {
  const { query } = target;
  if (values(query, "dryRun").length > 0) throw new Refusal("BadRequest", "dryRun is not supported");
  return {
    ...readPodAddress(target, kind),
    kind,
    command: kind === "exec" ? values(query, "command") : [],
    stdin: apiFlag(query, "stdin"),
    stdout: apiFlag(query, "stdout"),
    stderr: apiFlag(query, "stderr"),
    tty: apiFlag(query, "tty"),
  };
}

/** What a kubelet's `run` gathers. */
const OUTPUT = { stdin: false, stdout: true, stderr: true, tty: false };

/** The names of the stream parameters: the API's, and the kubelet's. */
const FLAGS = { stdin: "input", stdout: "output", stderr: "error", tty: "tty" } as const;

/**
 * Reads the parameters of a kubelet's path: its own (`input=1`), and on the paths of the OpenShift documents the API's
 * too. Those documents name none but `command`, and clients that open stdin, stdout and stderr: a request that
 * says nothing of streams means these.
 */
export function readKubeletCommand(
  address: KubeletAddress & { kind: "exec" | "attach" },
  { query }: RequestTarget,
): CommandRequest {
  // One parameter, cut at each single space: there is no quoting, and two spaces hold an empty word between them (E-24).
  const words = values(query, "cmd")[0]?.split(" ") ?? [""];
  if (address.isRun) return { ...address, command: words, ...OUTPUT };
  const isLegacy = address.form === "legacy";
  const named = Object.entries(FLAGS).flat();
  const isSilent = isLegacy && !query.some(([name]) => named.includes(name));
  const flag = (name: keyof typeof FLAGS) =>
    kubeletFlag(query, FLAGS[name]) || (isLegacy && apiFlag(query, name));
  return {
    ...address,
    command: address.kind === "exec" ? values(query, "command") : [],
    stdin: isSilent || flag("stdin"),
    stdout: isSilent || flag("stdout"),
    stderr: isSilent || flag("stderr"),
    tty: flag("tty"),
  };
}

/**
 * Absent, `0` and `false` are false, all else is true, the empty word too.
 *
 * @see k8s.io/apimachinery pkg/runtime/conversion.go
 */
function apiFlag(query: Query, name: string): boolean {
  const [first] = values(query, name);
  return first !== undefined && first !== "0" && first.toLowerCase() !== "false";
}

/** Only `1` is true. @see k8s.io/kubelet pkg/cri/streaming/remotecommand, NewOptions */
function kubeletFlag(query: Query, name: string): boolean {
  return values(query, name)[0] === "1";
}

function values(query: Query, name: string): string[] {
  return query.filter(([key]) => key === name).map(([, value]) => value);
}
