import assert from "node:assert/strict";
import { SECRET_NAMES } from "../../audit/argv/argv_names.ts";
import { argv } from "./argv.ts";

Deno.test("the names that operators read as the default are those that are masked where nobody says any", () => {
  assert.deepEqual(argv.parse({}), { keepSecretsInClear: false, names: [...SECRET_NAMES] });
});
