import assert from "node:assert/strict";
import { REFERENCE } from "./generate.ts";
import { reference } from "./reference.ts";

Deno.test("docs/observability.md is current (else: deno task generate)", async () => {
  assert.equal(await Deno.readTextFile(REFERENCE), reference());
});
