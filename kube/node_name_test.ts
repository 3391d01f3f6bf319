import assert from "node:assert/strict";
import type { V1Node } from "@kubernetes/client-node";
import { isNodeNamed } from "./node_name.ts";

const NODE: V1Node = {
  metadata: { name: "node1" },
  status: {
    addresses: [
      { type: "Hostname", address: "node1" },
      { type: "InternalDNS", address: "worker-1.example.com" },
      { type: "InternalIP", address: "10.0.0.5" },
      { type: "InternalIP", address: "fd00::5" },
    ],
  },
};

const names = [
  { name: "its name", given: "node1", want: true },
  { name: "its name in capitals, as DNS has it", given: "Node1", want: true },
  { name: "its FQDN", given: "worker-1.example.com", want: true },
  { name: "the short form of its FQDN", given: "worker-1", want: true },
  { name: "its IPv4 address", given: "10.0.0.5", want: true },
  { name: "its IPv6 address", given: "fd00::5", want: true },
  { name: "its name and the kubelet's port", given: "node1:10250", want: true },
  { name: "the API server's longest form", given: "https:node1:10250", want: true },
  { name: "the same without a port", given: "https:node1:", want: true },
  { name: "another port of the node", given: "node1:10255", want: false },
  { name: "another scheme", given: "http:node1:10250", want: false },
  { name: "another node", given: "node2", want: false },
  { name: "a name in another domain", given: "worker-1.evil.example", want: false },
  { name: "the first number of its address", given: "10", want: false },
  { name: "nothing", given: "", want: false },
];
for (const { name, given, want } of names) {
  Deno.test(`isNodeNamed: ${name} is ${want ? "" : "not "}the node`, () => {
    assert.equal(isNodeNamed(given, NODE, 10250), want);
  });
}
