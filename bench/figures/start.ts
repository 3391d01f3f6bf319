import type { Bench, Figure } from "./figure.ts";
import { settle } from "./watch.ts";
import { freePort } from "../../tests/support/free_port.ts";

/** How long a client needs to be up and trying. */
const CLIENT_MS = 300;

/** From the start of the process to the first output of the first session, of a client that tries all the time. */
export const start: Figure = {
  name: "start",
  async measure(bench) {
    bench.tell("start to first session");
    const values: number[] = [];
    for (let run = 0; run < bench.effort.runs; run++) values.push(await startOnce(bench));
    return {
      rows: [{
        section: "Start",
        figure: "process start to first session served",
        route: "gateway",
        unit: "ms",
        values,
        target: { atMost: 1_000 },
      }],
    };
  },
};

async function startOnce({ lab }: Bench): Promise<number> {
  const port = freePort();
  const configFile = await lab.writeGateway({ port });
  const url = `https://127.0.0.1:${port}`;
  const served = lab.peers.open({ name: "gateway", url, isKubelet: false, pid: 0 }, {
    transport: "spdy",
    wait: "20s",
  });
  await settle(CLIENT_MS);
  const startedMs = Date.now();
  await using gateway = await lab.spawnGateway(configFile);
  gateway.ignore();
  const { atMs } = await served;
  return atMs - startedMs;
}
