/**
 * What a client or the cluster may name as it likes (users, groups, arguments, user agents, containers) reaches files, terminals and
 * people by many ways. Whatever stands in it: a line stays a line, JSON stays JSON, and a terminal prints it and does nothing else.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { apiTest, FACTS, PREFIX } from "../../api/test_scene.ts";
import { decisionEvent, endEvent, refusalEvent } from "../../audit/event.ts";
import { safeJson } from "../../audit/line.ts";
import { forbidden } from "../../authz/authorize.ts";
import { chooseContainer } from "../../kube/container.ts";
import { Refusal } from "../../kube/status.ts";
import { createLogger } from "../../log/logger.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { AsciicastExporter } from "../../recording/export/asciicast.ts";
import { printable, printableJson } from "../../recording/printable.ts";
import { answerOf, toResponse } from "../../routes/answer.ts";
import { NegotiationRefusal } from "../../routes/negotiation.ts";
import { SessionRegistry } from "../../routes/session_registry.ts";
import { Lifetime } from "../../session/lifetime.ts";
import { DialError } from "../../session/kubelet_dial.ts";
import { SessionFailure } from "../../session/stream_event.ts";
import { table, visible, visibleCommand } from "../../cli/visible.ts";

/** What ends a line, moves a cursor, hides, or turns text around; halves of characters, which are no text at all. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** Names by somebody who wants to be taken for another, or for the gateway. */
const HOSTILE = [
  "\x1b]0;owned\x07\x1b[2J\x1b[1;1Hroot",
  "\u009b31m\u0090q\u009c",
  "alice\r\nError from server: none",
  "\u202egpj.exe\u2066\u2069",
  "a\u2028b\u2029c\u0085d",
  "ro\u200bot\u00ad\ufeff",
  "\u{e0001}\u{e0041}",
  "\ud83d",
  '","user":{"username":"root"},"x":"',
  "system:masters",
  "__proto__",
  "",
];
const name = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.string({
    unit: fc.constantFrom("\x1b", "[", "\x9b", "\n", "\r", "\u202e", "\u2028", '"', "\\", "a", "\0"),
  }),
);

/** One line, which a terminal prints; and what a program reads from it. */
function line(text: string): string {
  assert.doesNotMatch(text.replace(/\n$/, ""), UNSAFE);
  return text;
}

/** An output that has a hostile name in it. Throws where it is not safe. */
const OUTPUTS: Record<string, (name: string) => void | Promise<void>> = {
  "an event": (name) => {
    const user = { username: name, uid: name, groups: [name], extra: { [name]: [name] } };
    const facts = {
      ...{ auditId: "a", receivedAt: new Date(0), sourceIps: [name], requestUri: name, verb: name },
      ...{ user, impersonatedUser: user, userAgent: name, argv: [name], protocol: name },
    };
    const target = { namespace: name, podName: name, podUid: name, nodeName: name, container: name };
    const decision = { allowed: false, rule: name, reason: name };
    const end = { reason: "access_revoked", by: "gateway", message: name, durationMs: 1 } as const;
    const refusal = { code: 403, reason: name, message: name, rule: name };
    const streams = [{ name, bytesIn: 1, bytesOut: 1 }];
    for (
      const event of [
        decisionEvent(facts, target, decision),
        endEvent(facts, target, { ...end, streams }),
        refusalEvent(facts, target, refusal),
      ]
    ) {
      const parsed = JSON.parse(line(safeJson(event)));
      assert.deepEqual(parsed, event);
      assert.equal(parsed.user.username, name);
    }
  },
  "the gateway's log": (name) => {
    for (const format of ["json", "text"] as const) {
      const lines: string[] = [];
      createLogger({ level: "info", format, write: (line) => lines.push(line) })
        .warn(name, { user: name, cause: new Error(name), list: [name] });
      assert.equal(lines.length, 1);
      const written = line(lines[0]!);
      if (format === "json") assert.equal(JSON.parse(written).user, name);
    }
  },
  "the Status of a denial": async (name) => {
    const user = { username: name, uid: "", groups: [], extra: {} };
    const attributes = { verb: "create", group: name, resource: "pods", namespace: name, name };
    const thrown = forbidden(user, attributes, name);
    assert.equal(JSON.parse(await answered(thrown)).details.name, name || undefined);
  },
  "the Status of a container that is not there": async (name) => {
    const pod = { metadata: { name: "web" }, spec: { containers: [{ name: "c" }, { name: "d" }] } };
    assert.throws(() => chooseContainer(pod, `x${name}`), Refusal);
    await answered(refusalOf(() => chooseContainer(pod, `x${name}`)));
  },
  "the Status of a kubelet that is not reached": async (name) => void await answered(new DialError(name)),
  "a protocol that was not agreed on": async (name) => {
    const response = toResponse(
      answerOf(new NegotiationRefusal(400, `no ${name.replaceAll("\n", "")}\n`)),
      "a",
    );
    line(await response.text());
  },
  "the end that an operator made": (name) => {
    const entry = new SessionRegistry().enter(FACTS);
    void entry.end(name);
    const { reason } = entry.signal;
    assert.ok(reason instanceof SessionFailure);
    line(reason.message);
  },
  "the end that a peer or a withdrawn permission made": async (name) => {
    const limits = { setupTimeoutMs: 60_000, idleTimeoutMs: 60_000, lingerMs: 1 };
    const mute = { ask: () => Promise.resolve(), tell: () => Promise.resolve() };
    const broken = new ProtocolError("header_block", name);
    const revoked = new SessionFailure({ reason: "access_revoked", by: "gateway", message: name });
    for (const thrown of [broken, revoked]) {
      const { signal } = new AbortController();
      using lifetime = new Lifetime(limits, signal, { client: mute, upstream: mute });
      lifetime.fail("client", thrown);
      line((await lifetime.ended).message);
    }
  },
  "postern sessions": (name) => {
    line(visible(name));
    line(visibleCommand([name, name]));
    const rows = table([["USER", "COMMAND"], [visible(name), visibleCommand([name])]]);
    assert.equal(rows.split("\n").length, 3);
    for (const row of rows.split("\n")) line(row);
  },
  "postern verify and hold": (name) => {
    line(printable(name));
    assert.equal(JSON.parse(line(printableJson({ name }))).name, name);
  },
  "the title of a replay": (name) => {
    const exporter = new AsciicastExporter();
    const header = { startedAt: "2026-11-21T12:00:00Z", argv: [name], namespace: name, pod: name };
    const [...pieces] = [...exporter.push({ type: "header", header }), ...exporter.end()];
    const [first = ""] = pieces.map((piece) => new TextDecoder().decode(piece)).join("").split("\n");
    const { title = "", command = "" } = JSON.parse(line(first));
    line(title);
    line(command);
  },
};

for (const [output, write] of Object.entries(OUTPUTS)) {
  Deno.test(`attack: no name does anything to a terminal or a line by ${output}`, async () => {
    await fc.assert(fc.asyncProperty(name, async (name) => await write(name)), { numRuns: 200 });
    for (const name of HOSTILE) await write(name);
  });
}

apiTest(
  "attack: no name does anything to a terminal or a line by the API, nor by those who watch",
  async (scene) => {
    for (const username of HOSTILE) {
      const entry = scene.sessions.enter({ ...FACTS, username, container: username });
      const tail = await scene.ask(`${PREFIX}/sessions/${FACTS.auditId}/tail`);
      entry.over({ reason: "access_revoked", by: "gateway", message: "over" });
      const said = await tail.text();
      for (const each of said.split("\n")) line(each);
      const header = /event: header\ndata: (.*)\n/.exec(said)?.[1] ?? "";
      assert.equal(JSON.parse(header).username, username);
      line(
        await (await scene.ask(`${PREFIX}/sessions?namespace=${encodeURIComponent(wellFormed(username))}`))
          .text(),
      );
    }
  },
  { index: "small" },
);

/** The answer's body, whose message is a line as well once it is decoded. */
async function answered(thrown: unknown): Promise<string> {
  const body = line(await toResponse(answerOf(thrown), "a").text());
  line(JSON.parse(body).message);
  return body;
}

function refusalOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (thrown) {
    return thrown;
  }
}

function wellFormed(text: string): string {
  return text.toWellFormed();
}
