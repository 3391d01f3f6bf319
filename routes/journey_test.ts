import assert from "node:assert/strict";
import { Journey } from "./journey.ts";
import { readRequestTarget } from "./request_target.ts";

function journey(method: string, subresource?: string): Journey {
  const rawTarget = "/api/v1/namespaces/default/pods/web";
  const rawHeaders = [["user-agent", "kubectl"]] as const;
  const context = {
    remoteAddress: "192.0.2.1",
    remotePort: 1,
    rawTarget,
    rawHeaders,
    signal: new AbortController().signal,
  };
  const objectRef = subresource === undefined ? undefined : { resource: "pods", name: "web", subresource };
  return new Journey(method, context, readRequestTarget(rawTarget), objectRef);
}

const VERBS = [
  { method: "GET", subresource: "exec", verb: "create" },
  { method: "POST", subresource: "exec", verb: "create" },
  { method: "GET", subresource: undefined, verb: "get" },
  { method: "PUT", subresource: undefined, verb: "update" },
  { method: "PATCH", subresource: undefined, verb: "patch" },
  { method: "DELETE", subresource: undefined, verb: "delete" },
];
for (const { method, subresource, verb } of VERBS) {
  Deno.test(`${method} ${subresource ?? "of a pod"} is audited as ${verb}`, () => {
    assert.equal(journey(method, subresource).facts.verb, verb);
  });
}

Deno.test("what is learned adds to what was known", () => {
  const one = journey("GET", "exec");
  const user = { username: "bob", uid: "", groups: [], extra: {} };
  const impersonator = { ...user, username: "root" };
  one.learnIdentity({ user, impersonator });
  one.learn({ argv: ["id"] });
  const { user: asked, impersonatedUser, argv, userAgent, sourceIps } = one.facts;
  assert.deepEqual([asked?.username, impersonatedUser?.username], ["root", "bob"]);
  assert.deepEqual([argv, userAgent, sourceIps], [["id"], "kubectl", ["192.0.2.1"]]);
});
