import assert from "node:assert/strict";
import { isNotSpoken, SpokenWires, type Wire, wiresOf } from "./apiserver_wires.ts";
import { DialError } from "./kubelet_dial.ts";
import { UpstreamRefusal } from "./kubelet_upgrade.ts";

const refusal = (status: number, body: string) =>
  new UpstreamRefusal(status, [], new TextEncoder().encode(body));
const statusOf = (code: number, reason: string, message: string) =>
  refusal(
    code,
    JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", message, reason, code }),
  );

const ANOTHER_WIRE: { name: string; wire?: Wire; thrown: unknown }[] = [
  {
    name: "an API server that saw no upgrade, as a proxy took it away",
    thrown: statusOf(400, "BadRequest", "Upgrade request required"),
  },
  {
    name: "a kubelet's protocols, passed on",
    thrown: refusal(
      403,
      "unable to upgrade: unable to negotiate protocol: client supports [v4.channel.k8s.io]",
    ),
  },
  { name: "a proxy without SPDY", thrown: refusal(400, "<h1>Unsupported protocol</h1>") },
  { name: "a proxy that takes no POST there", thrown: refusal(405, "") },
  { name: "a proxy that wants another upgrade", thrown: refusal(426, "") },
  { name: "a proxy that knows no upgrades", thrown: refusal(501, "not implemented") },
  { name: "E-94 a kubelet that knows no v5", wire: "v5.channel.k8s.io", thrown: refusal(403, "") },
];
for (const { name, wire = "SPDY/3.1", thrown } of ANOTHER_WIRE) {
  Deno.test(`isNotSpoken of ${name}: another wire is tried`, () => {
    assert.equal(isNotSpoken(wire, thrown), true);
  });
}

const FINAL: { name: string; wire?: Wire; thrown: unknown }[] = [
  {
    name: "attack: a pod named for an upgrade, that a POST may not open but a GET might",
    thrown: statusOf(403, "Forbidden", 'pods "upgrade-protocol-spdy" is forbidden: User "eve" cannot create'),
  },
  {
    name: "an admission webhook with words about protocols",
    thrown: statusOf(403, "Forbidden", 'admission webhook "a" denied the request: upgrade your ticket'),
  },
  {
    name: "a container named for an upgrade",
    thrown: statusOf(400, "BadRequest", "container unable-to-upgrade is not valid for pod upgrade"),
  },
  { name: "nobody", thrown: statusOf(401, "Unauthorized", "Unauthorized") },
  { name: "no pod", thrown: statusOf(404, "NotFound", 'pods "upgrade" not found') },
  { name: "a denied v5", wire: "v5.channel.k8s.io", thrown: statusOf(403, "Forbidden", "no") },
  { name: "too many", thrown: refusal(429, "upgrade your plan") },
  {
    name: "a kubelet's own words",
    thrown: refusal(400, "you must specify at least 1 of stdin, stdout, stderr"),
  },
  {
    name: "a kubelet that failed",
    thrown: refusal(500, "unable to upgrade connection: container not found"),
  },
  { name: "a server that cannot be reached", thrown: new DialError("protocol upgrade") },
];
for (const { name, wire = "SPDY/3.1", thrown } of FINAL) {
  Deno.test(`isNotSpoken of ${name}: that is final`, () => {
    assert.equal(isNotSpoken(wire, thrown), false);
  });
}

Deno.test("wiresOf keeps to the transport that is configured, and never opens channels for ports", () => {
  assert.deepEqual(wiresOf("exec", "spdy"), ["SPDY/3.1"]);
  assert.deepEqual(wiresOf("attach", "auto"), ["SPDY/3.1", "v5.channel.k8s.io", "v4.channel.k8s.io"]);
  assert.deepEqual(wiresOf("exec", "websocket"), ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
  assert.deepEqual(wiresOf("portforward", "auto"), ["SPDY/3.1", "SPDY/3.1+portforward.k8s.io"]);
});

Deno.test("SpokenWires skips what was not spoken, of that server alone, and asks again an hour later", () => {
  let nowMs = 0;
  const spoken = new SpokenWires(() => nowMs);
  const [exec, ports] = [wiresOf("exec", "auto"), wiresOf("portforward", "auto")];
  spoken.opened("a:443", exec, "v4.channel.k8s.io");
  assert.deepEqual(spoken.toTry("a:443", exec), ["v4.channel.k8s.io"]);
  assert.deepEqual(spoken.toTry("b:443", exec), exec);
  assert.deepEqual(spoken.toTry("a:443", ports), ports);
  nowMs = 3_599_999;
  spoken.opened("a:443", exec, "v4.channel.k8s.io"); // does not put it off
  assert.deepEqual(spoken.toTry("a:443", exec), ["v4.channel.k8s.io"]);
  nowMs = 3_600_000;
  assert.deepEqual(spoken.toTry("a:443", exec), exec);
  spoken.opened("a:443", exec, "SPDY/3.1");
  nowMs = 0;
  assert.deepEqual(spoken.toTry("a:443", exec), exec);
});
