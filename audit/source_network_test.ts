import assert from "node:assert/strict";
import { sourceNetwork } from "./source_network.ts";

const SOURCES = [
  { ip: "192.0.2.1", source: "192.0.2.1" },
  { ip: "::ffff:192.0.2.1", source: "192.0.2.1" },
  { ip: "2001:db8::1", source: "2001:db8:0:0::/64" },
  { ip: "2001:0DB8:0:0:ffff::2", source: "2001:db8:0:0::/64" },
  { ip: "2001:db8:0:1::1", source: "2001:db8:0:1::/64" },
  { ip: "fe80::1%eth0", source: "fe80:0:0:0::/64" },
  { ip: "::1", source: "0:0:0:0::/64" },
];
for (const { ip, source } of SOURCES) {
  Deno.test(`sourceNetwork of ${ip} is ${source}`, () => assert.equal(sourceNetwork(ip), source));
}
