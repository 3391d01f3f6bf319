import { openSession, type Route, type Transport, TRANSPORTS } from "../client/open_session.ts";
import { SMALL_BYTES, SMALL_FRAMES } from "../upstream/commands.ts";
import { type ExecChannel, readBytes } from "../upstream/exec_channel.ts";
import type { Figure, Row } from "./figure.ts";
import { pairRatios, percentile } from "./statistics.ts";

/** With Nagle's algorithm anywhere on the way it would be 40 ms and more. */
const TARGET = { below: 5 };

/** Rounds before the first that counts. */
const WARM_UP_ROUNDS = 200;

/** One exchange of small frames; resolves when the client has the last byte. */
type Exchange = (session: ExecChannel) => () => Promise<void>;

/** Out: a byte of stdin, and three frames of 10 bytes come back, written one by one. */
const output: Exchange = (session) => {
  const key = session.frame(Uint8Array.of(0x61));
  return async () => {
    await session.write(key);
    await readBytes(session, SMALL_BYTES * SMALL_FRAMES);
  };
};

/** In: three frames of 10 bytes, written one by one, and a byte comes back once the process has them all. */
const input: Exchange = (session) => {
  const small = session.frame(new Uint8Array(SMALL_BYTES).fill(0x61));
  return async () => {
    for (let frame = 0; frame < SMALL_FRAMES; frame++) await session.write(small);
    await readBytes(session, 1);
  };
};

const DIRECTIONS = [
  { name: "3 output frames", command: "burst", exchange: output },
  { name: "3 stdin frames", command: "acknowledge", exchange: input },
] as const;

/** How long small frames take. Each figure is a round trip, so it is more than the way that it is about. */
export const latency: Figure = {
  name: "latency",
  async measure(lab, effort, tell) {
    const routes = [lab.routes.direct, lab.routes.gateway] as const;
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const { name, command, exchange } of DIRECTIONS) {
        tell(`${name} of ${SMALL_BYTES} bytes, ${transport}`);
        const runs: { p50: number; p99: number }[][] = [[], []];
        for (let run = 0; run < effort.runs; run++) {
          for (const [index, route] of routes.entries()) {
            runs[index]!.push(await measure(route, transport, command, exchange, effort.rounds));
          }
        }
        for (const share of ["p50", "p99"] as const) {
          const [direct, gateway] = runs.map((of) => of.map((run) => run[share])) as [number[], number[]];
          const row = {
            section: "Latency: small frames written back to back, round trip",
            figure: `${name}, ${transport}, ${share}`,
            unit: "ms",
          };
          rows.push({ ...row, route: "direct", values: direct });
          rows.push({
            ...row,
            route: "gateway",
            values: gateway,
            ratio: { to: "direct", values: pairRatios(gateway, direct) },
            ...(share === "p99" && { target: TARGET }),
          });
        }
      }
    }
    return rows;
  },
};

async function measure(
  route: Route,
  transport: Transport,
  command: "burst" | "acknowledge",
  exchange: Exchange,
  rounds: number,
): Promise<{ p50: number; p99: number }> {
  const session = await openSession(route, transport, command);
  const once = exchange(session);
  for (let round = 0; round < WARM_UP_ROUNDS; round++) await once();
  const tookMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const startMs = performance.now();
    await once();
    tookMs.push(performance.now() - startMs);
  }
  session.close();
  return { p50: percentile(tookMs, 0.5), p99: percentile(tookMs, 0.99) };
}
