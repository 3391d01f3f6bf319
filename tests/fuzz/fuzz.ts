/** `deno task fuzz`: every parser, or one, fed with what nobody should send. Ends with 1 if a promise was broken. */

import { parseArgs } from "node:util";
import { Coverage } from "./coverage.ts";
import { type Finding, fuzz } from "./fuzzer.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets/all_targets.ts";
import { readVectors, writeVector } from "./vectors.ts";
import { Watchdog } from "./watchdog.ts";

const HELP = `Usage: deno task fuzz [--seconds N] [--only NAME,…] [--seed N]

  --seconds N    for all parsers together (default 600)
  --only NAME    these parsers alone: their names, or how they begin
  --seed N       repeats a run, as far as its time allows
  --list         the parsers and what is promised of them
`;

/** What one input may take before the process is ended, in milliseconds. */
const HANG_MS = 20_000;

/** Memory that no input has a reason for, in bytes. */
const MAX_RESIDENT_BYTES = 1 << 30;

/** The product's own code: what is covered of libraries says little. */
function isOurs(url: string): boolean {
  return url.startsWith("file://") && !url.includes("/node_modules/") && !url.includes("/tests/");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "600" },
      only: { type: "string", default: "" },
      seed: { type: "string", default: String(crypto.getRandomValues(new Uint32Array(1))[0]) },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return await say(HELP, 0);
  if (values.list) return await say(TARGETS.map(({ name, promise }) => `${name}: ${promise}\n`).join(""), 0);
  const only = values.only.split(",").filter((name) => name !== "");
  const targets = TARGETS.filter(({ name }) =>
    only.length === 0 || only.some((begin) => name.startsWith(begin))
  );
  const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
  if (targets.length === 0 || !(seconds > 0) || !Number.isInteger(seed)) return await say(HELP, 2);

  await say(`seed ${seed}, ${targets.length} parsers, ${seconds} seconds\n`);
  const findings = await fuzzAll(targets, { seed, budgetMs: seconds * 1000 / targets.length });
  for (const finding of findings) await tell(finding);
  return await say(`${targets.length} parsers, ${findings.length} findings\n`, findings.length > 0 ? 1 : 0);
}

async function fuzzAll(
  targets: readonly Target[],
  { seed, budgetMs }: { seed: number; budgetMs: number },
): Promise<Finding[]> {
  using coverage = await Coverage.start(isOurs);
  using watchdog = new Watchdog({ hangMs: HANG_MS });
  const findings: Finding[] = [];
  for (const [index, target] of targets.entries()) {
    const vectors = (await readVectors(target.name)).map(({ bytes }) => bytes);
    const result = await fuzz(target, {
      random: new Random(seed + index),
      coverage,
      budgetMs,
      vectors,
      onInput: (input) => watchdog.watch(input),
    });
    findings.push(...result.findings);
    const { runs, covered, corpus } = result;
    await say(
      `${
        target.name.padEnd(24)
      } ${runs} runs, ${covered} characters of code, ${corpus} inputs, ${result.findings.length} findings\n`,
    );
    const { rss } = Deno.memoryUsage();
    if (rss > MAX_RESIDENT_BYTES) {
      const thrown = new Error(`the process has grown to ${rss} bytes`);
      findings.push({ target: target.name, input: new Uint8Array(), thrown });
    }
  }
  return findings;
}

async function tell({ target, input, thrown }: Finding): Promise<void> {
  const path = await writeVector(target, input);
  const why = thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown);
  await say(
    `\n${target}: ${path}, ${input.length} bytes\n${
      JSON.stringify(new TextDecoder().decode(input.subarray(0, 200)))
    }\n${why}\n`,
  );
}

async function say(text: string, code = 0): Promise<number> {
  await Deno.stdout.write(new TextEncoder().encode(text));
  return code;
}

if (import.meta.main) Deno.exit(await main());
