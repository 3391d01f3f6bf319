import assert from "node:assert/strict";
import { readRequestTarget } from "./request_target.ts";
import { readKubeletAddress, readPodAddress } from "./session_address.ts";

const WEB = { namespace: "ns", pod: "web" };
const addresses = [
  {
    path: "/proxy/nodes/n1/exec/ns/web/c",
    want: { ...WEB, kind: "exec", container: "c", form: "legacy", node: "n1", isRun: false },
  },
  {
    path: "/proxy/minions/n1/portForward/ns/web",
    want: { ...WEB, kind: "portforward", container: undefined, form: "legacy", node: "n1", isRun: false },
  },
  {
    path: "/api/v1/proxy/minions/n1/exec/ns/web/c",
    want: { ...WEB, kind: "exec", container: "c", form: "legacy", node: "n1", isRun: false },
  },
  {
    path: "/api/v1/nodes/n1/proxy/attach/ns/web/u-1/c",
    want: {
      ...WEB,
      kind: "attach",
      container: "c",
      form: "node_proxy",
      node: "n1",
      isRun: false,
      uid: "u-1",
    },
  },
  {
    path: "/api/v1/nodes/n1/proxy/portForward/ns/web/u-1",
    want: {
      ...WEB,
      kind: "portforward",
      container: undefined,
      form: "node_proxy",
      node: "n1",
      isRun: false,
      uid: "u-1",
    },
  },
  {
    path: "/api/v1/nodes/https:n1:10250/proxy/run/ns/web/c?cmd=id",
    want: { ...WEB, kind: "exec", container: "c", form: "node_proxy", node: "https:n1:10250", isRun: true },
  },
] as const;
for (const { path, want } of addresses) {
  Deno.test(`readKubeletAddress reads ${path}`, () => {
    assert.deepEqual(readKubeletAddress(readRequestTarget(path).segments), want);
  });
}

const others = [
  "/api/v1/nodes/n1/proxy",
  "/api/v1/nodes/n1/proxy/healthz",
  "/api/v1/nodes/n1/proxy/EXEC/ns/web/c",
  "/api/v1/nodes/n1/proxy/portforward/ns/web",
  "/api/v1/nodes/n1/proxy/exec/ns/web",
  "/api/v1/nodes/n1/proxy/exec/ns/web/u/c/more",
  "/api/v1/nodes/n1/proxy/portForward/ns/web/u/c",
  "/api/v1/nodes/n1/proxy/constructor/ns/web/c",
  "/api/v1/namespaces/ns/pods/web/exec",
  "/proxy/pods/n1/exec/ns/web/c",
  "/proxy/nodes",
  "/api/v1beta3/proxy/nodes/n1/exec/ns/web/c",
  "/apis/v1/nodes/n1/proxy/exec/ns/web/c",
];
for (const path of others) {
  Deno.test(`readKubeletAddress takes ${path} for no session`, () => {
    assert.equal(readKubeletAddress(readRequestTarget(path).segments), undefined);
  });
}

Deno.test("readPodAddress takes the first container, and an empty one for none", () => {
  const read = (query: string) =>
    readPodAddress(readRequestTarget(`/api/v1/namespaces/ns/pods/web/attach?${query}`), "attach").container;
  assert.deepEqual([read("container=a&container=b"), read("container="), read("")], [
    "a",
    undefined,
    undefined,
  ]);
});
