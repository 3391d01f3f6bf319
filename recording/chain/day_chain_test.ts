import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { type ChainEntry, DayChain, DayChainVerifier } from "./day_chain.ts";
import { Signer, Verifier } from "../format/signer.ts";

function keyPair() {
  return generateKeyPairSync("ed25519", {
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
}

const KEYS = keyPair();
const AT = Date.UTC(2026, 10, 21, 12);
const ENTRIES: readonly ChainEntry[] = [
  { event: "chain", instance: "gateway-0", after: { path: "2026/11/20/gateway-0_1.chain", line: "ab" } },
  { event: "began", recording: "2026/11/21/a.rec", auditId: "a" },
  { event: "began", recording: "2026/11/21/b.rec", auditId: "b" },
  { event: "ended", recording: "2026/11/21/a.rec", auditId: "a", link: "cd" },
  { event: "broke", recording: "2026/11/21/b.rec", auditId: "b", reason: "no space left on device" },
  { event: "deleted", recording: "2026/11/21/b.rec", reason: "older than 90 days" },
];

function written(signer = new Signer(KEYS.privateKey)): string[] {
  const chain = new DayChain(signer);
  return ENTRIES.map((entry, index) => chain.add(entry, AT + index));
}

function verify(text: string, keys: readonly string[] = [KEYS.publicKey]) {
  const verifier = new DayChainVerifier(new Verifier(keys));
  verifier.push(text);
  return { fault: verifier.end(), entries: verifier.entries };
}

Deno.test("a chain reads back as it was written, cut anywhere", () => {
  const text = written().join("");
  fc.assert(fc.property(fc.nat(text.length), (at) => {
    const verifier = new DayChainVerifier(new Verifier([KEYS.publicKey]));
    verifier.push(text.slice(0, at));
    verifier.push(text.slice(at));
    assert.equal(verifier.end(), undefined);
    assert.deepEqual(verifier.entries, ENTRIES);
  }));
});

Deno.test("a chain without signatures is held together by its lines alone", () => {
  const chain = new DayChain(undefined);
  const text = ENTRIES.map((entry) => chain.add(entry, AT)).join("");
  assert.deepEqual(verify(text, []), { fault: undefined, entries: ENTRIES });
});

const faults: { name: string; change: (lines: string[]) => string; code: string; line: number }[] = [
  { name: "a line is missing", change: (lines) => lines.toSpliced(2, 1).join(""), code: "gap", line: 3 },
  {
    name: "the first line is missing",
    change: (lines) => lines.slice(1).join(""),
    code: "gap",
    line: 1,
  },
  {
    name: "two lines changed places",
    change: ([first = "", second = "", third = "", ...rest]) => [first, third, second, ...rest].join(""),
    code: "gap",
    line: 2,
  },
  {
    name: "a line says something else",
    change: (lines) => lines.join("").replace("b.rec", "c.rec"),
    code: "signature_wrong",
    line: 3,
  },
  {
    name: "the last line is cut",
    change: (lines) => lines.join("").slice(0, -10),
    code: "tail_missing",
    line: 6,
  },
  { name: "a line is none", change: (lines) => `${lines[0]}nonsense\n`, code: "line_invalid", line: 2 },
  {
    name: "a line has spaces that nobody signed",
    change: (lines) => lines.join("").replace('{"n":2,', '{"n": 2,'),
    code: "line_invalid",
    line: 2,
  },
  {
    name: "somebody else wrote it",
    change: () => written(new Signer(keyPair().privateKey)).join(""),
    code: "key_unknown",
    line: 1,
  },
  {
    name: "nobody signed it",
    change: () => {
      const chain = new DayChain(undefined);
      return ENTRIES.map((entry) => chain.add(entry, AT)).join("");
    },
    code: "signature_wrong",
    line: 1,
  },
];
for (const { name, change, code, line } of faults) {
  Deno.test(`a chain in which ${name} is found out`, () => {
    const { fault } = verify(change(written()));
    assert.deepEqual([fault?.code, fault?.line], [code, line]);
  });
}

Deno.test("a flipped bit anywhere in a chain is found", () => {
  const bytes = new TextEncoder().encode(written().join(""));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
      const changed = bytes.slice();
      changed[at]! ^= 1 << bit;
      assert.notEqual(verify(new TextDecoder().decode(changed)).fault, undefined);
    }),
    { numRuns: 500 },
  );
});
