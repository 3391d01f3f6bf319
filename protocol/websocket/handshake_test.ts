import assert from "node:assert/strict";
import {
  acceptKey,
  type HeaderLines,
  readUpgradeRequest,
  readUpgradeResponse,
  upgradeRequestHeaders,
  upgradeResponseHeaders,
} from "./handshake.ts";

// RFC 6455, 1.3
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const ASKED: HeaderLines = [
  ["Host", "cluster"],
  ["Upgrade", "websocket"],
  ["Connection", "Upgrade"],
  ["Sec-WebSocket-Key", KEY],
  ["Sec-WebSocket-Version", "13"],
];

/** `ASKED` with these lines in place of those of the same names. */
function asked(...lines: HeaderLines): HeaderLines {
  const names = lines.map(([name]) => name.toLowerCase());
  return [...ASKED.filter(([name]) => !names.includes(name.toLowerCase())), ...lines];
}

Deno.test("acceptKey makes the accept key of RFC 6455, 1.3", () => assert.equal(acceptKey(KEY), ACCEPT));

const OFFERS: { name: string; headers: HeaderLines; offered: string[] }[] = [
  { name: "E-75 no subprotocol", headers: ASKED, offered: [] },
  {
    name: "a comma list with and without blanks",
    headers: asked(["Sec-WebSocket-Protocol", "v5.channel.k8s.io,v4.channel.k8s.io ,\tchannel.k8s.io"]),
    offered: ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"],
  },
  {
    name: "E-27 only the first of two lines",
    headers: asked(["Sec-WebSocket-Protocol", "foo"], ["sec-websocket-protocol", "v4.channel.k8s.io"]),
    offered: ["foo"],
  },
  {
    name: "E-113 a name with a slash, which HTTP has no token for",
    headers: asked(["Sec-WebSocket-Protocol", "foo, SPDY/3.1+portforward.k8s.io"]),
    offered: ["foo", "SPDY/3.1+portforward.k8s.io"],
  },
  { name: "E-12 Upgrade in any case", headers: asked(["upgrade", "WebSocket"]), offered: [] },
  {
    name: "E-11 Connection as a list",
    headers: asked(["connection", "keep-alive, Upgrade"]),
    offered: [],
  },
];

for (const { name, headers, offered } of OFFERS) {
  Deno.test(`readUpgradeRequest reads ${name}`, () => {
    assert.deepEqual(readUpgradeRequest("GET", headers), { ok: true, accept: ACCEPT, offered });
  });
}

const BAD_KEY = { status: 400, body: "mismatch challenge/response", headers: [] };
const BAD_VERSION = {
  status: 400,
  body: "missing or bad WebSocket Version",
  headers: [["Sec-WebSocket-Version", "13"]],
};
const NO_WEBSOCKET = { status: 400, body: "not websocket protocol", headers: [] };

const REFUSED: { name: string; method?: string; headers: HeaderLines; want: object }[] = [
  {
    name: "E-26 a POST",
    method: "POST",
    headers: ASKED,
    want: { status: 405, body: "bad method", headers: [] },
  },
  { name: "another Upgrade", headers: asked(["Upgrade", "SPDY/3.1"]), want: NO_WEBSOCKET },
  {
    name: "an Upgrade list that only contains websocket",
    headers: asked(["Upgrade", "websocket, SPDY/3.1"]),
    want: NO_WEBSOCKET,
  },
  { name: "a Connection without upgrade", headers: asked(["Connection", "close"]), want: NO_WEBSOCKET },
  { name: "no key", headers: ASKED.filter(([name]) => name !== "Sec-WebSocket-Key"), want: BAD_KEY },
  { name: "a key of 15 bytes", headers: asked(["Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"]), want: BAD_KEY },
  {
    name: "a key whose unused bits are set",
    headers: asked(["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR=="]),
    want: BAD_KEY,
  },
  {
    name: "two keys",
    headers: asked(["Sec-WebSocket-Key", KEY], ["Sec-WebSocket-Key", KEY]),
    want: BAD_KEY,
  },
  { name: "version 8", headers: asked(["Sec-WebSocket-Version", "8"]), want: BAD_VERSION },
  {
    name: "no version",
    headers: ASKED.filter(([name]) => name !== "Sec-WebSocket-Version"),
    want: BAD_VERSION,
  },
];

for (const { name, method = "GET", headers, want } of REFUSED) {
  Deno.test(`readUpgradeRequest refuses ${name} as Go servers do`, () => {
    assert.deepEqual(readUpgradeRequest(method, headers), { ok: false, ...want });
  });
}

Deno.test("upgradeResponseHeaders has an empty protocol line for a client without any (E-75)", () => {
  assert.deepEqual(upgradeResponseHeaders(ACCEPT, ""), [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Accept", ACCEPT],
    ["Sec-WebSocket-Protocol", ""],
  ]);
});

Deno.test("upgradeRequestHeaders makes a request that is read back", () => {
  const headers = upgradeRequestHeaders(KEY, ["v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"]);
  const offered = ["v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"];
  assert.deepEqual(readUpgradeRequest("GET", headers), { ok: true, accept: ACCEPT, offered });
});

const sent = { key: KEY, protocols: ["v5.channel.k8s.io", "v4.channel.k8s.io"] };

Deno.test("readUpgradeResponse returns the protocol that the server chose", () => {
  const headers = upgradeResponseHeaders(ACCEPT, "v4.channel.k8s.io");
  assert.equal(readUpgradeResponse(101, headers, sent), "v4.channel.k8s.io");
});

Deno.test("readUpgradeResponse takes no protocol where none was offered", () => {
  assert.equal(readUpgradeResponse(101, upgradeResponseHeaders(ACCEPT, ""), { key: KEY, protocols: [] }), "");
});

const V4 = upgradeResponseHeaders(ACCEPT, "v4.channel.k8s.io");
const BAD_ANSWERS: { name: string; status?: number; headers: HeaderLines; code: string }[] = [
  { name: "a status other than 101", status: 200, headers: V4, code: "handshake_status" },
  { name: "a 101 to something else", headers: [["Upgrade", "SPDY/3.1"]], code: "handshake_upgrade" },
  {
    name: "an answer to another key (a replayed one)",
    headers: upgradeResponseHeaders("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "v4.channel.k8s.io"),
    code: "handshake_accept",
  },
  {
    name: "an extension",
    headers: [...V4, ["Sec-WebSocket-Extensions", "permessage-deflate"]],
    code: "handshake_extensions",
  },
  {
    name: "a protocol that was not offered",
    headers: upgradeResponseHeaders(ACCEPT, "channel.k8s.io"),
    code: "handshake_protocol",
  },
  { name: "no protocol", headers: upgradeResponseHeaders(ACCEPT, ""), code: "handshake_protocol" },
  {
    name: "two protocols",
    headers: [...V4, ["Sec-WebSocket-Protocol", "v5.channel.k8s.io"]],
    code: "handshake_protocol",
  },
];

for (const { name, status = 101, headers, code } of BAD_ANSWERS) {
  Deno.test(`readUpgradeResponse refuses ${name}`, () => {
    assert.throws(() => readUpgradeResponse(status, headers, sent), { code });
  });
}
