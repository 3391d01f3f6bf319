import type { Decision } from "./decision.ts";

/** A port, or all from one to another, both included. */
export type PortRange = number | { from: number; to: number };

const RULE = "forwarded-port";

/**
 * Which ports of a pod may be forwarded. Asked for each connection, for a client names them as it goes along.
 *
 * @param port in the pod, 1..65535
 * @param allowed none is every port
 */
export function checkForwardedPort(port: number, allowed: readonly PortRange[]): Decision {
  const isAllowed = allowed.length === 0 || allowed.some((range) => isWithin(port, range));
  if (isAllowed) {
    return { allowed: true, rule: RULE, reason: `port ${port} may be forwarded`, obligations: [] };
  }
  const reason = `port ${port} is not among those that may be forwarded (rule ${RULE})`;
  return { allowed: false, rule: RULE, reason };
}

function isWithin(port: number, range: PortRange): boolean {
  return typeof range === "number" ? port === range : range.from <= port && port <= range.to;
}
