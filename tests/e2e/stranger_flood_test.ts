/** As tests/hostile/stranger_flood_test.ts, with more of them; no cluster is needed. */

import { floodOfStrangers } from "../hostile/support/stranger_flood.ts";

Deno.test({
  name: "attack: ten thousand refusals leave a hundred events and one exact count",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: () => floodOfStrangers(92),
});
