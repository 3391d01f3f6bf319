import assert from "node:assert/strict";
import fc from "fast-check";
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
  { ranges: [], ip: "::FFFF:A9FE:A9FE", allowed: false },
  { ranges: [], ip: "0:0:0:0:0:ffff:127.0.0.1", allowed: false },
  { ranges: [], ip: "::127.0.0.1", allowed: false },
  { ranges: [], ip: "::ffff:10.0.0.5", allowed: true },
  { ranges: [], ip: "fe80::1%eth0", allowed: false },
  { ranges: [], ip: "2002:7f00:1::", allowed: false },
  { ranges: [], ip: "100.100.100.200", allowed: false },
  { ranges: [], ip: "fd00:ec2::254", allowed: false },
  { ranges: [], ip: "fd00:ec2::255", allowed: true },
  { ranges: [], ip: "255.255.255.255", allowed: false },
  { ranges: [], ip: "224.0.0.1", allowed: false },
  { ranges: [], ip: "ff02::1", allowed: false },
  { ranges: [], ip: "127.1", allowed: false },
  { ranges: [], ip: "2130706433", allowed: false },
  { ranges: [], ip: "0x7f.0.0.1", allowed: false },
  { ranges: [], ip: "010.0.0.5", allowed: false },
  { ranges: ["10.0.0.0/8"], ip: "::ffff:a01:203", allowed: true },
  { ranges: ["10.0.0.0/8"], ip: "10.1.2.3%lo", allowed: false },
  { ranges: ["10.0.0.0/8"], ip: "::10.1.2.3", allowed: false },
  { ranges: ["169.254.0.0/16"], ip: "169.254.169.254", allowed: true },
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

Deno.test("attack: no way to write a reserved IPv4 address in IPv6 passes", () => {
  const refused = addressFilter([]);
  const byte = fc.integer({ min: 0, max: 255 });
  const reserved = fc.tuple(
    fc.constantFrom([127], [169, 254], [0], [224], [255]),
    fc.tuple(byte, byte, byte),
  );
  fc.assert(fc.property(reserved, ([head, tail]) => {
    const [a = 0, b = 0, c = 0, d = 0] = [...head, ...tail].slice(0, 4);
    const hex = (high: number, low: number) => (high * 256 + low).toString(16);
    const dotted = `${a}.${b}.${c}.${d}`;
    const halves = `${hex(a, b)}:${hex(c, d)}`;
    const padded = halves.split(":").map((half) => half.padStart(4, "0")).join(":").toUpperCase();
    for (const prefix of ["::ffff:", "::FFFF:", "0:0:0:0:0:ffff:", "0000::ffff:", "::", "64:ff9b::"]) {
      for (const form of [dotted, halves, padded]) assert.equal(refused(prefix + form), false, prefix + form);
    }
    assert.equal(refused(dotted), false);
  }));
});
