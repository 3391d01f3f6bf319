import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/event.ts";
import type { Answer } from "./answer.ts";
import { recordRefusal } from "./evidence.ts";
import { Journey } from "./journey.ts";
import { readRequestTarget } from "./request_target.ts";

Deno.test("attack: a password in a command that an upstream quotes is written neither into the audit nor into the log", async () => {
  const path = "/api/v1/namespaces/default/pods/web/exec";
  const context = {
    ...{ remoteAddress: "192.0.2.7", remotePort: 1, rawTarget: path, rawHeaders: [] },
    signal: new AbortController().signal,
  };
  const journey = new Journey("POST", context, readRequestTarget(path));
  journey.learn({ argv: ["mysql", "--password=hunter22"] });
  const message = 'cannot run ["mysql" "--password=hunter22"]';
  const answer: Answer = {
    code: 500,
    reason: "",
    message,
    headers: [],
    body: new Uint8Array(),
    isRaw: false,
  };
  const written: string[] = [];
  await recordRefusal(
    {
      journal: {
        append: (events: readonly AuditEvent[]) => Promise.resolve(void written.push(JSON.stringify(events))),
        close: () => Promise.resolve(),
        status: () => ({ healthy: true, sinks: [] }),
      },
      report: (said) => void written.push(said),
    },
    journey,
    answer,
    new Error("the upstream answered 500"),
  );
  assert.equal(written.length, 2);
  for (const each of written) {
    assert.match(each, /cannot run \[\\*"mysql\\*" \\*"--password=\(masked:[0-9a-f]{16}\)/);
  }
});
