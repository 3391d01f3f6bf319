/** Reads what `/metrics` answers, for tests: the text format of Prometheus, strictly. */

/** One metric and all its series. */
export interface Family {
  type: string;
  help: string;
  /** Names of labels that were seen, `le` aside. */
  labels: Set<string>;
}

/** What was read. */
export interface Exposition {
  families: ReadonlyMap<string, Family>;
  /** By name and labels as they stand there. */
  samples: ReadonlyMap<string, number>;
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/**
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 * @throws {Error} where a line is none of the format, or a sample belongs to nothing
 */
export function parseText(text: string): Exposition {
  const families = new Map<string, Family>();
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, comment, name = "", said = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (comment !== undefined) {
      const family = families.get(name) ?? { type: "", help: "", labels: new Set() };
      if (comment === "HELP") family.help = said;
      else family.type = said;
      families.set(name, family);
      continue;
    }
    const [, sample = "", labels = "", value] = SAMPLE.exec(line) ?? [];
    const family = families.get(sample) ?? families.get(sample.replace(/_(bucket|sum|count)$/, ""));
    if (value === undefined || family === undefined) throw new Error(`no sample of any metric: ${line}`);
    for (const [label] of labelsOf(labels)) if (label !== "le") family.labels.add(label);
    const key = labels === "" ? sample : `${sample}{${labels}}`;
    if (samples.has(key)) throw new Error(`twice: ${key}`);
    samples.set(key, Number(value.replace("Inf", "Infinity")));
  }
  return { families, samples };
}

/** @throws {Error} */
function labelsOf(text: string): [name: string, value: string][] {
  const labels: [string, string][] = [];
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const found = LABEL.exec(text);
    if (found === null) throw new Error(`no labels: ${text}`);
    labels.push([found[1] ?? "", found[2] ?? ""]);
  }
  return labels;
}

/** Units that a name may end with where it is no count. */
const UNITS = /_(seconds|bytes|info|total)$/;

/** What may not be a label: each has as many values as there are people, pods and sessions. */
const UNBOUNDED = /user|group|pod|namespace|container|node|address|session|audit|path|command/;

/** What `promtool check metrics` finds, and what this project forbids on top. @returns one sentence for each fault */
export function lint(text: string): string[] {
  const faults: string[] = [];
  for (const [name, { type, help, labels }] of parseText(text).families) {
    const fault = (what: string) => faults.push(`${name}: ${what}`);
    if (!/^[a-z][a-z0-9_]*$/.test(name)) fault("is no snake_case");
    if (help === "") fault("has no help");
    if (!["counter", "gauge", "histogram"].includes(type)) fault(`is of type ${type}`);
    if ((type === "counter") !== name.endsWith("_total")) {
      fault("_total is for counters, and for all of them");
    }
    if (type === "histogram" && !UNITS.test(name)) fault("has no unit");
    if (/_(milliseconds|ms|minutes|kilobytes|kb|mb)(_|$)/.test(name)) fault("is in no base unit");
    if (/_(count|sum|bucket)$/.test(name)) fault("ends as a histogram's parts do");
    for (const label of labels) {
      if (!/^[a-z][a-z0-9_]*$/.test(label)) fault(`its label ${label} is no snake_case`);
      if (UNBOUNDED.test(label)) fault(`its label ${label} has too many values`);
    }
  }
  return faults;
}
