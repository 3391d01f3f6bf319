import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { DialError } from "./kubelet_dial.ts";
import { UpstreamRefusal } from "./kubelet_upgrade.ts";
import { ownRefusal, type Upstream } from "./own_refusal.ts";

const refused = (status: number, body: string) =>
  new UpstreamRefusal(status, [], new TextEncoder().encode(body));
const said = (message: string) => JSON.stringify({ kind: "Status", message, code: 403 });

const KUBELET =
  "Forbidden (user=system:serviceaccount:ns:sa, verb=create, resource=nodes, subresource(s)=[proxy])\n";
const RBAC = said(
  'pods "shell" is forbidden: User "system:serviceaccount:ns:sa" cannot create resource "pods/exec" in API group ""',
);

for (
  const [what, upstream, thrown] of [
    ["a kubelet's 403", "the kubelet", refused(403, KUBELET)],
    ["a kubelet's 401", "the kubelet", refused(401, "Unauthorized")],
    ["an API server's 401", "the API server", refused(401, said("Unauthorized"))],
    ["a right that the API server misses", "the API server", refused(403, RBAC)],
  ] as const satisfies [string, Upstream, Error][]
) {
  Deno.test(`ownRefusal: ${what} is told to the log alone`, () => {
    const told = ownRefusal(thrown, upstream);
    assert.ok(told instanceof Refusal);
    assert.equal(told.reason, "ServiceUnavailable");
    assert.equal(told.message, `${upstream} does not let the gateway in`);
    assert.equal(told.cause, thrown);
  });
}

for (
  const [what, thrown] of [
    [
      "an admission webhook's",
      refused(403, said('admission webhook "w.example.com" denied the request: no')),
    ],
    [
      "an admission plugin's that quotes the authorizer",
      refused(403, said('pods "shell" is forbidden: not by: User "x" cannot create resource "pods/exec"')),
    ],
    ["a proxy's", refused(403, "no upgrades here")],
    ["of a container that does not run", refused(400, said("container not running"))],
    ["that there is no answer", new DialError("error dialing backend: connection refused")],
  ] as const
) {
  Deno.test(`ownRefusal: what is ${what} stays what it is`, () => {
    assert.equal(ownRefusal(thrown, "the API server"), thrown);
  });
}

Deno.test("ownRefusal: the log has the right that is missing, and no more than a line of it", () => {
  assert.equal(refused(403, KUBELET).message, `the upstream answered 403: ${KUBELET.trim()}`);
  assert.equal(refused(403, said("no")).message, "the upstream answered 403: no");
  assert.ok(refused(403, "x".repeat(60_000)).message.length < 1100);
});
