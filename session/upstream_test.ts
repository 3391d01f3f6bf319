import assert from "node:assert/strict";
import { apiServerTarget, authority, kubeletTarget } from "./upstream.ts";

const REQUEST = {
  subresource: "exec",
  namespace: "default",
  pod: "web",
  uid: "u-1",
  container: "c",
  command: ["sh", "-c", "echo a&b =\n"],
  stdin: true,
  stdout: true,
  stderr: true,
  tty: false,
} as const;
const NONE = { command: [], stdin: false, stdout: false, stderr: false, tty: false };

const targets = [
  {
    name: "an exec",
    request: REQUEST,
    want: "/exec/default/web/u-1/c?command=sh&command=-c&command=echo+a%26b+%3D%0A&error=1&input=1&output=1",
  },
  {
    name: "an exec of nothing",
    request: { ...REQUEST, ...NONE, tty: true },
    want: "/exec/default/web/u-1/c?tty=1",
  },
  {
    name: "an attach",
    request: { ...REQUEST, ...NONE, subresource: "attach", stdout: true },
    want: "/attach/default/web/u-1/c?output=1",
  },
  {
    name: "a port-forward",
    request: { ...REQUEST, ...NONE, subresource: "portforward", container: undefined },
    want: "/portForward/default/web/u-1",
  },
] as const;

for (const { name, request, want } of targets) {
  Deno.test(`kubeletTarget of ${name} is what an API server would ask for, with the pod's UID`, () => {
    assert.equal(kubeletTarget(request), want);
  });
}

const PODS = "/api/v1/namespaces/default/pods/web";
const apiTargets = [
  {
    name: "an exec",
    request: REQUEST,
    want:
      `${PODS}/exec?command=sh&command=-c&command=echo+a%26b+%3D%0A&container=c&stderr=true&stdin=true&stdout=true`,
  },
  {
    name: "an attach",
    request: { ...REQUEST, ...NONE, subresource: "attach", stdout: true, tty: true },
    want: `${PODS}/attach?container=c&stdout=true&tty=true`,
  },
  {
    name: "a port-forward",
    request: { ...REQUEST, ...NONE, subresource: "portforward", container: undefined },
    want: `${PODS}/portforward`,
  },
] as const;

for (const { name, request, want } of apiTargets) {
  Deno.test(`apiServerTarget of ${name} is what kubectl would ask for`, () => {
    assert.equal(apiServerTarget(request), want);
  });
}

Deno.test("authority puts brackets around IPv6", () => {
  assert.equal(authority({ host: "fd00::1", port: 10250 }), "[fd00::1]:10250");
  assert.equal(authority({ host: "node1", port: 10250 }), "node1:10250");
});
