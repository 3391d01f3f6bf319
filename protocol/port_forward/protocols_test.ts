import assert from "node:assert/strict";
import { negotiateSocket, negotiateStreams, negotiateTunnel } from "./protocols.ts";

const NO_COMMON = (names: string) =>
  `unable to upgrade: unable to negotiate protocol: client supports [${names}], server accepts [portforward.k8s.io]`;

// As a Kubernetes 1.34.4 API server answered each of them.
const STREAMS: { offers: string[]; status?: number; message?: string }[] = [
  { offers: ["portforward.k8s.io"] },
  { offers: ["x,portforward.k8s.io"] },
  { offers: ["x", " portforward.k8s.io "] },
  { offers: ["v9.k8s.io", "a, b"], status: 403, message: NO_COMMON("v9.k8s.io a b") },
  { offers: ["PORTFORWARD.k8s.io"], status: 403, message: NO_COMMON("PORTFORWARD.k8s.io") },
  { offers: [], status: 500, message: "invalid upgrade response: status code 200" },
  { offers: [""], status: 500, message: "invalid upgrade response: status code 200" },
];
for (const { offers, status, message } of STREAMS) {
  Deno.test(`negotiateStreams ${status === undefined ? "agrees" : "answers " + status} on ${JSON.stringify(offers)}`, () => {
    const accepted = status === 403 ? ["portforward.k8s.io"] : [];
    const want = status === undefined
      ? { ok: true, protocol: "portforward.k8s.io" }
      : { ok: false, status, message, accepted };
    assert.deepEqual(negotiateStreams(offers), want);
  });
}

const TUNNEL = "tunnel SPDY/3.1+portforward.k8s.io";
// Likewise; `403` is a bare status line.
const SOCKETS: { name?: string; offered: string[]; want: string }[] = [
  { offered: ["SPDY/3.1+portforward.k8s.io"], want: TUNNEL },
  { name: "E-113", offered: ["foo", "SPDY/3.1+portforward.k8s.io"], want: TUNNEL },
  { offered: ["v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"], want: TUNNEL },
  { offered: ["SPDY/3.1+v9.k8s.io", "SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"], want: TUNNEL },
  { offered: ["SPDY/3.1+foo", "SPDY/3.1+portforward.k8s.io"], want: TUNNEL },
  { offered: ["SPDY/3.1+v9.k8s.io"], want: `403 ${NO_COMMON("v9.k8s.io")}` },
  { offered: ["SPDY/3.1+portforward"], want: "403 " },
  { offered: ["spdy/3.1+portforward.k8s.io"], want: "403 " },
  { offered: ["v5.channel.k8s.io"], want: "403 " },
  { offered: ["channel.k8s.io"], want: "403 " },
  { offered: ["v5.channel.k8s.io", "v4.base64.channel.k8s.io"], want: "channels v4.base64.channel.k8s.io" },
  { offered: ["v4.base64.channel.k8s.io", "v4.channel.k8s.io"], want: "channels v4.base64.channel.k8s.io" },
  { offered: ["v4.channel.k8s.io"], want: "channels v4.channel.k8s.io" },
  { offered: [], want: "channels " },
];
for (const { name = "", offered, want } of SOCKETS) {
  Deno.test(`negotiateSocket ${name} makes "${want.slice(0, 40)}" of ${JSON.stringify(offered)}`, () => {
    const said = negotiateSocket(offered);
    assert.equal(said.ok ? `${said.transport} ${said.protocol}` : `${said.status} ${said.message}`, want);
  });
}

Deno.test("negotiateTunnel refuses where nothing asks for a tunnel", () => {
  assert.deepEqual(negotiateTunnel(["portforward.k8s.io"]), {
    ok: false,
    status: 400,
    message: "unable to upgrade: no tunneling spdy protocols provided",
    accepted: [],
  });
});
