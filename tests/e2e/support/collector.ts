/** A real OpenTelemetry collector: built from `collector/` by Go, once, and started by a test. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { layout } from "../../cluster/layout.ts";
import { run } from "../../cluster/processes.ts";
import { eventually } from "./wait.ts";

const MODULE = fileURLToPath(new URL("collector", import.meta.url));

/** What a log record says, as the collector writes it. Numbers of 64 bits are strings. */
export interface ReceivedRecord {
  timeUnixNano: string;
  severityNumber: number;
  severityText: string;
  eventName: string;
  body: { stringValue: string };
  attributes: { key: string; value: Record<string, unknown> }[];
}

/** What a span says, as the collector writes it. */
export interface CollectedSpan {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
}

/** A collector that takes logs and traces by OTLP over HTTP, and writes them to files. */
export class Collector implements AsyncDisposable {
  readonly #file: string;
  readonly #spansFile: string;
  readonly #child: Deno.ChildProcess;

  /** @param url of the receiver, without a path */
  private constructor(readonly url: string, folder: string, child: Deno.ChildProcess) {
    [this.#file, this.#spansFile] = filesIn(folder);
    this.#child = child;
  }

  /** @param folder where it writes to; what another wrote there stays */
  static async start(port: number, folder: string): Promise<Collector> {
    const [logs, traces] = filesIn(folder);
    const config = JSON.stringify({
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { "file/logs": { path: logs }, "file/traces": { path: traces } },
      service: {
        pipelines: {
          logs: { receivers: ["otlp"], exporters: ["file/logs"] },
          traces: { receivers: ["otlp"], exporters: ["file/traces"] },
        },
      },
    });
    const child = new Deno.Command(await build(), {
      args: ["--config", `yaml:${config}`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await eventually("the collector listens", () => listens(port));
    return new Collector(`http://127.0.0.1:${port}`, folder, child);
  }

  /** All spans that it took so far. */
  async spans(): Promise<CollectedSpan[]> {
    const lines = (await Deno.readTextFile(this.#spansFile)).split("\n").slice(0, -1);
    return lines.flatMap((line) =>
      JSON.parse(line).resourceSpans.flatMap((resource: { scopeSpans: { spans: CollectedSpan[] }[] }) =>
        resource.scopeSpans.flatMap(({ spans }) => spans)
      )
    );
  }

  /** All log records that it took so far, in order. */
  async records(): Promise<ReceivedRecord[]> {
    const lines = (await Deno.readTextFile(this.#file)).split("\n").slice(0, -1);
    return lines.flatMap((line) =>
      JSON.parse(line).resourceLogs.flatMap((resource: { scopeLogs: { logRecords: ReceivedRecord[] }[] }) =>
        resource.scopeLogs.flatMap(({ logRecords }) => logRecords)
      )
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
  }
}

/** Where it writes logs, and traces. */
function filesIn(folder: string): [logs: string, traces: string] {
  return [join(folder, "collected.jsonl"), join(folder, "collected_spans.jsonl")];
}

/** A minute the first time; Go itself knows what has changed since. @returns the program's path */
async function build(): Promise<string> {
  const program = join(layout().bin, "otel-collector");
  await run(["go", "build", "-trimpath", "-buildvcs=false", "-o", program, "."], { cwd: MODULE });
  return program;
}

async function listens(port: number): Promise<true | undefined> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return undefined;
  }
}
