import type { User } from "../../e2e/support/cluster.ts";
import type { Column } from "../columns.ts";
import type { Claims, Seen } from "../matrix.ts";

/** Who asks: a user of the cluster, or somebody whose token nobody knows. */
export type Asker = Exclude<User, "admin" | "carol"> | "stranger";

/** A token that no API server ever issued. */
export const STRANGERS_TOKEN = "not.a.token";

/** A command to run in a container. */
export interface ExecRequest {
  pod: string;
  container?: string;
  argv: readonly string[];
  /** Sent whole; then stdin is ended, by clients that can. Without it, there is no stdin. */
  stdin?: Uint8Array;
  tty?: boolean;
  /** @default {"root"} */
  user?: Asker;
}

/** What to do with a container's own process. */
export interface AttachRequest {
  pod: string;
  container: string;
  /** Sent once the session stands; then what it must be answered with is waited for. Without it, there is no stdin. */
  line?: string;
  /** What is waited for before the client leaves; without it the end of the session is. */
  until?: string;
  /** stdin is ended after the line. */
  endsStdin?: boolean;
  tty?: boolean;
}

/** What answered a client that was attached: each line with the text, once, and no numbers that count on. */
export function answerOf(output: string, until: string): string {
  const lines = output.split(/\r?\n/).filter((line) => line.includes(until));
  return [...new Set(lines.map((line) => line.replaceAll(/\d+/g, "N")))].join("\n");
}

/** Bytes through a forwarded port. */
export interface ForwardRequest {
  pod: string;
  /** Echoing ports of the pod, all at once. */
  ports: readonly number[];
  /** Sent to each, and must come back. */
  bytes: Uint8Array;
}

/** How most clients tell how a command ended. */
export function exitCode(code: number): Claims {
  return { "exit code": new RegExp(`^${code}$`) };
}

/** A client as people have it. What it cannot do is not there. */
export interface Client {
  name: string;
  /** What it speaks on the wire. */
  protocol: string;
  /** Whether it can end stdin and go on reading. */
  endsStdin: boolean;
  /** What is seen of a command that ended so. */
  ending(code: number): Claims;
  exec(at: Column, request: ExecRequest): Promise<Seen>;
  attach?(at: Column, request: AttachRequest): Promise<Seen>;
  forward?(at: Column, request: ForwardRequest): Promise<Seen>;
}
