import type { z } from "zod";
import { describeValue, type Fault, type Path } from "./fault.ts";
import { gatewayConfiguration } from "./gateway_configuration.ts";
import { schemaAt } from "./json_schema.ts";

/** What a check of plain values came to. */
export type Checked =
  | { ok: true; value: z.output<typeof gatewayConfiguration> }
  | { ok: false; faults: Fault[] };

/** Checks plain values against the schema; every fault is found, not just the first. */
export function check(given: unknown): Checked {
  const result = gatewayConfiguration.safeParse(given);
  if (result.success) return { ok: true, value: result.data };
  const faults = result.error.issues.flatMap((issue) => faultsOf(issue, given));
  // A number out of two bounds is one fault: the first names both.
  const seen = new Set<string>();
  return {
    ok: false,
    faults: faults.filter(({ path }) => seen.size < seen.add(JSON.stringify(path)).size),
  };
}

function faultsOf(issue: z.core.$ZodIssue, given: unknown): Fault[] {
  const path = issue.path.map((step) => typeof step === "number" ? step : String(step));
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: unknownKey(key, knownKeys(path, given)),
    }));
  }
  return [{ path, message: `${issue.message}, got ${describeValue(valueAt(given, path))}` }];
}

function unknownKey(key: string, known: string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(name.toLowerCase(), key.toLowerCase()) }))
    .filter(({ distance }) => distance <= 3)
    .sort((a, b) => a.distance - b.distance);
  const hint = nearest ? `; did you mean ${nearest.name}?` : "";
  return `expected one of ${known.join(", ")}, got an unknown key${hint}`;
}

/** Keys that a section has; of a sink, those of its type. */
function knownKeys(path: Path, given: unknown): string[] {
  const schema = schemaAt(path);
  const type = valueAt(given, [...path, "type"]);
  const chosen = schema?.oneOf?.find(({ properties }) => properties?.type?.const === type) ?? schema;
  return Object.keys(chosen?.properties ?? {});
}

function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, step)) return undefined;
    here = Reflect.get(here, step);
  }
  return here;
}

/** Levenshtein distance; keys longer than 64 characters are no slip of the finger. */
function editDistance(a: string, b: string): number {
  if (a.length > 64 || b.length > 64) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
