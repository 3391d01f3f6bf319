/** What clients name as they like, by a real socket: the answer's text does nothing to a terminal, and each event is one line. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ALICE, HostileScene, type RawAnswer, requestText, SPDY } from "./support/hostile_scene.ts";

const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** ESC, a C1 sequence, a line of its own, text turned around, and a line separator; as UTF-8, and percent-encoded for a query. */
const NAME = "\x1b[2J\u009b31m\r\nroot\u202egpj\u2028";
const QUERY = encodeURIComponent(NAME);

/** Latin-1 as a header may hold it: C1 controls, and the bytes of U+202E and U+2028 in UTF-8. */
const HEADER = "curl/8 \x9b31m \xe2\x80\xae\xe2\x80\xa8 \x85";

const EXEC = "/api/v1/namespaces/default/pods/web/exec";

/** Requests, and where what they name comes to light. */
const CASES: { what: string; target: string; headers?: string[]; code: number; seen: RegExp }[] = [
  {
    what: "arguments",
    target: `${EXEC}?container=main&stdout=1&command=sh&command=${QUERY}`,
    code: 101,
    seen: /"postern\.dev\/argv":"\["?.*u001b\[2J/,
  },
  {
    what: "a container",
    target: `${EXEC}?container=${QUERY}&stdout=1&command=id`,
    code: 400,
    seen: /container \\\\u001b\[2J|container \\u001b\[2J/,
  },
  {
    what: "a user agent",
    target: `${EXEC}?container=main&stdout=1&command=id`,
    headers: [`User-Agent: ${HEADER}`],
    code: 101,
    seen: /"userAgent":"curl\/8 \\u009b31m/,
  },
  {
    what: "a protocol",
    target: `${EXEC}?container=main&stdout=1&command=id`,
    headers: [`X-Stream-Protocol-Version: ${HEADER}`],
    code: 403,
    seen: /"postern\.dev\/event":"refusal"/,
  },
  {
    what: "whom to act as, and in which groups, with what else",
    target: `${EXEC}?container=main&stdout=1&command=id`,
    headers: [
      `Impersonate-User: ${HEADER}`,
      `Impersonate-Group: ${HEADER}`,
      `Impersonate-Extra-${encodeURIComponent("a\x1b")}: ${HEADER}`,
    ],
    code: 101,
    seen: /"impersonatedUser":\{"username":"curl\/8 \\u009b31m/,
  },
  {
    what: "a UID",
    target: `/proxy/nodes/node/exec/default/web/${
      encodeURIComponent(NAME.replace("\r\n", ""))
    }/main?command=id`,
    code: 400,
    seen: /refusal/,
  },
];

Deno.test({
  name: "attack: nothing that a client names writes to a terminal or begins a line of the audit",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (test) => {
    await using scene = await HostileScene.start();
    for (const { what, target, headers = [], code, seen } of CASES) {
      await test.step(what, async () => {
        const base = headers.some((line) => line.startsWith("X-Stream"))
          ? SPDY.filter((line) => !line.startsWith("X-Stream"))
          : SPDY;
        const answer = await scene.exchange(requestText(`POST ${target}`, [...ALICE, ...base, ...headers]));
        assert.equal(answer.code, code, answer.body);
        assertShown(answer);
        const auditId = /^audit-id: (\S+)/im.exec(answer.head)?.[1];
        await scene.eventOf((event) => auditId === undefined || event.auditID === auditId);
        const text = await Deno.readTextFile(join(scene.folder, "audit.log"));
        const lines = text.split("\n").slice(0, -1).filter((line) => line.includes(auditId ?? ""));
        assert.ok(lines.length > 0);
        for (const line of lines) {
          assert.equal(JSON.parse(line).kind, "Event");
          assert.doesNotMatch(line, UNSAFE);
        }
        assert.ok(lines.some((line) => seen.test(line)), lines.join("\n"));
      });
    }
    for (const line of (await Deno.readTextFile(join(scene.folder, "gateway.log"))).split("\n")) {
      assert.doesNotMatch(line, UNSAFE);
    }
    await scene.isWell();
  },
});

/** The body as it comes, and the message in it as clients print it. */
function assertShown({ head, body }: RawAnswer): void {
  const utf8 = new TextDecoder().decode(Uint8Array.from(body, (byte) => byte.charCodeAt(0)));
  assert.doesNotMatch(utf8.replace(/\n$/, ""), UNSAFE);
  assert.doesNotMatch(head.replaceAll("\r\n", ""), UNSAFE);
  if (utf8.startsWith("{")) assert.doesNotMatch(JSON.parse(utf8).message, UNSAFE);
}
