import assert from "node:assert/strict";
import type { AuditEndReason } from "../../audit/event.ts";
import { sleep } from "../e2e/support/wait.ts";
import type { Departed } from "./support/crowd.ts";
import { type Arrangement, kindOf, type Scene } from "./support/scene.ts";

/** One thing that goes wrong, and what must come of it. */
export interface Fault {
  title: string;
  /** How it is done here, and what it stands for. */
  how: string;
  /** @default {"plain"} */
  arrangement?: Arrangement;
  /** What becomes of the sessions that are live. */
  live: GoOn | End;
  /** Does it. @returns what a new session was told meanwhile; nothing where it worked, or was not tried */
  inject(scene: Scene): Promise<string | void>;
  /** Ends it, as far as that is not left to the gateway. */
  heal?(scene: Scene): Promise<void>;
  /** What new sessions come to meanwhile, where they are not tried and refused. @default {"work"} */
  meanwhile?: string;
  /** From then on, new sessions work again after so long, in milliseconds. */
  recoversWithinMs: number;
}

/** Live sessions notice nothing, for as long as is looked. */
export interface GoOn {
  outcome: "go on";
  forMs: number;
}

/** Live sessions end. */
export interface End {
  outcome: "end";
  /** How long after the fault the last client has been told. */
  withinMs: number;
  /** What their last events may give as the reason. */
  reasons: readonly AuditEndReason[];
  /** Whether a client may take the end for a good one. @default {false} */
  mayLookGood?: (departed: Departed) => boolean;
}

/** What was seen. */
export interface Finding {
  fault: Fault;
  sessions: number;
  /** By what was told: how many of which kind. */
  told: ReadonlyMap<string, ReadonlySet<string>>;
  /** Reasons of the last events, and how many sessions each ended. */
  reasons: ReadonlyMap<string, number>;
  /** What a new session was told while the fault lasted. */
  meanwhile: string | undefined;
  /** Until the last client of a live session was told, in milliseconds. */
  toldAfterMs: number | undefined;
  /** Until a new session worked again, in milliseconds. */
  recoveredAfterMs: number;
}

/** Events are written a moment after the client was told: a session may take this long for its last words. */
const LAST_EVENT_MS = 20_000;

/** What was just said may still be on its way to its recording. */
const RECORDINGS_MS = 30_000;

/** Plays one fault. @throws {AssertionError} where its outcome is not what it must be */
export async function play(fault: Fault, scene: Scene): Promise<Finding> {
  const { live } = fault;
  await scene.arrange(fault.arrangement ?? "plain");
  const since = (await scene.gateway.events()).length;
  const startedAtMs = Date.now();
  const meanwhile = await fault.inject(scene) ?? undefined;
  let departed: Departed[] = [];
  if (live.outcome === "go on") await sleep(live.forMs);
  else departed = await scene.crowd.gone(live.withinMs);
  await fault.heal?.(scene);
  const recoveredAfterMs = await scene.recovered(fault.recoversWithinMs);
  const finding = { fault, sessions: scene.size, meanwhile, recoveredAfterMs };
  if (live.outcome === "go on") {
    await scene.crowd.allAlive(10_000);
    assert.deepEqual(await scene.crowd.departed(), [], "no session has ended");
    await scene.recordingsAreWhole(scene.size, RECORDINGS_MS);
    return { ...finding, told: new Map(), reasons: new Map(), toldAfterMs: undefined };
  }
  for (const each of departed) {
    const isGood = each.error === "" && each.code <= 0;
    assert.ok(!isGood || live.mayLookGood?.(each), `a ${nameOf(each)} looked as if it had ended well`);
  }
  const reasons = await reasonsOf(scene, live, since);
  await scene.forgetCrowd();
  if (reasons.has("gateway_lost")) scene.loseLive();
  await scene.recordingsAreWhole(0, RECORDINGS_MS);
  const toldAfterMs = Math.max(...departed.map(({ endedAtMs }) => endedAtMs)) - startedAtMs;
  return { ...finding, told: toldBy(departed), reasons, toldAfterMs };
}

/** Sees to it that every session has its end, with a reason that may be, and that it was recorded. */
async function reasonsOf(scene: Scene, live: End, since: number): Promise<Map<string, number>> {
  const events = await scene.settled(LAST_EVENT_MS);
  const reasons = new Map<string, number>();
  for (const { auditID, annotations } of events.slice(since).filter((event) => kindOf(event) === "end")) {
    const reason = annotations["postern.dev/end-reason"] ?? "none";
    assert.ok(annotations["postern.dev/recording"], `${auditID} was not recorded`);
    // New sessions are tried while others end.
    if (annotations["postern.dev/argv"] === '["true"]') continue;
    assert.ok(
      live.reasons.some((each) => each === reason),
      `${reason}: ${annotations["postern.dev/message"]}`,
    );
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return reasons;
}

function nameOf({ kind, transport, tty }: Departed): string {
  const what = kind === "portforward" ? "port-forward" : kind;
  return `${what}${tty ? " with a terminal" : ""} over ${transport === "spdy" ? "SPDY" : "WebSocket"}`;
}

function toldBy(departed: readonly Departed[]): Map<string, Set<string>> {
  const told = new Map<string, Set<string>>();
  for (const each of departed) {
    const said = general(each.error);
    told.set(said, (told.get(said) ?? new Set()).add(nameOf(each)));
  }
  return told;
}

/** What a run says that the next would say otherwise, and what stands for it. */
const PARTICULARS: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/read tcp \S+->\S+: read: connection reset by peer/g, "unexpected EOF"],
  [/unix \S+\.sock/g, "unix SOCKET"],
  [/"\/\S+"/g, "PATH"],
  [/127\.0\.0\.1:\d+/g, "ADDRESS"],
  [/faults-[0-9a-f]{8}/g, "POD"],
  [/[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{64}\b/g, "ID"],
  [/\s+/g, " "],
];

/** What was said, without what is this run's alone. */
export function general(said: string): string {
  return PARTICULARS.reduce((text, [pattern, name]) => text.replaceAll(pattern, name), said).slice(0, 240);
}
