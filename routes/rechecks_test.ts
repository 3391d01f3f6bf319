import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import type { SessionEnd } from "../session/stream_event.ts";
import { pauseMs, type RecheckOptions, Rechecks, type RecheckState } from "./rechecks.ts";

const UNREACHABLE = new Refusal("ServiceUnavailable", "the API server cannot be asked who you are");

/** A session that is answered as the test says, and what became of it. */
class Session {
  readonly asked: number[] = [];
  readonly ended = Promise.withResolvers<SessionEnd>();
  /** What the answer throws; nothing: it may go on. */
  answer: unknown;
  readonly #startMs = performance.now();

  ask(): Promise<void> {
    this.asked.push(performance.now() - this.#startMs);
    return this.answer === undefined ? Promise.resolve() : Promise.reject(this.answer);
  }

  end(end: SessionEnd): void {
    this.ended.resolve(end);
  }
}

function scene(options: Partial<RecheckOptions> = {}) {
  const states: RecheckState[] = [];
  const rechecks = new Rechecks({
    ...{ periodMs: 40, graceMs: 60_000, random: () => 0, onChange: (state) => states.push(state) },
    ...options,
  });
  return { rechecks, states };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + 5_000;
  while (!isSo()) {
    assert.ok(performance.now() < endMs, what);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const ENDS = [
  {
    name: "whose credential is refused",
    thrown: new Refusal("Unauthorized", "Unauthorized"),
    end: {
      reason: "credential_revoked",
      message: "the credential that opened the session is no longer valid, so the session ends",
    },
  },
  {
    name: "whose user may no more",
    thrown: new Refusal("Forbidden", 'pods "web" is forbidden'),
    end: {
      reason: "access_revoked",
      message: 'access was withdrawn, so the session ends: pods "web" is forbidden',
    },
  },
];
for (const { name, thrown, end } of ENDS) {
  Deno.test(`a session ${name} ends, and is not asked about again`, async () => {
    const { rechecks, states } = scene();
    const session = new Session();
    const stop = rechecks.watch(session);
    await until("it is asked about", () => session.asked.length > 1);
    session.answer = thrown;
    assert.deepEqual(await session.ended.promise, { by: "gateway", ...end });
    const { length } = session.asked;
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.deepEqual([session.asked.length, states], [length, []]);
    stop();
  });
}

Deno.test("attack: keeping the API server away keeps no session alive for longer than the grace", async () => {
  const { rechecks, states } = scene({ graceMs: 400 });
  const session = new Session();
  session.answer = UNREACHABLE;
  const stop = rechecks.watch(session);
  const end = await session.ended.promise;
  assert.deepEqual(end, {
    reason: "access_unconfirmed",
    by: "gateway",
    message: "for 400ms nobody could say whether the session may go on, so it ends",
  });
  assert.ok(session.asked.length > 1, "it was tried again");
  assert.ok(session.asked.at(-1)! - session.asked[0]! >= 390, "it had its grace");
  assert.deepEqual(states.map(({ isAnswered }) => isAnswered), [false, true]);
  stop();
});

Deno.test("without a grace, no answer is a no", async () => {
  const { rechecks } = scene({ graceMs: 0 });
  const session = new Session();
  session.answer = new TypeError("broken");
  const stop = rechecks.watch(session);
  const { reason, message } = await session.ended.promise;
  assert.deepEqual([reason, message], [
    "access_unconfirmed",
    "nobody could say whether the session may go on, so it ends",
  ]);
  stop();
});

Deno.test("sessions outlive an API server that restarts, and that is told once", async () => {
  const { rechecks, states } = scene();
  const sessions = Array.from({ length: 50 }, () => new Session());
  const stops = sessions.map((session) => rechecks.watch(session));
  for (const session of sessions) session.answer = UNREACHABLE;
  await until("all have failed", () => sessions.every(({ asked }) => asked.length > 1));
  assert.deepEqual(states, [{ isAnswered: false, cause: UNREACHABLE }]);
  for (const session of sessions) session.answer = undefined;
  await until("all are answered", () => states.length > 1);
  assert.deepEqual(states.map(({ isAnswered }) => isAnswered), [false, true]);
  for (const stop of stops) stop();
  const ended = await Promise.race([...sessions.map(({ ended }) => ended.promise), Promise.resolve("none")]);
  assert.equal(ended, "none");
});

Deno.test("a question that nobody answers, nor refuses, counts as unanswered when its time is up", async () => {
  const { rechecks } = scene({ answerMs: 20, graceMs: 30, atOnce: 1 });
  const signals: AbortSignal[] = [];
  const ends = [1, 2].map(() => {
    const { promise, resolve } = Promise.withResolvers<SessionEnd>();
    const ask = (signal: AbortSignal) => {
      signals.push(signal);
      return new Promise<void>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason))
      );
    };
    return { stop: rechecks.watch({ ask, end: resolve }), promise };
  });
  // The second waits for a turn behind the first, which is no reason to let it live.
  for (const { promise } of ends) assert.equal((await promise).reason, "access_unconfirmed");
  assert.ok(signals.every(({ aborted }) => aborted));
  for (const { stop } of ends) stop();
});

Deno.test("sessions that were opened together are asked about apart, and early enough for an answer that is a quarter old", () => {
  assert.deepEqual([0, 0.5, 1].map((chance) => pauseMs(60_000, chance)), [30_000, 37_500, 45_000]);
});

Deno.test("each session is asked about at its own moments, drawn anew each time", async () => {
  let drawn = 0;
  const { rechecks } = scene({ random: () => drawn++ / 100 % 1 });
  const session = new Session();
  const stop = rechecks.watch(session);
  await until("it is asked about again and again", () => session.asked.length === 3);
  stop();
  assert.equal(drawn, 4);
});

Deno.test("only so many questions are asked at once", async () => {
  const { rechecks } = scene({ atOnce: 3 });
  let now = 0;
  let most = 0;
  let asked = 0;
  const ask = async () => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 1));
    now--;
    asked++;
  };
  const stops = Array.from({ length: 100 }, () => rechecks.watch({ ask, end: () => assert.fail() }));
  await until("all were asked", () => asked >= 100);
  assert.equal(most, 3);
  for (const stop of stops) stop();
  await until("all are answered", () => now === 0);
});

Deno.test("a session that is over is ended by no answer that comes late", async () => {
  const { rechecks, states } = scene();
  const late = Promise.withResolvers<void>();
  let isAsked = false;
  const stop = rechecks.watch({
    ask: () => {
      isAsked = true;
      return late.promise;
    },
    end: () => assert.fail("it was over"),
  });
  await until("it is asked", () => isAsked);
  stop();
  late.reject(new Refusal("Unauthorized", "Unauthorized"));
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(states, []);
});
