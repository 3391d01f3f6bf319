import assert from "node:assert/strict";
import { requestInfo } from "./request_info.ts";

const core = { group: "" };
const CASES: { request: string; info: object }[] = [
  { request: "GET /version", info: { verb: "get", path: "/version" } },
  { request: "GET /api/v1", info: { verb: "get", path: "/api/v1" } },
  {
    request: "GET /apis/authorization.k8s.io/v1",
    info: { verb: "get", path: "/apis/authorization.k8s.io/v1" },
  },
  { request: "GET /api/v1/pods", info: { ...core, verb: "list", resource: "pods" } },
  { request: "GET /api/v1/pods?watch=1", info: { ...core, verb: "watch", resource: "pods" } },
  { request: "GET /api/v1/pods?watch", info: { ...core, verb: "watch", resource: "pods" } },
  { request: "GET /api/v1/pods?watch=False", info: { ...core, verb: "list", resource: "pods" } },
  {
    request: "GET /api/v1/namespaces/default/pods/web?watch=1",
    info: { ...core, verb: "get", resource: "pods", namespace: "default", name: "web" },
  },
  {
    request: "POST /api/v1/namespaces/default/pods/web/exec",
    info: {
      ...core,
      verb: "create",
      resource: "pods",
      subresource: "exec",
      namespace: "default",
      name: "web",
    },
  },
  { request: "GET /api/v1/namespaces", info: { ...core, verb: "list", resource: "namespaces" } },
  {
    request: "GET /api/v1/namespaces/default",
    info: { ...core, verb: "get", resource: "namespaces", namespace: "default", name: "default" },
  },
  {
    request: "GET /api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dweb",
    info: { ...core, verb: "list", resource: "pods", namespace: "default", name: "web" },
  },
  {
    request: "DELETE /api/v1/namespaces/default/pods",
    info: { ...core, verb: "deletecollection", resource: "pods", namespace: "default" },
  },
  {
    request: "GET //api//v1/nodes/a%2Fb/",
    info: { ...core, verb: "get", resource: "nodes", name: "a/b" },
  },
  {
    request: "POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
    info: { verb: "create", group: "authorization.k8s.io", resource: "subjectaccessreviews" },
  },
  { request: "TRACE /api/v1/pods", info: { ...core, verb: "", resource: "pods" } },
];
for (const { request, info } of CASES) {
  Deno.test(`requestInfo reads ${request}`, () => {
    const [method = "", target = ""] = request.split(" ");
    assert.deepEqual(requestInfo(method, new URL(`https://api${target}`)), info);
  });
}
