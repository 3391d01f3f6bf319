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

/** A collector that takes logs by OTLP over HTTP, and writes them to a file. */
export class Collector implements AsyncDisposable {
  readonly #file: string;
  readonly #child: Deno.ChildProcess;

  private constructor(readonly url: string, file: string, child: Deno.ChildProcess) {
    this.#file = file;
    this.#child = child;
  }

  /** @param folder where it writes to; what another wrote there stays */
  static async start(port: number, folder: string): Promise<Collector> {
    const file = join(folder, "collected.jsonl");
    const config = JSON.stringify({
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { file: { path: file } },
      service: { pipelines: { logs: { receivers: ["otlp"], exporters: ["file"] } } },
    });
    const child = new Deno.Command(await build(), {
      args: ["--config", `yaml:${config}`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await eventually("the collector listens", () => listens(port));
    return new Collector(`http://127.0.0.1:${port}/v1/logs`, file, child);
  }

  /** All that it took so far, in order. */
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
