import assert from "node:assert/strict";
import fc from "fast-check";
import { readStreamHeaders, writeStreamHeaders } from "./stream_headers.ts";

interface Case {
  name: string;
  headers: Record<string, string>;
  id?: number;
  isLegacy?: boolean;
  /** `type port request` of what is read; or the reason of a refusal. */
  want?: string;
  reason?: string;
}

// The reasons are those of k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go, 0.34.4.
const CASES: Case[] = [
  {
    name: "an error stream",
    headers: { streamtype: "error", port: "80", requestid: "0" },
    want: "error 80 0",
  },
  {
    name: "a data stream",
    headers: { streamtype: "data", port: "65535", requestid: "x" },
    want: "data 65535 x",
  },
  { name: "leading zeros", headers: { streamtype: "data", port: "0080", requestid: "0" }, want: "data 80 0" },
  {
    name: "an error stream without request ID (E-100)",
    id: 5,
    headers: { streamtype: "error", port: "80" },
    want: "error 80 5",
  },
  {
    name: "a data stream without request ID (E-100)",
    id: 7,
    headers: { streamtype: "data", port: "80" },
    want: "data 80 5",
  },
  {
    name: "the first data stream without request ID",
    id: 1,
    headers: { streamtype: "data", port: "80" },
    want: "data 80 -1",
  },
  {
    name: "an empty request ID",
    id: 7,
    headers: { streamtype: "data", port: "80", requestid: "" },
    want: "data 80 5",
  },
  {
    name: "the first of several values",
    headers: { streamtype: "data\0error", port: "80\x0022", requestid: "a\0b" },
    want: "data 80 a",
  },
  {
    name: "a request ID of 256 characters",
    headers: { streamtype: "data", port: "1", requestid: "r".repeat(256) },
    want: `data 1 ${"r".repeat(256)}`,
  },
  { name: "no port", headers: { streamtype: "data" }, reason: '"port" header is required' },
  { name: "an empty port", headers: { streamtype: "data", port: "" }, reason: '"port" header is required' },
  {
    name: "an empty first port",
    headers: { streamtype: "data", port: "\x0080" },
    reason: '"port" header is required',
  },
  { name: "port 0", headers: { streamtype: "data", port: "0" }, reason: 'port "0" must be > 0' },
  { name: "port 00", headers: { streamtype: "data", port: "00" }, reason: 'port "00" must be > 0' },
  {
    name: "a negative port",
    headers: { streamtype: "data", port: "-1" },
    reason: 'unable to parse "-1" as a port: strconv.ParseUint: parsing "-1": invalid syntax',
  },
  {
    name: "a port beyond 65535",
    headers: { streamtype: "data", port: "65536" },
    reason: 'unable to parse "65536" as a port: strconv.ParseUint: parsing "65536": value out of range',
  },
  { name: "no stream type", headers: { port: "80" }, reason: '"streamType" header is required' },
  { name: "the port before the stream type", headers: { port: "0" }, reason: 'port "0" must be > 0' },
  {
    name: "an unknown stream type",
    headers: { streamtype: "foo", port: "80" },
    reason: 'invalid stream type "foo"',
  },
  {
    name: "a stream type of another case",
    headers: { streamtype: "Data", port: "80" },
    reason: 'invalid stream type "Data"',
  },
  {
    name: "a request ID without end",
    headers: { streamtype: "data", port: "80", requestid: "r".repeat(257) },
    reason: '"requestID" header has more than 256 characters',
  },
  {
    name: "a port alone, of a documented client",
    id: 3,
    isLegacy: true,
    headers: { port: "80" },
    want: "data 80 3 alone",
  },
  {
    name: "port 0 of a documented client",
    isLegacy: true,
    headers: { port: "0" },
    reason: 'port "0" must be > 0',
  },
  {
    name: "named streams of a documented client",
    id: 3,
    isLegacy: true,
    headers: { port: "80", streamtype: "data" },
    want: "data 80 1",
  },
  {
    name: "an unknown stream type of a documented client",
    isLegacy: true,
    headers: { port: "80", streamtype: "stdin" },
    reason: 'invalid stream type "stdin"',
  },
];
for (const { name, headers, id = 9, isLegacy = false, want, reason } of CASES) {
  Deno.test(`readStreamHeaders ${reason === undefined ? "reads" : "refuses"} ${name}`, () => {
    const said = readStreamHeaders(id, new Map(Object.entries(headers)), { isLegacy });
    if (!said.ok) return assert.equal(said.reason, reason);
    const { type, port, requestId, isAlone } = said.stream;
    assert.equal(`${type} ${port} ${requestId}${isAlone ? " alone" : ""}`, want);
  });
}

Deno.test("what is written upstream is read there as it was read here, whatever the client sent", () => {
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom("80", "0", "data", "error", "data\0error", "22\x0080", ""),
  );
  const headers = fc.dictionary(fc.constantFrom("port", "streamtype", "requestid", ":path"), value);
  fc.assert(
    fc.property(headers, fc.integer({ min: 1, max: 0x7fff_ffff }), fc.boolean(), (given, id, isLegacy) => {
      const here = readStreamHeaders(id, new Map(Object.entries(given)), { isLegacy });
      if (!here.ok) return;
      const written = writeStreamHeaders(here.stream);
      assert.deepEqual([...written.keys()], ["streamtype", "port", "requestid"]);
      const there = readStreamHeaders(id + 2, written);
      assert.deepEqual(there, { ok: true, stream: { ...here.stream, isAlone: false } });
    }),
  );
});
