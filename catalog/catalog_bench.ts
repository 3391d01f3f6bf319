import { SqlCatalog } from "./sql_catalog.ts";
import { SqliteStore } from "./stores/sqlite.ts";
import { wholeSession } from "./test_events.ts";

/**
 * What the index in SQLite costs the thread that it shares with sessions: `deno run -A catalog/catalog_bench.ts [SESSIONS]`.
 *
 * Applied is what the feed applies at once. Whatever takes longer than a few milliseconds is felt in terminals.
 */
async function measure(path: string, sessions: number): Promise<string[]> {
  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  const applied: number[] = [];
  const begun = performance.now();
  for (let index = 0; index < sessions; index += 10) {
    const events = Array.from({ length: 10 }, (_, offset) =>
      wholeSession({
        auditId: crypto.randomUUID(),
        minute: (index + offset) / 10,
        user: `user-${index % 97}`,
        argv: ["sh", "-c", `psql --dbname orders-${index} --command 'select 1'`],
      })).flat();
    const start = performance.now();
    await catalog.apply(events);
    applied.push(performance.now() - start);
  }
  const seconds = (performance.now() - begun) / 1000;
  const lines = [
    `${sessions} sessions of 6 events: ${Math.round(sessions * 6 / seconds)} events/s; ` +
    `60 events p50 ${at(applied, 0.5)} ms, p99 ${at(applied, 0.99)} ms, longest ${at(applied, 1)} ms`,
  ];
  const questions = {
    "newest 100": {},
    "one user": { user: "user-7" },
    "a word that is in every command": { argv: "psql" },
    "a word that is in none": { argv: "nowhere" },
    "denied": { denied: true },
    "live": { live: true },
  };
  for (const [name, filter] of Object.entries(questions)) {
    const start = performance.now();
    const rows = await catalog.sessions(filter);
    lines.push(`${name}: ${rows.length} rows in ${(performance.now() - start).toFixed(1)} ms`);
  }
  await catalog.close();
  return lines;
}

function at(sorted: number[], share: number): string {
  sorted.sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
}

if (import.meta.main) {
  const folder = await Deno.makeTempDir();
  try {
    const lines = await measure(`${folder}/index.sqlite`, Number(Deno.args[0] ?? 100_000));
    await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
