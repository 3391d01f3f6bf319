import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Refusal } from "../kube/status.ts";
import { readCredential } from "./credential.ts";

const encoded = (token: string) =>
  `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString("base64url")}`;
const websocket = (...protocols: string[]): [string, string][] => [
  ["Upgrade", "websocket"],
  ...protocols.map((line): [string, string] => ["Sec-WebSocket-Protocol", line]),
];

const READ: { name: string; headers: [string, string][]; token: string; subprotocols?: string[] }[] = [
  { name: "a bearer token", headers: [["Authorization", "Bearer abc.def"]], token: "abc.def" },
  { name: "a scheme in any case", headers: [["authorization", "  bEARER abc"]], token: "abc" },
  {
    name: "E-28 a subprotocol beside another",
    headers: websocket(`${encoded("tok")}, v4.channel.k8s.io`),
    token: "tok",
    subprotocols: ["v4.channel.k8s.io"],
  },
  {
    name: "a subprotocol on a line of its own, in any order",
    headers: websocket("v5.channel.k8s.io,v4.channel.k8s.io", encoded("tok")),
    token: "tok",
    subprotocols: ["v5.channel.k8s.io", "v4.channel.k8s.io"],
  },
  {
    name: "the header before the subprotocol",
    headers: [["Authorization", "Bearer one"], ...websocket(`v4.channel.k8s.io, ${encoded("two")}`)],
    token: "one",
    subprotocols: ["v4.channel.k8s.io"],
  },
];
for (const { name, headers, token, subprotocols } of READ) {
  Deno.test(`readCredential takes ${name}`, () => {
    assert.deepEqual(readCredential(headers), { token, subprotocols });
  });
}

const REFUSED: { name: string; headers: [string, string][] }[] = [
  { name: "nothing", headers: [] },
  { name: "another scheme", headers: [["Authorization", "Basic YTpi"]] },
  { name: "an empty token", headers: [["Authorization", "Bearer "]] },
  {
    name: "two Authorization lines",
    headers: [["Authorization", "Bearer a"], ["authorization", "Bearer b"]],
  },
  { name: "a token of 1 MB", headers: [["Authorization", `Bearer ${"a".repeat(1_000_000)}`]] },
  { name: "a token with a control character", headers: [["Authorization", "Bearer a\x7fb"]] },
  { name: "E-28 a token as the only subprotocol", headers: websocket(encoded("tok")) },
  {
    name: "E-29 two token subprotocols",
    headers: websocket(`${encoded("a")}, ${encoded("b")}, v4.channel.k8s.io`),
  },
  { name: "padding", headers: websocket(`${encoded("to")}==, v4.channel.k8s.io`) },
  {
    name: "a subprotocol that is no UTF-8",
    headers: websocket("base64url.bearer.authorization.k8s.io._w, v4.channel.k8s.io"),
  },
  {
    name: "a subprotocol on a request that is no WebSocket",
    headers: [["Sec-WebSocket-Protocol", `${encoded("tok")}, v4`]],
  },
];
for (const { name, headers } of REFUSED) {
  Deno.test(`readCredential refuses ${name} with 401 and how to do better`, () => {
    assert.throws(() => readCredential(headers), (thrown) => {
      assert.ok(thrown instanceof Refusal);
      return thrown.reason === "Unauthorized" &&
        thrown.headers["WWW-Authenticate"]?.startsWith("Bearer") === true;
    });
  });
}
