import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { readProxyAddress } from "./proxy_address.ts";
import { readRequestTarget } from "./request_target.ts";

const read = (path: string) => readProxyAddress(readRequestTarget(path).segments);

const DEFAULT = "/api/v1/namespaces/default";
const good = [
  {
    path: "/api/v1/nodes/node1/proxy/metrics/cadvisor",
    want: ["nodes", undefined, "", "node1", "", "metrics/cadvisor"],
  },
  { path: "/api/v1/nodes/node1:10250/proxy", want: ["nodes", undefined, "", "node1", "10250", ""] },
  {
    path: "/api/v1/nodes/https:node1:10250/proxy/",
    want: ["nodes", undefined, "https", "node1", "10250", ""],
  },
  { path: `${DEFAULT}/pods/web/proxy/a/b`, want: ["pods", "default", "", "web", "", "a/b"] },
  { path: `${DEFAULT}/pods/http:web:8080/proxy`, want: ["pods", "default", "http", "web", "8080", ""] },
  { path: `${DEFAULT}/pods/https:web:/proxy`, want: ["pods", "default", "https", "web", "", ""] },
  { path: `${DEFAULT}/services/web:http/proxy/x`, want: ["services", "default", "", "web", "http", "x"] },
  { path: `${DEFAULT}/services/we%62/prox%79/%65xec`, want: ["services", "default", "", "web", "", "exec"] },
];
for (const { path, want } of good) {
  Deno.test(`readProxyAddress reads ${path}`, () => {
    const { resource, namespace, scheme, name, port, rest } = read(path);
    assert.deepEqual([resource, namespace, scheme, name, port, rest.join("/")], want);
  });
}

const bad = [
  { path: "/api/v1/nodes/ftp:node1:21/proxy", message: 'invalid node request "ftp:node1:21"' },
  { path: `${DEFAULT}/pods/a:b:c:d/proxy`, message: 'invalid pod request "a:b:c:d"' },
  { path: `${DEFAULT}/pods/:80/proxy`, message: 'invalid pod request ":80"' },
  { path: `${DEFAULT}/services/http::80/proxy`, message: 'invalid service request "http::80"' },
  { path: "/api/v1/nodes/node1/status", message: "the server could not find the requested resource" },
  { path: `${DEFAULT}/nodes/node1/proxy`, message: "the server could not find the requested resource" },
  { path: "/api/v1/pods/web/proxy", message: "the server could not find the requested resource" },
];
for (const { path, message } of bad) {
  Deno.test(`readProxyAddress refuses ${path}`, () => {
    assert.throws(() => read(path), (error) => error instanceof Refusal && error.message === message);
  });
}
