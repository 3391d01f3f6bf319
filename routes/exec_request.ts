import { Refusal } from "../kube/status.ts";
import type { RequestTarget } from "./request_target.ts";

/** What a client asks of a pod's exec or attach, read as the API server reads it. */
export interface CommandRequest {
  namespace: string;
  pod: string;
  /** `undefined` where the request names none. */
  container: string | undefined;
  /** The words of the command, never passed through a shell. May be empty: the runtime says so. */
  command: readonly string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/**
 * Reads the parameters of `…/namespaces/{namespace}/pods/{pod}/exec`.
 *
 * @throws {Refusal} BadRequest
 * @see k8s.io/apimachinery pkg/runtime/conversion.go: absent, `0` and `false` are false, all else is true, the empty word too
 */
export function readCommandRequest({ segments, query }: RequestTarget): CommandRequest {
  const values = (key: string) => query.filter(([name]) => name === key).map(([, value]) => value);
  const flag = (key: string) => {
    const [first] = values(key);
    return first !== undefined && first !== "0" && first.toLowerCase() !== "false";
  };
  if (values("dryRun").length > 0) throw new Refusal("BadRequest", "dryRun is not supported");
  return {
    namespace: segments[3]!,
    pod: segments[5]!,
    container: values("container")[0] || undefined,
    command: values("command"),
    stdin: flag("stdin"),
    stdout: flag("stdout"),
    stderr: flag("stderr"),
    tty: flag("tty"),
  };
}
