import assert from "node:assert/strict";
import type { HeaderLine } from "./handler.ts";
import { negotiate, NegotiationRefusal } from "./negotiation.ts";

const spdy = (...protocols: string[]): HeaderLine[] => [
  ["Connection", "Upgrade"],
  ["Upgrade", "SPDY/3.1"],
  ...protocols.map((name): HeaderLine => ["X-Stream-Protocol-Version", name]),
];
const webSocket = (...protocols: string[]): HeaderLine[] => [
  ["Connection", "keep-alive, Upgrade"],
  ["Upgrade", "WebSocket"],
  ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
  ["Sec-WebSocket-Version", "13"],
  ...protocols.map((line): HeaderLine => ["Sec-WebSocket-Protocol", line]),
];

const AGREED = [
  {
    name: "SPDY, the client's first that is served",
    headers: spdy("v5.channel.k8s.io", "v4.channel.k8s.io"),
    want: "spdy v4.channel.k8s.io",
  },
  { name: "E-13 a list in one line", headers: spdy("v9, v3.channel.k8s.io"), want: "spdy v3.channel.k8s.io" },
  {
    name: "E-14 the client's order",
    headers: spdy("v2.channel.k8s.io", "v4.channel.k8s.io"),
    want: "spdy v2.channel.k8s.io",
  },
  {
    name: "E-12 E-11 WebSocket in any case",
    headers: webSocket("v4.channel.k8s.io"),
    want: "websocket v4.channel.k8s.io",
  },
  {
    name: "E-92 v5 wherever it is offered",
    headers: webSocket("v4.channel.k8s.io, v5.channel.k8s.io"),
    want: "websocket v5.channel.k8s.io",
  },
  { name: "E-75 no subprotocol", headers: webSocket(), want: "websocket " },
];
for (const { name, headers, want } of AGREED) {
  Deno.test(`negotiate: ${name}`, () => {
    const client = negotiate("GET", headers, undefined);
    assert.equal(`${client.transport} ${client.protocol}`, want);
  });
}

Deno.test("E-28 the 101 names the protocol, and never the token that stood among them", () => {
  const client = negotiate(
    "GET",
    webSocket("base64url.bearer.authorization.k8s.io.dG9r, v4.channel.k8s.io"),
    ["v4.channel.k8s.io"],
  );
  assert.deepEqual(client.headers, [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
    ["Sec-WebSocket-Protocol", "v4.channel.k8s.io"],
  ]);
});

const REFUSED = [
  {
    name: "E-15 unknown SPDY protocols",
    method: "POST",
    headers: spdy("v9"),
    status: 403,
    isRaw: false,
    says: /server accepts \[v4/,
  },
  {
    name: "E-16 no SPDY protocol",
    method: "POST",
    headers: spdy(),
    status: 400,
    isRaw: false,
    says: /X-Stream-Protocol-Version is required/,
  },
  {
    name: "another upgrade",
    method: "POST",
    headers: [["Connection", "Upgrade"], ["Upgrade", "h2c"]] as HeaderLine[],
    status: 400,
    isRaw: false,
    says: /missing upgrade headers/,
  },
  {
    name: "E-26 WebSocket by POST",
    method: "POST",
    headers: webSocket("v4.channel.k8s.io"),
    status: 405,
    isRaw: true,
    says: /bad method/,
  },
  {
    name: "E-93 v3 over WebSocket",
    method: "GET",
    headers: webSocket("v3.channel.k8s.io"),
    status: 403,
    isRaw: true,
    says: /^$/,
  },
  {
    name: "E-27 only the first line of subprotocols",
    method: "GET",
    headers: webSocket("foo", "v4.channel.k8s.io"),
    status: 403,
    isRaw: true,
    says: /^$/,
  },
];
for (const { name, method, headers, status, isRaw, says } of REFUSED) {
  Deno.test(`negotiate refuses ${name}`, () => {
    assert.throws(() => negotiate(method, headers, undefined), (thrown) => {
      assert.ok(thrown instanceof NegotiationRefusal);
      assert.deepEqual([thrown.status, thrown.isRaw], [status, isRaw]);
      assert.match(thrown.body, says);
      return true;
    });
  });
}
