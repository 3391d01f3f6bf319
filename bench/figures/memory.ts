import { openSession, type Route, type Transport, TRANSPORTS } from "../client/open_session.ts";
import { Lab } from "../lab/lab.ts";
import { residentBytes } from "../lab/process_stats.ts";
import { bulk, BULK_BYTES, readBytes } from "../upstream/exec_channel.ts";
import type { Effort, Figure, Row } from "./figure.ts";

const MEGABYTE = 1e6;

/** What a slow peer may cost, in MB (10⁶ bytes), while it is slow. */
const TARGET = { below: 16 };

const SAMPLE_MS = 50;

/** Short sessions before the first sample. */
const WARM_UP_SESSIONS = 20;

/** What must have passed when a client begins to read after all: more than kernels hold. Else nothing was watched. */
const PROOF_MEBIBYTES = 64;

/** A session of which one side does not read. */
interface SlowSession {
  /** Makes sure that the other side went on all the time. @throws where the session had ended: it then proves nothing */
  prove(): Promise<void>;
  close(): void;
}

/** A peer that does not read, and another that sends to it as fast as it can. */
const CASES = [
  {
    name: "client sends to a stopped process",
    begin: async (route: Route, transport: Transport): Promise<SlowSession> => {
      const session = await openSession(route, transport, "stop");
      const wire = bulk(session);
      let lost: unknown;
      const send = async () => {
        for (;;) await session.write(wire);
      };
      send().catch((cause) => lost = cause);
      return {
        prove: () => lost === undefined ? Promise.resolve() : Promise.reject(lost),
        close: () => session.close(),
      };
    },
  },
  {
    name: "client never reads a flood",
    begin: async (route: Route, transport: Transport): Promise<SlowSession> => {
      const session = await openSession(route, transport, "flood");
      return {
        prove: () => readBytes(session, PROOF_MEBIBYTES * BULK_BYTES),
        close: () => session.close(),
      };
    },
  },
] as const;

/**
 * Whether a buffer grows behind a peer that does not read. The resident memory of the gateway, in a process of its own for
 * each case: before (after a warm-up), at most, and after the session has ended.
 */
export const memory: Figure = {
  name: "memory",
  async measure(lab, effort, tell) {
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const { name, begin } of CASES) {
        tell(`${name} for ${effort.seconds} s, ${transport}`);
        await using fresh = await Lab.open(lab.options);
        await warmUp(fresh, transport);
        const { before, most, after } = await watch(
          fresh,
          effort,
          () => begin(fresh.routes.gateway, transport),
        );
        const row = {
          section: `Memory: resident, ${effort.seconds} s at full speed`,
          route: "gateway",
          unit: "MB",
        };
        const figure = `${name}, ${transport}`;
        rows.push(
          { ...row, figure: `${figure}, before`, values: [before / MEGABYTE] },
          { ...row, figure: `${figure}, at most`, values: [most / MEGABYTE] },
          { ...row, figure: `${figure}, after`, values: [after / MEGABYTE] },
          { ...row, figure: `${figure}, growth`, values: [(most - before) / MEGABYTE], target: TARGET },
        );
      }
    }
    return rows;
  },
};

/** Every part of the code has run once. Nothing large: what garbage leaves behind would hide a buffer that grows into it. */
async function warmUp(lab: Lab, transport: Transport): Promise<void> {
  for (let open = 0; open < WARM_UP_SESSIONS; open++) {
    const session = await openSession(lab.routes.gateway, transport, "hello");
    while (await session.read() !== null);
    session.close();
  }
  await sleep(1_000);
}

async function watch(
  lab: Lab,
  { seconds }: Effort,
  begin: () => Promise<SlowSession>,
): Promise<{ before: number; most: number; after: number }> {
  const { gateway: pid } = lab.pids;
  const before = await residentBytes(pid);
  const session = await begin();
  let most = before;
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    await sleep(SAMPLE_MS);
    most = Math.max(most, await residentBytes(pid));
  }
  await session.prove();
  session.close();
  await sleep(2_000);
  return { before, most, after: await residentBytes(pid) };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
