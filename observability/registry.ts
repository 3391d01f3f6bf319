import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type Definition, DEFINITIONS, type MetricKey } from "./definitions.ts";

/** The keys of one type of metric. */
export type KeyOf<Type extends Definition["type"]> = {
  [Key in MetricKey]: (typeof DEFINITIONS)[Key]["type"] extends Type ? Key : never;
}[MetricKey];

/** Values of labels, in the order in which the definition names them. */
type Values = readonly string[];

/** The metrics of one process, made from {@linkcode DEFINITIONS} and nothing else. */
export class MetricRegistry {
  readonly #registry = new Registry();
  readonly #counters = new Map<MetricKey, Counter>();
  readonly #gauges = new Map<MetricKey, Gauge>();
  readonly #histograms = new Map<MetricKey, Histogram>();

  constructor() {
    const registers = [this.#registry];
    for (const key of keysOf(DEFINITIONS)) {
      const { name, type, help, labels = [], buckets = [] }: Definition = DEFINITIONS[key];
      const common = { name, help, labelNames: [...labels], registers };
      if (type === "counter") this.#counters.set(key, new Counter(common));
      else if (type === "gauge") this.#gauges.set(key, new Gauge(common));
      else this.#histograms.set(key, new Histogram({ ...common, buckets: [...buckets] }));
    }
  }

  /** Counts up. */
  add(key: KeyOf<"counter">, labels: Values, by = 1): void {
    this.#counters.get(key)!.labels(...labels).inc(by);
  }

  /** Says what a counter has come to that is counted somewhere else. */
  total(key: KeyOf<"counter">, totals: readonly (readonly [labels: Values, total: number])[]): void {
    const counter = this.#counters.get(key)!;
    counter.reset();
    for (const [labels, total] of totals) counter.labels(...labels).inc(total);
  }

  /** Says what a gauge shows, and all that it does. */
  show(key: KeyOf<"gauge">, values: readonly (readonly [labels: Values, value: number])[]): void {
    const gauge = this.#gauges.get(key)!;
    gauge.reset();
    for (const [labels, value] of values) gauge.labels(...labels).set(value);
  }

  /** Moves a gauge. */
  move(key: KeyOf<"gauge">, labels: Values, by: 1 | 0 | -1): void {
    this.#gauges.get(key)!.labels(...labels).inc(by);
  }

  observe(key: KeyOf<"histogram">, labels: Values, seconds: number): void {
    this.#histograms.get(key)!.labels(...labels).observe(seconds);
  }

  /** All of it, in the text format of Prometheus. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

function keysOf(definitions: typeof DEFINITIONS): MetricKey[] {
  const isKey = (key: string): key is MetricKey => key in definitions;
  return Object.keys(definitions).filter(isKey);
}
