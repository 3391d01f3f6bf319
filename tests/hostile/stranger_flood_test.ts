/** Strangers who knock as fast as they can: the audit says how often, and is not filled by it. tests/e2e has ten times as many. */

import { floodOfStrangers } from "./support/stranger_flood.ts";

Deno.test({
  name: "attack: a thousand refusals leave a hundred events and one exact count",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: () => floodOfStrangers(9),
});
