/** Events leave the gateway for other systems, and what becomes of that system changes neither sessions nor events. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { TestReceiver } from "../../audit/sinks/test_receiver.ts";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import { Collector } from "./support/collector.ts";
import { Gateway } from "./support/gateway.ts";
import { CLIENTS, kubectl } from "./support/kubectl.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { eventually } from "./support/wait.ts";
import { freePort } from "../support/free_port.ts";

type Sinks = NonNullable<NonNullable<GivenConfiguration["audit"]>["sinks"]>;

live("a webhook that goes down and comes back has every event that the file has", async (folder) => {
  let receiver = new TestReceiver();
  try {
    const { port } = receiver;
    await using gateway = await Gateway.start({ audit: { sinks: fileAndWebhook(folder, port) } });
    const posted: string[] = [];
    await everyClient(gateway);
    await eventually("events arrive", () => receiver.posted.length > 0 || undefined);

    await receiver[Symbol.asyncDispose]();
    posted.push(...receiver.posted.map(({ text }) => text));
    await everyClient(gateway); // sessions go on while it is down
    await eventually("the log says so", async () => /no answer/.test(await gateway.log()) || undefined);

    receiver = new TestReceiver({ port });
    // Ill at first: takes events and says that it has not, says that it cannot, and then is well.
    let answers = 0;
    receiver.answer = ({ text }) => {
      if (++answers === 1) posted.push(text);
      return new Response(null, { status: answers <= 2 ? 503 : 200 });
    };
    await everyClient(gateway);
    const written = await settled(folder, () => [
      ...posted.flatMap(eventsOf),
      ...receiver.posted.flatMap(({ text }) => eventsOf(text)),
    ]);
    // A session for each client, thrice; each has a decision, a start, its streams and an end.
    assert.ok(written.length >= 3 * CLIENTS.length * 5, `${written.length} events`);
    await gateway.stop();
  } finally {
    await receiver[Symbol.asyncDispose]();
  }
});

live(
  "a gateway that is killed while its webhook is down loses no event: the next one sends them",
  async (folder) => {
    const port = freePort();
    const audit = { sinks: fileAndWebhook(folder, port) };
    {
      await using gateway = await Gateway.start({ audit });
      await everyClient(gateway);
      await settled(folder, async () => (await segmentsIn(folder)).flatMap((text) => linesOf(text)));
      gateway.child?.kill("SIGKILL");
      await gateway.child?.status;
    }
    const acknowledged = await eventsIn(folder);
    assert.ok(acknowledged.length >= CLIENTS.length * 5, `${acknowledged.length} events`);
    await using receiver = new TestReceiver({ port });
    await using gateway = await Gateway.start({ audit });
    await settled(folder, () => receiver.posted.flatMap(({ text }) => eventsOf(text)));
    await gateway.stop();
  },
);

live("a receiver that refuses an event has all others, and that one is kept", async (folder) => {
  await using receiver = new TestReceiver();
  receiver.answer = ({ text }) => new Response(null, { status: text.includes("unwanted") ? 400 : 200 });
  await using gateway = await Gateway.start({ audit: { sinks: fileAndWebhook(folder, receiver.port) } });
  await kubectl({ ...as(gateway), args: ["exec", "shell", "--", "echo", "unwanted"] });
  await everyClient(gateway);
  const rejected = join(folder, "spool", "rejected");
  await settled(folder, async () => [
    ...receiver.posted.flatMap(({ text }) => eventsOf(text)),
    ...(await textsIn(rejected)).flatMap((text) => linesOf(text)),
  ]);
  const kept = (await textsIn(rejected)).flatMap((text) => linesOf(text));
  assert.ok(kept.length > 0 && kept.every(({ requestURI }) => requestURI.includes("unwanted")));
  assert.match(await gateway.log(), /answered 400 to an event, which is kept in/);
  await gateway.stop();
});

live("no audit, no session: a spool on a full disk refuses until there is room", async () => {
  await using disk = await SmallDisk.mount(96 << 10);
  const sinks = [webhook(join(disk.folder, "spool"), freePort())];
  await using gateway = await Gateway.start({ audit: { sinks } });
  assert.equal((await inside(gateway)).code, 0);
  const filler = join(disk.folder, "filler");
  await disk.fill(filler);
  // What is left of the last page may hold the decision, and not the start of the session, which then ends as it begins.
  await refusedForAudit(gateway, /so (nothing is opened|the session ends)/);
  await Deno.remove(filler);
  assert.equal((await inside(gateway)).code, 0);
  await gateway.stop();
});

live("no audit, no session: a spool that is full refuses", async (folder) => {
  // What a receiver would not have for long enough.
  await Deno.mkdir(join(folder, "spool", "rejected"), { recursive: true });
  await Deno.writeFile(join(folder, "spool", "rejected", "0000000000000001.jsonl"), new Uint8Array(16 << 20));
  const sinks = [webhook(join(folder, "spool"), freePort())];
  await using gateway = await Gateway.start({ audit: { sinks } });
  await refusedForAudit(gateway);
  assert.match(await gateway.log(), /the spool is full: it holds 16777216 bytes of at most 16777216/);
  await gateway.stop();
});

live("two gateways do not share a spool: the second does not start", async (folder) => {
  const sinks = fileAndWebhook(folder, freePort());
  await using first = await Gateway.start({ audit: { sinks } });
  await assert.rejects(
    Gateway.start({ audit: { sinks: [sinks[1]!] } }),
    /did not start[^]*is in use by another process/,
  );
  await first.stop();
});

live("a collector that is down fails no session, unless it is required", async (folder) => {
  const url = `http://127.0.0.1:${freePort()}/v1/logs`;
  const file = { type: "file", path: join(folder, "audit.log") } as const;
  {
    await using gateway = await Gateway.start({ audit: { sinks: [file, { type: "otlp", url }] } });
    await everyClient(gateway);
    await eventually("the log says so", async () => /no answer/.test(await gateway.log()) || undefined);
    await gateway.stop();
  }
  await using gateway = await Gateway.start({
    audit: { sinks: [file, { type: "otlp", url, required: true, timeoutSeconds: 2 }] },
  });
  await refusedForAudit(gateway);
  await gateway.stop();
});

live("a real collector has every event as a log record, also those of when it was down", async (folder) => {
  const port = freePort();
  const sinks: Sinks = [
    { type: "file", path: join(folder, "audit.log") },
    { type: "otlp", url: `http://127.0.0.1:${port}/v1/logs`, retry: { maxBackoffSeconds: 1 } },
  ];
  await using gateway = await Gateway.start({ audit: { sinks } });
  await everyClient(gateway);
  const refused = await kubectl({
    ...as(gateway),
    user: "bob",
    args: ["exec", "shell", "--", "echo", "inside"],
  });
  assert.equal(refused.code, 1);
  await using collector = await Collector.start(port, folder);
  await everyClient(gateway);
  const written = await settled(
    folder,
    async () => (await collector.records()).map(({ body }) => JSON.parse(body.stringValue)),
  );
  assert.ok(written.length >= 2 * CLIENTS.length * 5, `${written.length} events`);
  const denied = (await collector.records()).find(({ severityText }) => severityText === "WARN");
  const attributes = new Map(denied?.attributes.map(({ key, value }) => [key, value]));
  assert.deepEqual(attributes.get("user.name"), { stringValue: "bob" });
  assert.deepEqual(attributes.get("k8s.pod.name"), { stringValue: "shell" });
  assert.deepEqual(attributes.get("http.response.status_code"), { intValue: "403" });
  await gateway.stop();
});

/** The file, and a webhook that loses no time. */
function fileAndWebhook(folder: string, port: number): Sinks {
  return [{ type: "file", path: join(folder, "audit.log") }, webhook(join(folder, "spool"), port)];
}

function webhook(directory: string, port: number): Sinks[number] {
  return {
    type: "webhook",
    url: `http://127.0.0.1:${port}/events`,
    retry: { maxBackoffSeconds: 1 },
    spool: { directory, maxBytes: 16 << 20 },
  };
}

/** A session by each client, which must be as if nothing were amiss. */
async function everyClient(gateway: Gateway): Promise<void> {
  for (const client of CLIENTS) {
    const { code, stdout, stderr } = await inside(gateway, client);
    assert.deepEqual([code, text(stdout)], [0, "inside\n"], text(stderr));
  }
}

function inside(gateway: Gateway, client: typeof CLIENTS[number] = "websocket") {
  return kubectl({ ...as(gateway), client, args: ["exec", "shell", "--", "echo", "inside"] });
}

function as(gateway: Gateway) {
  return { user: "alice", cluster: gateway.cluster, endpoint: gateway } as const;
}

/** The client is refused, with the reason, and nothing runs. */
async function refusedForAudit(gateway: Gateway, so = /so nothing is opened/): Promise<void> {
  const { code, stdout, stderr } = await inside(gateway);
  assert.deepEqual([code, text(stdout)], [1, ""]);
  assert.match(text(stderr), /the audit log cannot be written/);
  assert.match(text(stderr), so);
}

/** Waits until what arrived is what the file has, event for event. @returns it */
async function settled(
  folder: string,
  arrived: () => AuditEvent[] | Promise<AuditEvent[]>,
): Promise<AuditEvent[]> {
  const written = async () => sortedSet(await eventsIn(folder));
  await eventually("every session has ended", async () => {
    const kinds = (await eventsIn(folder)).map(({ annotations }) => annotations["postern.dev/event"]);
    const count = (kind: string) => kinds.filter((each) => each === kind).length;
    return count("start") === count("end") || undefined;
  });
  await eventually(
    "every event arrives",
    async () => sortedSet(await arrived()).length >= (await written()).length || undefined,
  );
  assert.deepEqual(sortedSet(await arrived()), await written());
  return await eventsIn(folder);
}

/** Events, each once: twice is allowed, otherwise is not. */
function sortedSet(events: readonly AuditEvent[]): string[] {
  return [...new Set(events.map((event) => `${keyOf(event)} ${JSON.stringify(event)}`))].sort();
}

/** What tells events apart. */
function keyOf({ auditID, annotations }: AuditEvent): string {
  return [auditID, annotations["postern.dev/event"], annotations["postern.dev/stream-id"]].join(" ");
}

async function eventsIn(folder: string): Promise<AuditEvent[]> {
  return linesOf(await Deno.readTextFile(join(folder, "audit.log")));
}

function linesOf(jsonLines: string): AuditEvent[] {
  return jsonLines.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

/** The events of an EventList. */
function eventsOf(list: string): AuditEvent[] {
  return JSON.parse(list).items;
}

/** What is spooled. */
async function segmentsIn(folder: string): Promise<string[]> {
  return await textsIn(join(folder, "spool"), /^[0-9]+\.jsonl$/);
}

async function textsIn(folder: string, pattern = /./): Promise<string[]> {
  const files = (await Array.fromAsync(Deno.readDir(folder))).filter(({ name }) => pattern.test(name));
  return await Promise.all(files.map(({ name }) => Deno.readTextFile(join(folder, name))));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Registers a test with a folder of its own. */
function live(name: string, body: (folder: string) => Promise<void>): void {
  const fn = async () => {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-sinks-" });
    try {
      await body(folder);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
