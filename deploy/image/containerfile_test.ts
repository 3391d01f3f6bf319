import assert from "node:assert/strict";
import { generated } from "./generate.ts";

Deno.test("Containerfile is current (else: deno task generate)", async () => {
  const { url, text } = await generated();
  assert.equal(await Deno.readTextFile(url), text);
});
