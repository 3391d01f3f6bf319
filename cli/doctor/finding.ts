import type { Grant } from "./bypass.ts";

/** Every check, in the order in which they are made. */
export const CHECKS = [
  "version",
  "certificates",
  "keys",
  "sinks",
  "api-server",
  "clock",
  "token-review",
  "rbac",
  "rbac-excess",
  "kubelets",
  "bypass",
] as const;

/** The name of a check, as `--skip` takes it. */
export type CheckName = typeof CHECKS[number];

/** What one check found. */
export interface Finding {
  check: CheckName;
  /**
   * - `ok`: as it should be.
   * - `note`: nothing is wrong, but somebody should know.
   * - `wrong`: it must be mended; exit code 1.
   * - `unknown`: it could not be found out, from here or with these rights. By itself it does not make the exit code 1.
   */
  status: "ok" | "note" | "wrong" | "unknown";
  /** One sentence; may hold names from the cluster as they are. */
  message: string;
  /** How to mend it; always there where something is wrong. */
  remedy?: string;
  /** Of `bypass` alone: who, by what. */
  grant?: Grant;
}

/** What a check says, before it is said whose it is. */
export type Judgement = Omit<Finding, "check">;

export function ok(message: string): Judgement {
  return { status: "ok", message };
}

export function note(message: string, remedy?: string): Judgement {
  return { status: "note", message, ...(remedy !== undefined && { remedy }) };
}

export function wrong(message: string, remedy: string): Judgement {
  return { status: "wrong", message, remedy };
}

export function unknown(message: string, remedy?: string): Judgement {
  return { status: "unknown", message, ...(remedy !== undefined && { remedy }) };
}
