import assert from "node:assert/strict";
import type { V1Node } from "@kubernetes/client-node";
import { addressFilter, kubeletAddress } from "./node_address.ts";
import { Refusal } from "./status.ts";

const node = {
  status: {
    addresses: [{ type: "Hostname", address: "node1" }, { type: "InternalIP", address: "10.0.0.5" }],
    daemonEndpoints: { kubeletEndpoint: { Port: 10251 } },
  },
} as unknown as V1Node;

Deno.test("kubeletAddress takes the first type that the node has, and the node's port", () => {
  assert.deepEqual(kubeletAddress(node, { addressTypes: ["InternalDNS", "InternalIP", "Hostname"] }), {
    host: "10.0.0.5",
    port: 10251,
  });
});

Deno.test("kubeletAddress takes the configured port before the node's, and 10250 where neither is", () => {
  assert.equal(kubeletAddress(node, { addressTypes: ["Hostname"], port: 443 }).port, 443);
  const silent: V1Node = { status: { addresses: [{ type: "Hostname", address: "n" }] } };
  assert.equal(kubeletAddress(silent, { addressTypes: ["Hostname"] }).port, 10250);
});

for (const address of ["a b", "n\r\nX: y", "n/../..", "u@h", ""]) {
  Deno.test(`kubeletAddress refuses the forged address ${JSON.stringify(address)}`, () => {
    const forged: V1Node = { status: { addresses: [{ type: "Hostname", address }] } };
    assert.throws(() => kubeletAddress(forged, { addressTypes: ["Hostname"] }), Refusal);
  });
}

const FILTERED = [
  { ranges: [], ip: "10.0.0.5", allowed: true },
  { ranges: [], ip: "2001:db8::1", allowed: true },
  { ranges: [], ip: "127.0.0.1", allowed: false },
  { ranges: [], ip: "::1", allowed: false },
  { ranges: [], ip: "::ffff:127.0.0.1", allowed: false },
  { ranges: [], ip: "::ffff:7f00:1", allowed: false },
  { ranges: [], ip: "64:ff9b::7f00:1", allowed: false },
  { ranges: [], ip: "169.254.169.254", allowed: false },
  { ranges: [], ip: "fe80::1", allowed: false },
  { ranges: [], ip: "0.0.0.0", allowed: false },
  { ranges: [], ip: "not an address", allowed: false },
  { ranges: ["10.0.0.0/8"], ip: "10.1.2.3", allowed: true },
  { ranges: ["10.0.0.0/8"], ip: "::ffff:10.1.2.3", allowed: true },
  { ranges: ["10.0.0.0/8"], ip: "192.168.0.1", allowed: false },
  { ranges: ["127.0.0.0/8"], ip: "127.0.0.1", allowed: true },
  { ranges: ["fd00::/8", "10.0.0.7"], ip: "fd12::1", allowed: true },
  { ranges: ["fd00::/8", "10.0.0.7"], ip: "10.0.0.8", allowed: false },
];
for (const { ranges, ip, allowed } of FILTERED) {
  Deno.test(`addressFilter [${ranges}] ${allowed ? "allows" : "refuses"} ${ip}`, () => {
    assert.equal(addressFilter(ranges)(ip), allowed);
  });
}
