import assert from "node:assert/strict";
import { createLogger, type LoggerOptions } from "./logger.ts";

/** A logger and the lines that it wrote. */
function scene(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const now = () => new Date("2026-11-21T05:00:00Z");
  const log = createLogger({
    level: "info",
    format: "json",
    isTerminal: false,
    write: (line) => lines.push(line),
    now,
    ...options,
  });
  return { log, lines };
}

Deno.test("json: one object a line", () => {
  const { log, lines } = scene();
  log.info("listening", { port: 8443 });
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: "2026-11-21T05:00:00.000Z",
    level: "info",
    message: "listening",
    port: 8443,
  });
});

Deno.test("text: for people", () => {
  const { log, lines } = scene({ format: "text" });
  log.warn("slow", { ms: 3 });
  assert.deepEqual(lines, ["05:00:00 WARN  slow ms=3"]);
});

for (
  const [isTerminal, want] of [
    [true, "05:00:00 INFO  listening port=8443"],
    [false, '{"time":"2026-11-21T05:00:00.000Z","level":"info","message":"listening","port":8443}'],
  ] as const
) {
  Deno.test(`auto: ${isTerminal ? "text on a terminal" : "json where there is none"}`, () => {
    const { log, lines } = scene({ format: "auto", isTerminal });
    log.info("listening", { port: 8443 });
    assert.deepEqual(lines, [want]);
  });
}

Deno.test("what is less important than the level is not written", () => {
  const { log, lines } = scene({ level: "warn" });
  log.info("no");
  log.error("yes");
  assert.equal(lines.length, 1);
});

Deno.test("a line stays one, and a terminal safe, whatever is in it", () => {
  for (const format of ["json", "text"] as const) {
    const { log, lines } = scene({ format });
    log.info("a\nb\x1b[2J\x9b\u202e\u2028");
    assert.match(lines[0]!, /^[\x20-\x7e]*$/);
  }
});

Deno.test("an error is its message and its causes' messages, without a stack", () => {
  const { log, lines } = scene();
  log.error("failed", { cause: new Error("outer", { cause: new TypeError("inner") }) });
  assert.equal(JSON.parse(lines[0]!).cause, "Error: outer <- TypeError: inner");
});

for (
  const [said, want] of [
    [
      "error sending request for url (https://api:6443/api/v1/pods?password=hunter2&a=(b)): client error (Connect)",
      "error sending request for url (https://api:6443/api/v1/pods?… client error (Connect)",
    ],
    [
      "error sending request for https://api/x?access_token=hunter2 (192.0.2.1:443): refused",
      "error sending request for https://api/x?… (192.0.2.1:443): refused",
    ],
    ["https://me:hunter2@api/x#hunter2 is not there", "https://api/x?… is not there"],
    ["https://api/x is not there?", "https://api/x is not there?"],
  ] as const
) {
  Deno.test(`attack: no password of a URL that an error names is written: ${want}`, () => {
    const { log, lines } = scene();
    log.error("refused", { cause: new TypeError("fetch failed", { cause: new Error(said) }) });
    assert.equal(JSON.parse(lines[0]!).cause, `TypeError: fetch failed <- Error: ${want}`);
  });
}
