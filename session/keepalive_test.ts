import assert from "node:assert/strict";
import { Keepalive, type KeepaliveLimits } from "./keepalive.ts";
import { type SessionEnd, SessionFailure } from "./stream_event.ts";

const LIMITS: KeepaliveLimits = { pingMs: 30_000, silenceMs: 120_000, probeMs: 10_000 };

/** A side whose clock a test turns: `said` is what was sent to it. */
class Side {
  readonly said: string[] = [];
  readonly keepalive: Keepalive;
  end: SessionEnd | undefined;
  #tick = () => {};
  #tickMs = 0;
  #isStopped = false;
  #stuck: Promise<void> | undefined;

  constructor(limits: KeepaliveLimits = LIMITS) {
    const say = (what: string) => () => {
      this.said.push(what);
      return this.#stuck ?? Promise.resolve();
    };
    this.keepalive = new Keepalive(
      "client",
      { ask: say("ask"), tell: say("tell") },
      limits,
      (thrown) => {
        assert.equal(this.end, undefined, "told once");
        assert.ok(thrown instanceof SessionFailure);
        this.end = thrown.end;
      },
      (ms, tick) => {
        [this.#tickMs, this.#tick] = [ms, tick];
        return () => this.#isStopped = true;
      },
    );
  }

  /** What is said from now on is not written before `until` settles. */
  stick(until: Promise<void>): void {
    this.#stuck = until;
  }

  /** Lets time pass. @param each done at every tick, before it */
  async pass(seconds: number, each: () => void = () => {}): Promise<void> {
    for (let ms = 0; ms < seconds * 1000 && !this.#isStopped; ms += this.#tickMs) {
      each();
      this.#tick();
      await Promise.resolve().then(() => {}); // what was written is written
    }
  }

  /** Has shown that it answers and that it has read all. */
  async prove(): Promise<void> {
    await this.pass(30);
    assert.deepEqual(this.said.splice(0), ["ask"]);
    this.keepalive.heard();
    this.keepalive.answered();
  }
}

Deno.test("Keepalive asks a still side every 30 seconds, as long as it answers", async () => {
  const side = new Side();
  await side.pass(300, () => {
    side.keepalive.heard();
    side.keepalive.answered();
  });
  assert.deepEqual(side.said, Array(10).fill("ask"));
});

Deno.test("Keepalive asks nobody while stream data moves: a Go peer whose stdin is stuck would stop to read", async () => {
  const side = new Side();
  await side.pass(300, () => side.keepalive.moved());
  assert.deepEqual(side.said, []);
  await side.pass(30);
  assert.deepEqual(side.said, ["ask"]);
});

Deno.test("Keepalive gives a side up that has read all, was asked, and says nothing for 2 minutes", async () => {
  const side = new Side();
  await side.prove();
  await side.pass(145);
  assert.equal(side.end, undefined);
  await side.pass(5);
  assert.deepEqual(side.end, {
    reason: "client_vanished",
    by: "client",
    message: "nothing was heard from the client for 2m though it was asked",
  });
});

const PATIENT: { name: string; limits?: KeepaliveLimits; live(side: Side): Promise<void> }[] = [
  {
    name: "E-50 whose output is paged in less: pings wait behind data that nobody takes",
    async live(side) {
      await side.prove();
      side.keepalive.moved();
      await side.pass(3600);
    },
  },
  {
    name: "to which data moved while it was being asked: its answer proves nothing",
    async live(side) {
      await side.pass(30);
      side.keepalive.moved();
      side.keepalive.answered();
      await side.pass(3600);
    },
  },
  { name: "that never answered: some do not", live: (side) => side.pass(3600) },
  {
    name: "that answers only while its program reads",
    async live(side) {
      side.keepalive.answersPings = false;
      await side.prove();
      await side.pass(3600);
    },
  },
  {
    name: "that says anything else now and then",
    async live(side) {
      await side.prove();
      for (let minute = 0; minute < 60; minute++) {
        side.keepalive.heard();
        await side.pass(60);
      }
    },
  },
  {
    name: "where silence is allowed for ever",
    limits: { ...LIMITS, silenceMs: 0 },
    async live(side) {
      await side.prove();
      await side.pass(3600);
    },
  },
];
for (const { name, limits, live } of PATIENT) {
  Deno.test(`Keepalive does not give a side up ${name}`, async () => {
    const side = new Side(limits);
    await live(side);
    assert.equal(side.end, undefined);
  });
}

Deno.test("Keepalive tells a side that does not answer, so that load balancers see it, and asks no second time", async () => {
  const side = new Side();
  await side.pass(120);
  assert.deepEqual(side.said, ["ask", "tell", "tell", "tell"]);
});

Deno.test("Keepalive tells a side that is not read, and never asks it: data may move the other way", async () => {
  const side = new Side({ probeMs: 10_000 });
  side.keepalive.isBlocked = true;
  await side.pass(60, () => side.keepalive.moved());
  assert.deepEqual(side.said, Array(6).fill("tell"));
});

Deno.test("Keepalive says nothing to a side that is not read where that could cost what it still has to say", async () => {
  const side = new Side({ ...LIMITS, probeMs: 0 });
  await side.prove();
  side.keepalive.isBlocked = true;
  await side.pass(3600);
  assert.deepEqual([side.said, side.end], [[], undefined]);
});

Deno.test("Keepalive says nothing where it is to ping nobody and everything is read", async () => {
  const side = new Side({ pingMs: 0, silenceMs: 120_000 });
  await side.pass(3600);
  assert.deepEqual(side.said, []);
});

Deno.test("Keepalive has one thing under way at a time: nothing piles up before a side that takes nothing", async () => {
  const side = new Side();
  const stuck = Promise.withResolvers<void>();
  side.stick(stuck.promise);
  await side.pass(3600);
  assert.deepEqual(side.said, ["ask"]);
  stuck.resolve();
  await stuck.promise;
});

Deno.test("Keepalive ends what it cannot write to", async () => {
  const side = new Side();
  const end: SessionEnd = { reason: "client_vanished", by: "client", message: "lost" };
  side.stick(Promise.reject(new SessionFailure(end)));
  side.keepalive.isBlocked = true;
  await side.pass(60);
  assert.deepEqual([side.said, side.end], [["tell"], end]);
});
