import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/event.ts";
import type { SessionRecording } from "../recording/archive.ts";
import { RecordingArchive } from "../recording/archive.ts";
import { Refusal } from "../kube/status.ts";
import { SessionFailure } from "../session/stream_event.ts";
import type { UpstreamRequest } from "../session/upstream.ts";
import { MemoryStore } from "../tests/support/memory_store.ts";
import { decide } from "./admission.ts";
import type { Gate } from "./gate.ts";
import { Journey } from "./journey.ts";
import { LiveSession } from "./live_session.ts";
import { readRequestTarget } from "./request_target.ts";
import { SessionRegistry } from "./session_registry.ts";
import { SessionSlots } from "./session_slots.ts";

const TARGET = {
  ...{ namespace: "default", podName: "web", podUid: "u-1", pod: {}, nodeName: "n", node: {} },
  kubelet: { host: "10.0.0.5", port: 10250 },
};
const CALLER = { user: { username: "jane", uid: "", groups: [], extra: {} }, token: "t" };
const UPSTREAM: UpstreamRequest = {
  ...{ subresource: "portforward", namespace: "default", pod: "web", uid: "u-1" },
  ...{ container: undefined, command: [], stdin: false, stdout: false, stderr: false, tty: false },
};

/** A session whose every wait ends when the test says so, and what happened up to now. */
async function scene(confirms: boolean) {
  const happened: string[] = [];
  const events: AuditEvent[] = [];
  const waits = new Map<string, PromiseWithResolvers<void>>();
  /** Something that takes as long as the test wants. */
  const wait = async (what: string) => {
    happened.push(what);
    const waiting = Promise.withResolvers<void>();
    waits.set(what, waiting);
    await waiting.promise;
  };
  const path = "/api/v1/namespaces/default/pods/web/portforward";
  const context = {
    ...{ remoteAddress: "192.0.2.7", remotePort: 1, rawTarget: path, rawHeaders: [] },
    signal: new AbortController().signal,
  };
  const journey = new Journey("POST", context, readRequestTarget(path));
  const store = new MemoryStore();
  const archive = await RecordingArchive.open(store, undefined, {
    ...{ instance: "test", stdin: "content", windowBytes: 65_536, maxWindowBytes: 65_536, windowMs: 1000 },
    ...{ appendTimeoutMs: 1000, sealEveryMs: 1000, recipients: [], onFailure: () => {} },
  });
  const slots = new SessionSlots(1);
  const steps: Partial<Gate> = {
    decide: () => Promise.resolve({ allowed: true, rule: "test", reason: "it is one", obligations: [] }),
    journal: {
      append: (appended: readonly AuditEvent[]) => {
        events.push(...appended);
        return wait(appended[0]?.annotations["postern.dev/event"] ?? "");
      },
      close: () => Promise.resolve(),
      status: () => ({ healthy: true, sinks: [] }),
    },
    record: async (facts): Promise<SessionRecording> => {
      await wait("recording");
      return await archive.begin(facts, { isRequired: true, streams: "content" });
    },
    dial: () => {
      happened.push("dial");
      return {
        open: async () => {
          await wait("open");
          const connection = { read: () => Promise.resolve(null), write: async () => {}, close: () => {} };
          const confirmed = confirms ? wait("confirmed") : Promise.resolve();
          return { connection, authority: "10.0.0.5:10250", protocol: "SPDY/3.1", confirmed };
        },
        abandon: () => void happened.push("abandon"),
      };
    },
    slots,
    sessions: new SessionRegistry(),
    report: () => {},
  };
  const gate = steps as Gate;
  const permission = await decide(journey, gate, CALLER, TARGET);
  const session = new LiveSession(journey, gate, {
    address: { kind: "portforward", namespace: "default", pod: "web", container: undefined, form: "pod" },
    ...{ target: TARGET, caller: CALLER, permission, upstream: UPSTREAM, tty: false },
    ...{ protocol: "portforward.k8s.io", clientProtocol: "SPDY/3.1 portforward.k8s.io" },
  });
  return {
    session,
    slots,
    happened,
    /** Lets something end as soon as it has begun, and what follows from it at once begin. */
    async finish(what: string, failure?: Error) {
      const deadlineMs = performance.now() + 5000;
      while (!waits.has(what) && performance.now() < deadlineMs) await settled();
      const waiting = waits.get(what) ?? assert.fail(`nobody waits for ${what}`);
      if (failure === undefined) waiting.resolve();
      else waiting.reject(failure);
      await settled();
    },
    /** What is there of the one recording, besides the chain's first line. */
    recordings: () => [...store.files.keys()].filter((each) => each.endsWith(".rec")).length,
    /** The last event that was to be written. */
    lastEvent: () => events.at(-1) ?? assert.fail("there was none"),
    close: () => archive.close(),
  };
}

/** What has nothing to wait for has happened. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

type Scene = Awaited<ReturnType<typeof scene>>;

/** @param confirms whether it takes as long as the test wants to look at the pod again */
function sessionTest(name: string, body: (scene: Scene) => Promise<void>, { confirms = false } = {}): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const made = await scene(confirms);
      await body(made);
      await made.close();
    },
  });
}

/** Opens a session, and lets all that it waits for come to its end. */
async function opened(session: Scene["session"], finish: Scene["finish"]): Promise<void> {
  const opening = session.open();
  await settled();
  for (const what of ["decision", "recording", "open"]) await finish(what);
  await opening;
}

const BEGUN = ["decision", "dial", "recording"];

sessionTest("decision, recording and connection are made at once", async ({ session, happened, finish }) => {
  const opening = session.open();
  await settled();
  assert.deepEqual(happened, BEGUN);
  for (const what of ["decision", "recording", "open"]) await finish(what);
  await opening;
  await finish("start");
});

for (const [first, last] of [["decision", "recording"], ["recording", "decision"]] as const) {
  sessionTest(
    `nothing is asked of the upstream before the ${last} is durable`,
    async ({ session, happened, finish }) => {
      const opening = session.open();
      await settled();
      await finish(first);
      assert.deepEqual(happened, BEGUN);
      await finish(last);
      await finish("open");
      assert.deepEqual(happened, [...BEGUN, "open", "start"]);
      await opening;
      await finish("start");
    },
  );
}

sessionTest("no session begins before its start is durable", async ({ session, happened, finish }) => {
  await opened(session, finish);
  const running = session.run(() => {
    happened.push("run");
    return Promise.resolve({ end: ENDED, streams: [], events: [] });
  });
  await settled();
  assert.deepEqual(happened, [...BEGUN, "open", "start"]);
  await finish("start");
  await finish("end");
  assert.deepEqual(happened, [...BEGUN, "open", "start", "run", "end"]);
  await running;
});

const ENDED = { reason: "client_closed", by: "client", message: "the client left" } as const;

sessionTest("a session whose start cannot be written ends as it begins", async ({ session, finish }) => {
  await opened(session, finish);
  await finish("start", new Error("no space left on device"));
  const running = session.run(() => {
    const { reason } = session.signal;
    assert.ok(reason instanceof SessionFailure);
    return Promise.resolve({ end: reason.end, streams: [], events: [] });
  });
  await settled();
  await finish("end");
  assert.equal((await running).end.reason, "audit_failure");
});

sessionTest(
  "a session that fails for reasons of the gateway's own ends as any other, in the audit and in its recording",
  async ({ session, slots, happened, finish, lastEvent }) => {
    await opened(session, finish);
    await finish("start");
    const running = session.run(() => Promise.reject(new TypeError("undefined is not a function")));
    await finish("end");
    assert.equal((await running).end.reason, "gateway_error");
    assert.deepEqual(happened, [...BEGUN, "open", "start", "abandon", "end"]);
    assert.equal(slots.open, 0);
    const { annotations } = lastEvent();
    assert.equal(annotations["postern.dev/end-reason"], "gateway_error");
    assert.match(annotations["postern.dev/recording-link"] ?? "", /^[0-9a-f]{64}$/);
  },
);

sessionTest(
  "escape: nothing passes before the pod is known to be the one that was checked, and nothing at all where it is not",
  async ({ session, happened, finish, lastEvent }) => {
    await opened(session, finish);
    const running = session.run(() => {
      happened.push("run");
      const { reason } = session.signal;
      assert.ok(reason instanceof SessionFailure);
      return Promise.resolve({ end: reason.end, streams: [], events: [] });
    });
    await finish("start");
    assert.deepEqual(happened, [...BEGUN, "open", "confirmed", "start"]);
    await finish("confirmed", new Refusal("NotFound", 'pods "web" not found'));
    await finish("end");
    const { reason, message } = (await running).end;
    assert.deepEqual([reason, message], ["upstream_refused", 'pods "web" not found']);
    assert.equal(lastEvent().responseStatus?.status, "Failure");
  },
  { confirms: true },
);

for (const what of ["decision", "recording"] as const) {
  sessionTest(
    `where the ${what} cannot be written nothing is asked, and all that was begun is given back`,
    async ({ session, slots, happened, finish, recordings }) => {
      const opening = session.open();
      const refused = assert.rejects(opening, { reason: "ServiceUnavailable" });
      await settled();
      const other = what === "decision" ? "recording" : "decision";
      await finish(other);
      await finish(what, new Error("no space left on device"));
      await refused;
      assert.deepEqual(happened, [...BEGUN, "abandon"]);
      assert.equal(slots.open, 0);
      assert.equal(recordings(), what === "decision" ? 1 : 0);
    },
  );
}

sessionTest(
  "who must answer the client first waits for the decision, and for nothing else",
  async ({ session, happened, finish }) => {
    let isReady = false;
    const preparing = session.prepare().then(() => isReady = true);
    await settled();
    assert.deepEqual([happened, isReady], [BEGUN, false]);
    await finish("decision");
    await preparing;
    const opening = session.open();
    await settled();
    assert.deepEqual(happened, BEGUN);
    await finish("recording");
    await finish("open");
    await opening;
    await finish("start");
  },
);
