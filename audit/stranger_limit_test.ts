import assert from "node:assert/strict";
import { type AuditEvent, type Facts, refusalEvent } from "./event.ts";
import { StrangerLimit, type StrangerOptions } from "./stranger_limit.ts";

const OPTIONS: StrangerOptions = {
  limit: "on",
  burstEvents: 3,
  eventsPerMinute: 60,
  totalEventsPerMinute: 10,
  summarySeconds: 60,
};

let ids = 0;

function refused(ip: string, code = 401, facts: Partial<Facts> = {}): AuditEvent {
  const all = {
    auditId: `id-${ids++}`,
    receivedAt: new Date(),
    sourceIps: [ip],
    requestUri: "/",
    verb: "get",
    ...facts,
  };
  return refusalEvent(all, undefined, { code, reason: "Unauthorized", message: "Unauthorized" });
}

/** A limit whose time and sink are the test's. */
class Scene {
  readonly written: AuditEvent[] = [];
  readonly reports: string[] = [];
  nowMs = 0;
  isBroken = false;
  /** What an append waits for. */
  gate: Promise<void> = Promise.resolve();
  isClosed = false;
  tick!: () => void;
  readonly limit: StrangerLimit;

  constructor(options: Partial<StrangerOptions> = {}) {
    const journal = {
      append: async (events: readonly AuditEvent[]) => {
        if (this.isBroken) throw new Error("disk full");
        this.written.push(...events);
        await this.gate;
      },
      close: () => {
        this.isClosed = true;
        return Promise.resolve();
      },
      status: () => ({ healthy: true, sinks: [] }),
    };
    this.limit = new StrangerLimit(journal, { ...OPTIONS, ...options }, {
      report: (message) => this.reports.push(message),
      now: () => this.nowMs,
      every: (_ms, tick) => {
        this.tick = tick;
        return () => {};
      },
    });
  }

  async flood(count: number, ip: string, code?: number): Promise<void> {
    for (let sent = 0; sent < count; sent++) await this.limit.append([refused(ip, code)]);
  }

  async summarize(): Promise<void> {
    this.tick();
    await settled();
  }

  /** Of what was written: refusals, and what is said of counts, as `source state count`. */
  said(): { refusals: number; counts: string[] } {
    const of = (type: string) =>
      this.written.filter(({ annotations }) => annotations["postern.dev/event"] === type);
    const counts = of("refusals").map(({ annotations }) =>
      ["source", "refusals", "count"].map((name) => annotations[`postern.dev/${name}`] ?? "").join(" ").trim()
    );
    return { refusals: of("refusal").length, counts };
  }
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
}

Deno.test("attack: a flood of refusals leaves its first ones and an exact count", async () => {
  const scene = new Scene();
  await scene.flood(500, "192.0.2.1");
  await scene.flood(500, "192.0.2.1", 400);
  await scene.summarize();
  const counts = ["192.0.2.1 counting", "192.0.2.1 counted 997"];
  assert.deepEqual(scene.said(), { refusals: 3, counts });
  const [counting, counted] = scene.written.slice(-2);
  assert.equal(counted?.auditID, counting?.auditID);
  assert.deepEqual(counted?.sourceIPs, ["192.0.2.1"]);
  assert.equal(counted?.annotations["postern.dev/codes"], '{"400":500,"401":497}');
});

Deno.test("attack: refusals of people who are known are written, however many strangers come beside them", async () => {
  const scene = new Scene();
  await scene.flood(100, "192.0.2.1");
  const known = Array.from({ length: 50 }, () => refused("192.0.2.1", 403, { user: { username: "alice" } }));
  for (const event of known) await scene.limit.append([event]);
  assert.deepEqual(scene.written.slice(-50), known);
});

Deno.test("events of other kinds go through in their order, whatever is counted among them", async () => {
  const scene = new Scene({ burstEvents: 1 });
  const decision = { ...refused("192.0.2.1"), annotations: { "postern.dev/event": "decision" } };
  const first = refused("192.0.2.1");
  await scene.limit.append([first, decision, refused("192.0.2.1")]);
  assert.deepEqual(scene.written.filter(({ annotations }) => !annotations["postern.dev/refusals"]), [
    first,
    decision,
  ]);
});

Deno.test("attack: addresses of one IPv6 network are one source", async () => {
  const scene = new Scene();
  for (let host = 1; host <= 100; host++) await scene.flood(1, `2001:db8::${host.toString(16)}`);
  await scene.summarize();
  const network = "2001:db8:0:0::/64";
  assert.deepEqual(scene.said(), { refusals: 3, counts: [`${network} counting`, `${network} counted 97`] });
});

Deno.test("attack: many sources together write no more than the total, and each is counted", async () => {
  const scene = new Scene();
  for (let host = 1; host <= 20; host++) await scene.flood(2, `192.0.2.${host}`);
  await scene.summarize();
  const { refusals, counts } = scene.said();
  assert.equal(refusals, 10);
  const counted = counts.filter((each) => each.includes("counted"));
  assert.equal(counted.reduce((sum, each) => sum + Number(each.split(" ")[2]), 0), 30);
});

Deno.test("attack: sources without end take bounded memory, and are counted together", async () => {
  const scene = new Scene({ burstEvents: 1, totalEventsPerMinute: 1 });
  for (let source = 0; source < 3000; source++) await scene.flood(1, `10.0.${source >> 8}.${source & 255}`);
  assert.equal(scene.limit.sources, 1025);
  await scene.summarize();
  const { counts } = scene.said();
  assert.ok(counts.includes("others counted 1976"), counts.at(-1));
  scene.nowMs += 600_000;
  await scene.summarize();
  assert.equal(scene.limit.sources, 0, "who is quiet again is forgotten");
});

Deno.test("a source that uses up its share leaves the total to others", async () => {
  const scene = new Scene();
  await scene.flood(1000, "192.0.2.1");
  await scene.flood(1, "192.0.2.2");
  assert.deepEqual(scene.written.at(-1)?.sourceIPs, ["192.0.2.2"]);
});

Deno.test("after a while a source's refusals are written one by one again", async () => {
  const scene = new Scene();
  await scene.flood(10, "192.0.2.1");
  await scene.summarize();
  scene.nowMs += 2_000;
  await scene.flood(3, "192.0.2.1");
  await scene.summarize();
  assert.deepEqual(scene.said(), {
    refusals: 5,
    counts: ["counting", "counted 7", "counting", "counted 1"].map((each) => `192.0.2.1 ${each}`),
  });
});

Deno.test("what cannot be written is counted on, and the next count holds it", async () => {
  const scene = new Scene();
  await scene.flood(5, "192.0.2.1");
  scene.isBroken = true;
  await scene.summarize();
  assert.deepEqual(scene.reports, ["counts of refusals are not written down yet"]);
  await scene.flood(5, "192.0.2.1");
  scene.isBroken = false;
  await scene.summarize();
  assert.deepEqual(scene.said().counts, ["192.0.2.1 counting", "192.0.2.1 counted 7"]);
});

Deno.test("what is refused while a count is being written is of the next", async () => {
  const scene = new Scene();
  await scene.flood(5, "192.0.2.1");
  const writing = Promise.withResolvers<void>();
  scene.gate = writing.promise;
  scene.tick();
  await scene.flood(4, "192.0.2.1");
  writing.resolve();
  await settled();
  await scene.summarize();
  assert.deepEqual(
    scene.said().counts,
    ["counting", "counted 2", "counting", "counted 4"].map((each) => `192.0.2.1 ${each}`),
  );
});

Deno.test("closing writes what was counted first", async () => {
  const scene = new Scene();
  await scene.flood(10, "192.0.2.1");
  await scene.limit.close();
  assert.deepEqual(scene.said().counts, ["192.0.2.1 counting", "192.0.2.1 counted 7"]);
  assert.ok(scene.isClosed);
});

Deno.test("a limit that is off counts nothing", async () => {
  const scene = new Scene({ limit: "off" });
  await scene.flood(100, "192.0.2.1");
  assert.deepEqual(scene.said(), { refusals: 100, counts: [] });
});
