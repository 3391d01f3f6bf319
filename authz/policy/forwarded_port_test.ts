import assert from "node:assert/strict";
import { checkForwardedPort, type PortRange } from "./forwarded_port.ts";

const CASES: { name: string; port: number; allowed: PortRange[]; isAllowed: boolean }[] = [
  { name: "any port where none are named", port: 1, allowed: [], isAllowed: true },
  { name: "a port that is named", port: 5432, allowed: [80, 5432], isAllowed: true },
  { name: "a port that is not", port: 5433, allowed: [80, 5432], isAllowed: false },
  { name: "the first of a range", port: 8000, allowed: [{ from: 8000, to: 8999 }], isAllowed: true },
  { name: "the last of a range", port: 8999, allowed: [{ from: 8000, to: 8999 }], isAllowed: true },
  { name: "one below a range", port: 7999, allowed: [{ from: 8000, to: 8999 }], isAllowed: false },
  { name: "one above a range", port: 9000, allowed: [{ from: 8000, to: 8999 }], isAllowed: false },
  { name: "a range that is upside down", port: 85, allowed: [{ from: 90, to: 80 }], isAllowed: false },
  { name: "a port beside a range", port: 80, allowed: [{ from: 8000, to: 8999 }, 80], isAllowed: true },
];
for (const { name, port, allowed, isAllowed } of CASES) {
  Deno.test(`checkForwardedPort ${isAllowed ? "allows" : "denies"} ${name}`, () => {
    assert.equal(checkForwardedPort(port, allowed).allowed, isAllowed);
  });
}

Deno.test("checkForwardedPort says which port, and which rule", () => {
  assert.deepEqual(checkForwardedPort(5432, [80]), {
    allowed: false,
    rule: "forwarded-port",
    reason: "port 5432 is not among those that may be forwarded (rule forwarded-port)",
  });
});
