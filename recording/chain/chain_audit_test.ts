import assert from "node:assert/strict";
import { ChainAudit } from "./chain_audit.ts";
import { type ChainEntry, DayChain } from "./day_chain.ts";
import { Signer, Verifier } from "../format/signer.ts";
import { PRIVATE_KEY, PUBLIC_KEY } from "../test_recording.ts";

const DAY = "2026/11/21";
const FIRST = `${DAY}/gw-0_120000000-00000001.chain`;
const SECOND = `${DAY}/gw-0_130000000-00000002.chain`;
const OF_ANOTHER = `${DAY}/gw-1_130000000-00000002.chain`;
const LATER = "2026/12/30/gw-0_130000000-00000002.chain";

function text(...entries: ChainEntry[]): string {
  const chain = new DayChain(new Signer(PRIVATE_KEY));
  return entries.map((entry, at) => chain.add(entry, Date.UTC(2026, 10, 21, 12, 0, at))).join("");
}

async function* inPieces(text: string, bytes = 7): AsyncGenerator<Uint8Array> {
  const all = new TextEncoder().encode(text);
  for (let at = 0; at < all.length; at += bytes) yield await Promise.resolve(all.subarray(at, at + bytes));
}

const BEGIN: ChainEntry = { event: "chain", instance: "gw-0" };
const RECORDING = `${DAY}/a.rec`;

async function audited(chains: Record<string, string>, recordings: readonly string[] = []) {
  const audit = new ChainAudit(new Verifier([PUBLIC_KEY]));
  for (const path of recordings) audit.recording(path, { link: "ab" });
  const results = [];
  for (const [path, text] of Object.entries(chains)) results.push(await audit.chain(path, inPieces(text)));
  const findings = await audit.end("", () => Promise.resolve(false));
  return { results, codes: findings.map(({ code, path }) => `${code} ${path}`) };
}

Deno.test("a chain that does not name the one before it is one of two that tell different stories", async () => {
  const chains = { [FIRST]: text(BEGIN), [SECOND]: text(BEGIN) };
  assert.deepEqual((await audited(chains)).codes, [`chain_forked ${SECOND}`]);
});

for (
  const [name, path, before] of [
    ["is of another gateway", OF_ANOTHER, text(BEGIN)],
    ["is older than what a gateway looks back on", LATER, text(BEGIN)],
    ["was begun and never written to", SECOND, ""],
  ] as const
) {
  Deno.test(`a chain need not name one that ${name}`, async () => {
    assert.deepEqual((await audited({ [FIRST]: before, [path]: text(BEGIN) })).codes, []);
  });
}

Deno.test("a recording that was begun since its store was listed is not missed", async () => {
  const audit = new ChainAudit(new Verifier([PUBLIC_KEY]));
  await audit.chain(FIRST, inPieces(text(BEGIN, { event: "began", recording: RECORDING, auditId: "a" })));
  assert.deepEqual(await audit.end("", (path) => Promise.resolve(path === RECORDING)), []);
});

Deno.test("a chain may begin with no other line than its own", async () => {
  const { results } = await audited({ [FIRST]: text({ event: "alive" }) });
  assert.deepEqual([results[0]?.fault?.code, results[0]?.fault?.line], ["line_invalid", 1]);
});

Deno.test("a line of a gigabyte takes no more memory than one that may be", async () => {
  const audit = new ChainAudit(new Verifier([]));
  let read = 0;
  const endless = async function* () {
    for (;;) {
      read += 100_000;
      assert.ok(read < 1_000_000, "what is no line is not read on");
      yield await Promise.resolve(new Uint8Array(100_000).fill(0x20));
    }
  };
  const { fault } = await audit.chain(FIRST, endless());
  assert.equal(fault?.code, "line_invalid");
});

Deno.test("what an unsigned line says in place of a path is no path", async () => {
  const chain = new DayChain(undefined);
  const lies = [BEGIN, { event: "began", recording: { toString: "x" } }, { event: "deleted", recording: 7 }];
  const text = lies.map((entry) => chain.add(entry as ChainEntry, 0)).join("");
  const audit = new ChainAudit(new Verifier([]));
  await audit.chain(FIRST, inPieces(text));
  assert.deepEqual(await audit.end("", () => Promise.resolve(false)), []);
});
