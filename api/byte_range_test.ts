import assert from "node:assert/strict";
import fc from "fast-check";
import { isRangeWanted, readByteRange, readConditions } from "./byte_range.ts";

const SIZE = 1000;

// RFC 9110, 14.1.2: the examples, and what they leave open.
const ranges = [
  { header: "bytes=0-499", want: { start: 0, end: 500 } },
  { header: "bytes=500-", want: { start: 500, end: 1000 } },
  { header: "bytes=-300", want: { start: 700, end: 1000 } },
  { header: "bytes=-5000", want: { start: 0, end: 1000 } },
  { header: "bytes=999-999", want: { start: 999, end: 1000 } },
  { header: "bytes=900-5000", want: { start: 900, end: 1000 } },
  { header: "BYTES=0-0", want: { start: 0, end: 1 } },
  { header: "bytes=1000-", want: "unsatisfiable" },
  { header: "bytes=1000-1001", want: "unsatisfiable" },
  { header: "bytes=-0", want: "unsatisfiable" },
  { header: null, want: undefined },
  { header: "bytes=5-2", want: undefined },
  { header: "bytes=-", want: undefined },
  { header: "bytes=0-1,5-6", want: undefined },
  { header: "lines=0-1", want: undefined },
  { header: "bytes=0x1-2", want: undefined },
  { header: "bytes=-1-2", want: undefined },
  { header: `bytes=0-${"9".repeat(400)}`, want: undefined },
] as const;
for (const { header, want } of ranges) {
  Deno.test(`of ${SIZE} bytes, ${String(header).slice(0, 40)} is ${JSON.stringify(want) ?? "the whole"}`, () => {
    assert.deepEqual(readByteRange(header, SIZE), want);
  });
}

Deno.test("a range of bytes lies within what there is, whatever is asked for", () => {
  const header = fc.oneof(
    fc.string(),
    fc.tuple(fc.option(fc.nat()), fc.option(fc.nat())).map(([first, last]) =>
      `bytes=${first ?? ""}-${last ?? ""}`
    ),
  );
  fc.assert(fc.property(header, fc.nat({ max: 2 ** 40 }), (text, size) => {
    const range = readByteRange(text, size);
    if (range === undefined || range === "unsatisfiable") return;
    assert.ok(0 <= range.start && range.start < range.end && range.end <= size);
  }));
});

Deno.test("nothing is a range of what is empty", () => {
  for (const header of ["bytes=0-", "bytes=-5", "bytes=0-0"]) {
    assert.equal(readByteRange(header, 0), "unsatisfiable");
  }
});

const conditions = [
  { headers: {}, etag: '"a"', want: undefined },
  { headers: { "If-Match": '"b", "a"' }, etag: '"a"', want: undefined },
  { headers: { "If-Match": '"b"' }, etag: '"a"', want: 412 },
  { headers: { "If-Match": 'W/"a"' }, etag: '"a"', want: 412 },
  { headers: { "If-Match": '"a"' }, etag: null, want: 412 },
  { headers: { "If-Match": "*" }, etag: null, want: undefined },
  { headers: { "If-None-Match": '"a"' }, etag: '"a"', want: 304 },
  { headers: { "If-None-Match": 'W/"a"' }, etag: '"a"', want: 304 },
  { headers: { "If-None-Match": '"b"' }, etag: '"a"', want: undefined },
  { headers: { "If-None-Match": '"a"' }, etag: null, want: undefined },
] as const;
for (const { headers, etag, want } of conditions) {
  Deno.test(`with ETag ${etag}, ${JSON.stringify(headers)} makes ${want ?? "no difference"}`, () => {
    assert.equal(readConditions(new Headers(headers), etag), want);
  });
}

const conditional = [
  { condition: undefined, etag: null, want: true },
  { condition: '"a"', etag: '"a"', want: true },
  { condition: '"b"', etag: '"a"', want: false },
  { condition: 'W/"a"', etag: '"a"', want: false },
  { condition: '"a"', etag: null, want: false },
  { condition: "Sat, 21 Nov 2026 12:00:00 GMT", etag: '"a"', want: false },
];
for (const { condition, etag, want } of conditional) {
  Deno.test(`with ETag ${etag}, If-Range ${condition} ${want ? "lets a range be" : "asks for the whole"}`, () => {
    const headers = new Headers(condition === undefined ? {} : { "If-Range": condition });
    assert.equal(isRangeWanted(headers, etag), want);
  });
}
