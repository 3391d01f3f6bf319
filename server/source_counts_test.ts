import assert from "node:assert/strict";
import { SourceCounts } from "./source_counts.ts";

const ALIKE = [
  { a: "192.0.2.1", b: "192.0.2.1", isSame: true, why: "one IPv4 address" },
  { a: "192.0.2.1", b: "192.0.2.2", isSame: false, why: "two IPv4 addresses" },
  { a: "192.0.2.1", b: "::ffff:192.0.2.1", isSame: true, why: "an IPv4 address at a socket of IPv6" },
  { a: "192.0.2.1", b: "::FFFF:192.0.2.1", isSame: true, why: "the same in capitals" },
  { a: "2001:db8::1", b: "2001:db8::dead:beef", isSame: true, why: "two addresses of one /64" },
  { a: "2001:db8::1", b: "2001:db8:0:0:ffff:0:0:2", isSame: true, why: "the same, spelt out" },
  { a: "2001:0db8::1", b: "2001:DB8:0:0::2", isSame: true, why: "zeros and capitals" },
  { a: "2001:db8::1", b: "2001:db8:0:1::1", isSame: false, why: "two networks of one /48" },
  { a: "fe80::1%eth0", b: "fe80::2", isSame: true, why: "an address with its interface" },
  { a: "::1", b: "::192.0.2.1", isSame: true, why: "the lowest network, with a dotted end" },
  { a: "::1", b: "127.0.0.1", isSame: false, why: "the two loopback addresses" },
];
for (const { a, b, isSame, why } of ALIKE) {
  Deno.test(`SourceCounts counts ${isSame ? "together" : "apart"}: ${why}`, () => {
    const counts = new SourceCounts(1);
    assert.equal(counts.enter(a), true);
    assert.equal(counts.enter(b), !isSame);
  });
}

Deno.test("SourceCounts lets a source in again, and forgets who has left", () => {
  const counts = new SourceCounts(2);
  for (const expected of [true, true, false]) assert.equal(counts.enter("192.0.2.1"), expected);
  counts.leave("192.0.2.1"); // of the three, whichever
  counts.leave("192.0.2.1");
  assert.equal(counts.enter("192.0.2.1"), true);
  for (let left = 2; left > 0; left--) counts.leave("192.0.2.1");
  assert.equal(counts.sources, 0);
});
