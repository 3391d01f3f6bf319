import assert from "node:assert/strict";
import { decisionEvent } from "./event.ts";
import { SinkJournal } from "./journal.ts";
import { safeJson } from "./line.ts";
import { openJournal } from "./open_journal.ts";
import type { Sink } from "./sink.ts";
import { StdoutSink } from "./sinks/stdout.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

/** An event that can be told from others by its auditID. */
function event(auditId: string) {
  const facts = { auditId, receivedAt: new Date(0), sourceIps: [], requestUri: "/", verb: "create" };
  return decisionEvent(facts, undefined, { allowed: true, rule: "r", reason: "" }, new Date(0));
}

/** A sink whose writes end when a test says so. */
class HeldSink implements Sink {
  readonly name = "held";
  readonly batches: string[][] = [];
  readonly #held: { resolve(): void; reject(error: Error): void }[] = [];
  closed = false;

  write(lines: Uint8Array): Promise<void> {
    const text = new TextDecoder().decode(lines);
    assert.ok(text.endsWith("\n"));
    this.batches.push(text.trimEnd().split("\n").map((line) => JSON.parse(line).auditID));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#held.push({ resolve, reject });
    return promise;
  }

  async next(error?: Error): Promise<void> {
    while (this.#held.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const held = this.#held.shift();
    if (error) held?.reject(error);
    else held?.resolve();
  }

  close(): void {
    this.closed = true;
  }
}

Deno.test("append resolves only when the sink has the lines", suite, async () => {
  const sink = new HeldSink();
  const journal = new SinkJournal([sink]);
  let done = false;
  const appended = journal.append([event("a")]).then(() => done = true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(done, false);
  await sink.next();
  await appended;
  assert.deepEqual(sink.batches, [["a"]]);
});

Deno.test("appends during a write share the next one, in order", suite, async () => {
  const sink = new HeldSink();
  const journal = new SinkJournal([sink]);
  const first = journal.append([event("a")]);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const others = Promise.all([journal.append([event("b"), event("c")]), journal.append([event("d")])]);
  await sink.next();
  await first;
  await sink.next();
  await others;
  assert.deepEqual(sink.batches, [["a"], ["b", "c", "d"]]);
});

Deno.test("a batch is bounded, and a long append goes alone", suite, async () => {
  const sink = new HeldSink();
  const journal = new SinkJournal([sink], { maxBatchBytes: 1 });
  const both = Promise.all([journal.append([event("a"), event("b")]), journal.append([event("c")])]);
  await sink.next();
  await sink.next();
  await both;
  assert.deepEqual(sink.batches, [["a", "b"], ["c"]]);
});

Deno.test("a failed write rejects all that shared it, and the next one is tried anew", suite, async () => {
  const failures: string[] = [];
  const sink = new HeldSink();
  const journal = new SinkJournal([sink], {
    onFailure: (name, error) => failures.push(`${name}: ${error instanceof Error ? error.message : ""}`),
  });
  const both = Promise.allSettled([journal.append([event("a")]), journal.append([event("b")])]);
  await sink.next(new Error("disk full"));
  for (const result of await both) {
    assert.equal(result.status, "rejected");
    assert.equal(result.status === "rejected" && result.reason.code, "sink_failed");
  }
  assert.deepEqual(failures, ["held: disk full"]);
  const { healthy, sinks: [status] } = journal.status();
  assert.deepEqual([healthy, status?.lastError, status?.failedEvents], [false, "disk full", 2]);

  const again = journal.append([event("c")]);
  await sink.next();
  await again;
  assert.equal(journal.status().healthy, true);
});

Deno.test(
  "what waits is bounded in events and in bytes: past it an append is rejected at once",
  suite,
  async () => {
    const lineBytes = safeJson(event("a")).length + 1;
    for (const bound of [{ maxPendingEvents: 1 }, { maxPendingBytes: 2 * lineBytes - 1 }]) {
      const sink = new HeldSink();
      const journal = new SinkJournal([sink], bound);
      const first = journal.append([event("a")]);
      await assert.rejects(journal.append([event("b")]), { name: "AuditError", code: "queue_full" });
      await sink.next();
      await first;
      const again = journal.append([event("c")]);
      await sink.next();
      await again;
    }
  },
);

Deno.test(
  "the oldest event that waits grows older until the sink has it, what comes later does not",
  suite,
  async () => {
    const sink = new HeldSink();
    const journal = new SinkJournal([sink]);
    const age = () => journal.status().sinks[0]?.oldestPendingMs ?? 0;
    assert.equal(age(), 0);
    const first = journal.append([event("a")]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(age() > 0, "the first waits");
    const secondMs = performance.now();
    const second = journal.append([event("b")]);
    await sink.next();
    await first;
    assert.ok(age() <= performance.now() - secondMs, "the second is younger");
    await sink.next();
    await second;
    assert.equal(age(), 0);
  },
);

Deno.test("an append has a deadline, and a sink that hangs is unhealthy", suite, async () => {
  const sink = new HeldSink();
  const journal = new SinkJournal([sink], { deadlineMs: 20 });
  await assert.rejects(journal.append([event("a")]), { name: "AuditError", code: "deadline" });
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(journal.status().healthy, false);
  await sink.next();
});

const requirements: { requireAll: boolean; failing: number; resolves: boolean; healthy: boolean }[] = [
  { requireAll: true, failing: 0, resolves: true, healthy: true },
  { requireAll: true, failing: 1, resolves: false, healthy: false },
  { requireAll: false, failing: 1, resolves: true, healthy: true },
  { requireAll: false, failing: 2, resolves: false, healthy: false },
];
for (const { requireAll, failing, resolves, healthy } of requirements) {
  Deno.test(
    `requireAll ${requireAll}, ${failing} of 2 sinks failing: append ${resolves ? "resolves" : "rejects"}`,
    suite,
    async () => {
      const sinks = [new HeldSink(), new HeldSink()];
      const journal = new SinkJournal(sinks, { requireAll });
      const appended = journal.append([event("a")]).then(() => true, ({ code }) => code);
      await Promise.all(sinks.map((sink, index) => sink.next(index < failing ? new Error("no") : undefined)));
      assert.equal(await appended, resolves ? true : "sink_failed");
      await new Promise((resolve) => setTimeout(resolve, 1)); // the slower sink, where one was enough
      assert.equal(journal.status().healthy, healthy);
      await journal.close();
      assert.ok(sinks.every((sink) => sink.closed));
    },
  );
}

Deno.test("close waits for what is under way, and takes nothing more", suite, async () => {
  const sink = new HeldSink();
  const journal = new SinkJournal([sink]);
  const appended = journal.append([event("a")]);
  const closed = journal.close();
  await assert.rejects(journal.append([event("b")]), { name: "AuditError", code: "closed" });
  assert.equal(sink.closed, false);
  await sink.next();
  await Promise.all([appended, closed]);
  assert.equal(sink.closed, true);
});

Deno.test(
  "StdoutSink writes all, however little is taken at once, and parts lines after a failure",
  suite,
  async () => {
    let written = "";
    let failing = false;
    const sink = new StdoutSink({
      write: (bytes) => {
        if (failing) return Promise.reject(new Error("broken pipe"));
        written += new TextDecoder().decode(bytes.subarray(0, 1));
        failing = written.endsWith("!");
        return Promise.resolve(1);
      },
    });
    await sink.write(new TextEncoder().encode("one\n"));
    await assert.rejects(sink.write(new TextEncoder().encode("t!wo\n")), /broken pipe/);
    failing = false;
    await sink.write(new TextEncoder().encode("three\n"));
    assert.equal(written, "one\nt!\nthree\n");
  },
);

Deno.test("openJournal stops the start where a required sink cannot be opened", suite, async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = (path: string) => ({ type: "file" as const, path, maxBytes: 1e6, maxFiles: 2, fsync: true });
    const sinks = [file(`${folder}/missing/audit.log`), file(`${folder}/audit.log`)];
    const failures: string[] = [];
    await assert.rejects(openJournal({ sinks, requireAll: true, writeTimeoutSeconds: 5 }), {
      code: "sink_failed",
    });
    const journal = await openJournal(
      { sinks, requireAll: false, writeTimeoutSeconds: 5 },
      (name) => failures.push(name),
    );
    await journal.append([event("a")]);
    await journal.close();
    assert.ok(failures.every((name) => name === `file ${folder}/missing/audit.log`) && failures.length > 0);
    assert.equal(JSON.parse(await Deno.readTextFile(`${folder}/audit.log`)).auditID, "a");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("close waits for what a sink still passes on, but not past the deadline", suite, async () => {
  for (const flushes of [true, false]) {
    const flushed = Promise.withResolvers<void>();
    let closed = false;
    const sink: Sink = {
      name: "spooled",
      write: () => Promise.resolve(),
      flush: () => flushed.promise,
      close: () => void (closed = true),
    };
    const journal = new SinkJournal([sink], { deadlineMs: 50 });
    await journal.append([event("a")]);
    const closing = journal.close();
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(closed, false);
    if (flushes) flushed.resolve();
    await closing;
    assert.equal(closed, true);
  }
});

Deno.test(
  "openJournal opens webhooks and collectors, and stops where a required one cannot be",
  suite,
  async () => {
    const folder = await Deno.makeTempDir();
    const wrong = { url: "https://siem/", caFile: `${folder}/missing`, timeoutSeconds: 1 };
    const retry = { initialBackoffSeconds: 1, maxBackoffSeconds: 1 };
    const otlp = {
      type: "otlp",
      ...wrong,
      retry,
      batch: { maxEvents: 1 },
      queue: { maxEvents: 1, maxBytes: 1 },
    } as const;
    const webhook = {
      type: "webhook",
      ...wrong,
      retry,
      batch: { maxEvents: 1, maxBytes: 1, maxWaitSeconds: 0 },
      spool: { directory: `${folder}/spool`, maxBytes: 1 },
    } as const;
    const stdout = { type: "stdout" } as const;
    const open = (...sinks: Parameters<typeof openJournal>[0]["sinks"]) =>
      openJournal({ sinks, requireAll: true, writeTimeoutSeconds: 1 });
    try {
      await assert.rejects(open(stdout, webhook), /audit sink webhook https:\/\/siem\/: .*No such file/);
      await assert.rejects(
        open(stdout, { ...otlp, required: true }),
        /audit sink otlp https:\/\/siem\/: .*No such file/,
      );
      const journal = await open(stdout, { ...otlp, required: false });
      await journal.close();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
