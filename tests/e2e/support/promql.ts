/** Prometheus's own engine: built from `promql/` by Go. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const MODULE = fileURLToPath(new URL("promql", import.meta.url));

const answers = z.array(
  z.object({
    error: z.string().optional(),
    series: z.array(z.object({ labels: z.record(z.string(), z.string()).nullable(), value: z.string() }))
      .nullable(),
  }),
);

/** What Prometheus has. */
export interface Scraped {
  /** Texts of `/metrics`, fifteen seconds apart. */
  scrapes: readonly string[];
  /** What Prometheus adds to every series. */
  labels: Readonly<Record<string, string>>;
}

/** One series of an answer. The value may be `NaN` or `+Inf`. */
export interface Series {
  labels: Record<string, string>;
  value: number;
}

/** Answers questions out of what was scraped. */
export class PromQL implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  /** A minute the first time; Go itself keeps what it compiled. */
  static async build(): Promise<PromQL> {
    const folder = await Deno.makeTempDir({ prefix: "postern-promql-" });
    const args = ["build", "-trimpath", "-buildvcs=false", "-o", join(folder, "promql"), "."];
    const { success, stderr } = await new Deno.Command("go", { args, cwd: MODULE }).output();
    if (!success) {
      await Deno.remove(folder, { recursive: true });
      throw new Error(`PromQL cannot be built: ${new TextDecoder().decode(stderr)}`);
    }
    return new PromQL(folder);
  }

  /** @returns to each question its series, in order @throws {Error} what the engine finds wrong with a question */
  async ask(scraped: Scraped, queries: readonly string[]): Promise<Series[][]> {
    const child = new Deno.Command(join(this.folder, "promql"), {
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(JSON.stringify({ ...scraped, queries })));
    await writer.close();
    const { success, stdout, stderr } = await child.output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return answers.parse(JSON.parse(new TextDecoder().decode(stdout))).map(({ error, series }, i) => {
      if (error !== undefined) throw new Error(`${queries[i]}: ${error}`);
      return (series ?? []).map(({ labels, value }) => ({
        labels: labels ?? {},
        value: Number(value.replace("Inf", "Infinity")),
      }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}
