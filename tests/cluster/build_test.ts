import { equal } from "node:assert/strict";
import { isRecentGo } from "./build.ts";

const versions = [
  { version: "go1.24", recent: true },
  { version: "go1.24.0", recent: true },
  { version: "go1.25rc1", recent: true },
  { version: "go1.100.1", recent: true },
  { version: "go2.0", recent: true },
  { version: "go1.23.9", recent: false },
  { version: "go1.3", recent: false },
  { version: "devel +abc", recent: false },
];
for (const { version, recent } of versions) {
  Deno.test(`isRecentGo says ${recent} of ${version}`, () => equal(isRecentGo(version), recent));
}
