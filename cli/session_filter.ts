import type { Filter } from "../catalog/filter.ts";
import { UsageError } from "./command.ts";

/** Which sessions are meant, as parseArguments knows it. */
export const FILTER_ARGUMENTS = {
  user: { type: "string" },
  namespace: { type: "string", short: "n" },
  pod: { type: "string" },
  container: { type: "string" },
  kind: { type: "string" },
  from: { type: "string" },
  to: { type: "string" },
  argv: { type: "string" },
  privileged: { type: "boolean" },
  denied: { type: "boolean" },
  live: { type: "boolean" },
} as const;

/** What `--help` says of it. */
export const FILTER_HELP = `  --user NAME             who authenticated, or as whom
  -n, --namespace NAME    --pod NAME    --container NAME
  --kind KIND             exec, attach, portforward, ephemeralcontainers or proxy
  --from TIME             requests that came then or later; --to TIME: before. A TIME is 2026-11-21T09:30:00Z,
                          2026-11-21 (its begin in UTC), or how long ago: 90s, 15m, 2h, 7d
  --argv TEXT             is in the command, in whatever case
  --privileged            the target is one that the policy guards for cluster-admins
  --denied                forbidden, the session or a connection in it
  --live                  opened, and not ended as far as the index knows`;

/** The filter that the arguments mean. @throws {UsageError} */
export function filterOf(
  { from, to, ...rest }: Omit<Filter, "from" | "to"> & { from?: string | undefined; to?: string | undefined },
  now = new Date(),
): Filter {
  return {
    ...rest,
    ...(from !== undefined && { from: parseTime("--from", from, now) }),
    ...(to !== undefined && { to: parseTime("--to", to, now) }),
  };
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** RFC 3339 in UTC. @throws {UsageError} */
function parseTime(option: string, text: string, now: Date): string {
  const [, count, unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (count !== undefined && unitMs !== undefined) {
    return new Date(now.getTime() - Number(count) * unitMs).toISOString();
  }
  const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const time = new Date(text);
  if (isTime && !Number.isNaN(time.getTime())) return time.toISOString();
  throw new UsageError(`expected a time such as 2026-11-21T09:30:00Z, 2026-11-21 or 2h after ${option}`);
}
