import assert from "node:assert/strict";
import { parsePortRange, portRange } from "./port_range.ts";

const good: { given: number | string; want: ReturnType<typeof parsePortRange> }[] = [
  { given: 1, want: 1 },
  { given: 65535, want: 65535 },
  { given: "8080", want: 8080 },
  { given: "8000-8100", want: { from: 8000, to: 8100 } },
  { given: "80-80", want: { from: 80, to: 80 } },
];
for (const { given, want } of good) {
  Deno.test(`portRange reads ${JSON.stringify(given)}`, () => {
    assert.deepEqual(parsePortRange(portRange().parse(given)), want);
  });
}

const bad = [
  0,
  65536,
  80.5,
  -1,
  "",
  "0",
  "65536",
  "8100-8000",
  "1-",
  "-1",
  "1-2-3",
  "http",
  " 80",
  "1-65536",
  null,
];
for (const given of bad) {
  Deno.test(`portRange refuses ${JSON.stringify(given)}`, () => {
    const { success, error } = portRange().safeParse(given);
    assert.equal(success, false);
    assert.match(
      error!.issues[0]!.message,
      /expected a port from 1 to 65535, or a range such as "8000-8100"/,
    );
  });
}
