/**
 * Measures the ways to accept TLS against one another, and prints them as a table:
 * `deno run -A bench/front/front_bench.ts [RUNS]`. The figures behind `docs/adr/0001-tls-front.md`.
 *
 * Each candidate has a process of its own; the client is this one, and is the same for all. Runs take turns, so that
 * whatever else the machine does falls on all of them; the median is told.
 */

import { join } from "node:path";
import { issue, makeCa } from "../../tests/support/certificates.ts";
import { Child } from "../lab/child.ts";
import { cpuSeconds, residentBytes } from "../lab/process_stats.ts";
import { CANDIDATES } from "./candidates.ts";

const TRANSFER_BYTES = 512 << 20;
const SMALL_ROUNDS = 300;
const SLOW_SECONDS = 5;
/** What takes longer than this is not going to end. */
const HUNG_MS = 30_000;

/** What one run of one candidate came to; what hung is `undefined`. */
interface Figures {
  /** Towards the server and from it, in MB/s. */
  inward: number | undefined;
  outward: number | undefined;
  /** CPU of the server for a gigabyte in, in seconds. */
  cpu: number | undefined;
  /** From a byte sent to the last of three small answers, in ms. */
  p50: number | undefined;
  p99: number | undefined;
  /** Growth of resident memory while the server reads slowly, in MB. */
  growth: number | undefined;
}

const ca = await makeCa();

async function main(runs: number): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postern-front-bench-" });
  const files = [join(directory, "tls.crt"), join(directory, "tls.key")] as const;
  const { cert, key } = await issue(ca);
  await Promise.all([Deno.writeTextFile(files[0], cert), Deno.writeTextFile(files[1], key)]);
  const results = new Map(Object.keys(CANDIDATES).map((name) => [name, [] as Figures[]]));
  try {
    for (let run = 1; run <= runs; run++) {
      for (const [name, figures] of results) {
        say(Deno.stderr, `run ${run} of ${runs}: ${name}\n`);
        figures.push(await measure(name, files));
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  say(Deno.stdout, table(results));
}

async function measure(name: string, files: readonly string[]): Promise<Figures> {
  const program = new URL("front_process.ts", import.meta.url).pathname;
  await using process = Child.spawn([Deno.execPath(), "run", "-A", program, name, ...files]);
  const port = await process.announced(portOf);
  process.ignore();
  const cpuBefore = await cpuSeconds(process.pid);
  const inward = await transfer(port, "I", send);
  const cpu = (await cpuSeconds(process.pid) - cpuBefore) / (TRANSFER_BYTES / 1e9);
  const outward = await transfer(port, "O", receive);
  const small = await smallWrites(port) ?? [];
  const growth = await slowReader(port, process.pid);
  return { inward, outward, cpu, p50: at(small, 0.5), p99: at(small, 0.99), growth };
}

function portOf(line: unknown): number | undefined {
  const isOurs = typeof line === "object" && line !== null && "port" in line && typeof line.port === "number";
  return isOurs ? Number(line.port) : undefined;
}

/** @returns MB/s */
function transfer(port: number, task: string, act: (connection: Deno.TlsConn) => Promise<void>) {
  return onConnection(port, task, async (connection) => {
    const start = performance.now();
    await act(connection);
    return TRANSFER_BYTES / 1e3 / (performance.now() - start);
  });
}

async function send(connection: Deno.TlsConn): Promise<void> {
  const chunk = new Uint8Array(64 * 1024);
  for (let sent = 0; sent < TRANSFER_BYTES; sent += chunk.length) await writeAll(connection, chunk);
}

async function receive(connection: Deno.TlsConn): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (let got = 0; got < TRANSFER_BYTES;) got += await connection.read(buffer) ?? fail("closed");
}

/** @returns how long each round took, in milliseconds, in ascending order */
function smallWrites(port: number): Promise<number[] | undefined> {
  return onConnection(port, "S", async (connection) => {
    const buffer = new Uint8Array(1024);
    const times: number[] = [];
    for (let round = 0; round < SMALL_ROUNDS; round++) {
      const start = performance.now();
      await connection.write(Uint8Array.of(1));
      for (let got = 0; got < 30;) got += await connection.read(buffer) ?? fail("closed");
      times.push(performance.now() - start);
    }
    return times.toSorted((a, b) => a - b);
  });
}

/** @returns by how much the server grew, in MB, while it read less than it was sent */
function slowReader(port: number, pid: number): Promise<number | undefined> {
  return onConnection(port, "L", async (connection) => {
    const before = await residentBytes(pid);
    const sending = send(connection).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, SLOW_SECONDS * 1000));
    const growth = (await residentBytes(pid) - before) / 1e6;
    connection.close();
    await sending;
    return growth;
  });
}

/** Does something on a new connection. @returns `undefined` where it hangs */
async function onConnection<T>(
  port: number,
  task: string,
  act: (connection: Deno.TlsConn) => Promise<T>,
): Promise<T | undefined> {
  const connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca.cert] });
  const timer = setTimeout(() => close(connection), HUNG_MS);
  try {
    await connection.write(new TextEncoder().encode(task));
    if (await connection.read(new Uint8Array(1)) === null) return undefined;
    return await act(connection);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    close(connection);
  }
}

function close(connection: Deno.TlsConn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

async function writeAll(connection: Deno.TlsConn, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) offset += await connection.write(bytes.subarray(offset));
}

function table(results: ReadonlyMap<string, readonly Figures[]>): string {
  const columns = [
    { head: "in MB/s", figure: "inward", digits: 0 },
    { head: "out MB/s", figure: "outward", digits: 0 },
    { head: "CPU s per GB in", figure: "cpu", digits: 2 },
    { head: "small writes p50 ms", figure: "p50", digits: 2 },
    { head: "p99 ms", figure: "p99", digits: 2 },
    { head: `growth MB in ${SLOW_SECONDS} s`, figure: "growth", digits: 0 },
  ] as const;
  const rows = [...results].map(([name, runs]) => [
    name,
    ...columns.map(({ figure, digits }) => cell(runs.map((run) => run[figure]), digits)),
  ]);
  const head = ["front", ...columns.map(({ head }) => head)];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

/** The median of what came to an end, and how often it did not. */
function cell(values: readonly (number | undefined)[], digits: number): string {
  const ended = values.filter((value) => value !== undefined).toSorted((a, b) => a - b);
  const hung = values.length - ended.length;
  return `${at(ended, 0.5)?.toFixed(digits) ?? ""}${hung > 0 ? ` (hung ${hung}×)` : ""}`;
}

function at(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function say(to: { writeSync(bytes: Uint8Array): number }, text: string): void {
  to.writeSync(new TextEncoder().encode(text));
}

function fail(why: string): never {
  throw new Error(why);
}

if (import.meta.main) await main(Number(Deno.args[0] ?? 5));
