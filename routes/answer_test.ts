import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Refusal } from "../kube/status.ts";
import { DialError } from "../session/kubelet_dial.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import { answerOf, toResponse } from "./answer.ts";
import { NegotiationRefusal } from "./negotiation.ts";

const CASES: { name: string; thrown: unknown; code: number; body: string; type?: string }[] = [
  {
    name: "a refusal is a Status",
    thrown: new Refusal("NotFound", 'pods "x" not found', { details: { name: "x", kind: "pods" } }),
    code: 404,
    body:
      '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \\"x\\" not found","reason":"NotFound","details":{"name":"x","kind":"pods"},"code":404}\n',
  },
  {
    name: "what is no refusal says nothing of itself",
    thrown: new TypeError("secret at line 3"),
    code: 500,
    body:
      '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"internal error","reason":"InternalError","code":500}\n',
  },
  {
    name: "E-19 a kubelet that cannot be reached has no reason, as at the API server",
    thrown: new DialError("error dialing backend: dial tcp 10.0.0.5:10250: connect: connection refused"),
    code: 500,
    body:
      '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"error dialing backend: dial tcp 10.0.0.5:10250: connect: connection refused","code":500}\n',
  },
  {
    name: "E-17 a kubelet's refusal passes in its own words",
    thrown: new UpstreamRefusal(
      404,
      [["Content-Type", "text/plain"], ["Set-Cookie", "a"]],
      Buffer.from("pod does not exist"),
    ),
    code: 404,
    body: "pod does not exist",
    type: "text/plain",
  },
  {
    name: "attack: a kubelet's words move no cursor of who reads them; lines stay lines",
    thrown: new UpstreamRefusal(
      404,
      [["Content-Type", "text/plain"]],
      Buffer.from("no\tpod\r\n\x1b]0;gotcha\x07.\xff\n", "latin1"),
    ),
    code: 404,
    body: "no\tpod\r\n\\u001b]0;gotcha\\u0007.\ufffd\n",
    type: "text/plain",
  },
  {
    name: "attack: nor does the message of a Status, which clients show",
    thrown: new UpstreamRefusal(
      403,
      [["Content-Type", "application/json"]],
      Buffer.from('{"kind":"Status","message":"a\\u001b[2Jb\\nc","code":403,"other":[1]}'),
    ),
    code: 403,
    body: '{"kind":"Status","message":"a\\\\u001b[2Jb\\nc","code":403,"other":[1]}\n',
  },
  {
    name: "E-18 a kubelet's redirect is followed by nobody",
    thrown: new UpstreamRefusal(302, [["Location", "https://elsewhere"]], new Uint8Array()),
    code: 500,
    body:
      '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"invalid upgrade response: status code 302","code":500}\n',
  },
  {
    name: "a protocol that was not agreed on is told in plain text",
    thrown: new NegotiationRefusal(403, "no\n", [[
      "X-Accepted-Stream-Protocol-Versions",
      "v4.channel.k8s.io",
    ]]),
    code: 403,
    body: "no\n",
    type: "text/plain; charset=utf-8",
  },
];
for (const { name, thrown, code, body, type = "application/json" } of CASES) {
  Deno.test(`answerOf: ${name}`, async () => {
    const response = toResponse(answerOf(thrown), "audit-id");
    assert.equal(response.status, code);
    assert.equal(await response.text(), body);
    assert.equal(response.headers.get("Content-Type"), type);
    assert.equal(response.headers.get("Audit-Id"), "audit-id");
    assert.equal(response.headers.get("Set-Cookie"), null);
  });
}

Deno.test("E-93 a WebSocket refusal is answered in the bytes of Go's server", () => {
  let raw = "";
  const upgrade = {
    accept: () => assert.fail("accepted"),
    answerRaw: (bytes: Uint8Array) => {
      raw = new TextDecoder().decode(bytes);
      return new Response();
    },
  };
  toResponse(answerOf(new NegotiationRefusal(403, "", [], true)), "audit-id", upgrade);
  assert.equal(raw, "HTTP/1.1 403 Forbidden\r\n\r\n");
});
