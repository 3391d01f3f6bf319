import assert from "node:assert/strict";
import { HostileScene, readAnswer, requestText } from "./hostile_scene.ts";

/** Requests on one connection, of those that are well-formed. */
const EACH = 110;
/** Of these, sent at once; the front takes 16. */
const AHEAD = 11;
/** One in so many is malformed, on a connection of its own. */
const MALFORMED = 100;
const CONNECTIONS_AT_ONCE = 10;

/** What is written down one by one at once, before anything is counted. */
const BURST = 100;

/** What the process may grow by, in bytes, however many knock: what waits to be collected. */
const MAX_GROWTH_BYTES = 192 << 20;

/**
 * Many requests of a stranger, as fast as they can be made: the audit has the first, and one exact count of all others.
 *
 * @param connections of {@linkcode EACH} requests without a credential
 */
export async function floodOfStrangers(connections: number): Promise<void> {
  const wellFormed = connections * EACH;
  const malformed = Math.ceil(wellFormed / MALFORMED);
  // Longer than the flood takes on any machine: what is written is the burst, and one count at the end.
  const strangers = { burstEvents: BURST, eventsPerMinute: 1, summarySeconds: 3600 };
  await using scene = await HostileScene.start({ strangers });
  await scene.isWell();
  const before = await scene.residentBytes();
  const waiting = [
    ...Array.from({ length: connections }, () => () => knock(scene)),
    ...Array.from({ length: malformed }, () => () => knockWithNonsense(scene)),
  ].values();
  await Promise.all(Array.from({ length: CONNECTIONS_AT_ONCE }, async () => {
    for (const work of waiting) await work();
  }));
  await scene.isWell();
  const grown = await scene.residentBytes() - before;
  assert.ok(grown < MAX_GROWTH_BYTES, `${grown} bytes more`);
  Deno.kill(scene.gateway.pid, "SIGTERM"); // whoever ends writes down what it counted
  await scene.gateway.ended;
  const events = await scene.eventsOf(({ user }) => user.username === undefined);
  if (Deno.env.has("POSTERN_FLOOD_MB")) {
    const text = `${wellFormed + malformed} refusals: ${grown >> 20} MB, ${events.length} events of ${
      JSON.stringify(events).length
    } bytes\n`;
    await Deno.stderr.write(new TextEncoder().encode(text));
  }
  const of = (type: string) => events.filter(({ annotations }) => annotations["postern.dev/event"] === type);
  const refusals = of("refusal");
  const [counting, counted, ...more] = of("refusals");
  assert.deepEqual(more, []);
  assert.equal(counting?.auditID, counted?.auditID);
  const said = (name: string) => counted?.annotations[`postern.dev/${name}`] ?? "";
  assert.ok(refusals.length >= BURST && refusals.length < BURST + 60, `${refusals.length} one by one`);
  assert.equal(refusals.length + Number(said("count")), wellFormed + malformed);
  const codes: Record<string, number> = JSON.parse(said("codes"));
  const ofNonsense = refusals.filter(({ responseStatus }) => responseStatus?.code === 400).length;
  assert.equal((codes["400"] ?? 0) + ofNonsense, malformed);
  assert.equal(said("source"), "127.0.0.1");
}

async function knock(scene: HostileScene): Promise<void> {
  const path = "/api/v1/namespaces/default/pods/web/exec?command=id";
  const requests = requestText(`GET ${path}`, ["Host: gateway"]).repeat(AHEAD);
  using client = await scene.connect();
  for (let sent = 0; sent < EACH; sent += AHEAD) {
    await client.send(requests);
    for (let index = 0; index < AHEAD; index++) assert.equal((await readAnswer(client)).code, 401);
  }
}

async function knockWithNonsense(scene: HostileScene): Promise<void> {
  const { code } = await scene.exchange("GET / HTTP/1.1\r\nHost: gateway\r\nHost: other\r\n\r\n");
  assert.equal(code, 400);
}
