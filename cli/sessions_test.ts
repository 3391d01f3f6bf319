import assert from "node:assert/strict";
import { SqlCatalog } from "../catalog/sql_catalog.ts";
import { SqliteStore } from "../catalog/stores/sqlite.ts";
import { deniedSession, openSession, portForward, type Scene, wholeSession } from "../catalog/test_events.ts";
import { postern } from "./postern.ts";
import { filterOf } from "./session_filter.ts";

async function run(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const code = await postern(args, { out: (text) => out += text, error: (text) => error += text });
  return { code, out, error };
}

/** A test with a folder that has an index of these sessions, and the file of their events. */
function indexTest(
  name: string,
  scenes: [(scene: Partial<Scene>) => ReturnType<typeof wholeSession>, Partial<Scene>][],
  body: (folder: string) => Promise<void>,
): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        const catalog = await SqlCatalog.open(await SqliteStore.open(`${folder}/index.sqlite`));
        const events = scenes.flatMap(([session, scene]) => session(scene));
        await catalog.apply(events);
        await catalog.close();
        const lines = events.map((event) => `${JSON.stringify(event)}\n`);
        await Deno.writeTextFile(`${folder}/audit.log`, lines.join(""));
        await body(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

const DAY: Parameters<typeof indexTest>[1] = [
  [wholeSession, { auditId: "a", minute: 1 }],
  [deniedSession, { auditId: "b", minute: 2, user: "bob", pod: "node-agent" }],
  [openSession, { auditId: "c", minute: 3, kind: "attach", impersonatedUser: "carol" }],
  [portForward, { auditId: "d", minute: 4 }],
];

indexTest("sessions list writes a table, the newest first", DAY, async (folder) => {
  const { code, out, error } = await run("sessions", "list", "--sqlite", `${folder}/index.sqlite`);
  assert.deepEqual([code, error], [0, ""]);
  assert.deepEqual(out.split("\n").map((line) => line.split(/ {2,}/)), [
    ["STARTED", "USER", "NAMESPACE/POD", "CONTAINER", "KIND", "OUTCOME", "LASTED", "AUDIT ID", "COMMAND"],
    [
      "2026-11-21T12:04:00Z",
      "alice",
      "default/web",
      "main",
      "portforward",
      "client_closed",
      "0.1s",
      "d",
      "-",
    ],
    ["2026-11-21T12:03:00Z", "carol (alice)", "default/web", "main", "attach", "live", "-", "c", "-"],
    ["2026-11-21T12:02:00Z", "bob", "default/node-agent", "main", "exec", "denied", "-", "b", "sh -c id"],
    ["2026-11-21T12:01:00Z", "alice", "default/web", "main", "exec", "exit 7", "1.0s", "a", "sh -c id"],
    [""],
  ]);
});

const filters: { args: string[]; want: string[] }[] = [
  { args: ["--user", "bob"], want: ["b"] },
  { args: ["--user", "carol"], want: ["c"] },
  { args: ["-n", "other"], want: [] },
  { args: ["--pod", "web", "--container", "main"], want: ["d", "c", "a"] },
  { args: ["--kind", "attach"], want: ["c"] },
  { args: ["--from", "2026-11-21T13:03:00+01:00"], want: ["d", "c"] },
  { args: ["--to", "2026-11-21T12:02:00Z"], want: ["a"] },
  { args: ["--to", "2026-11-21"], want: [] },
  { args: ["--argv=-C ID"], want: ["b", "a"] },
  { args: ["--privileged"], want: ["b"] },
  { args: ["--denied"], want: ["d", "b"] },
  { args: ["--live"], want: ["c"] },
];
indexTest("sessions list knows every filter", DAY, async (folder) => {
  for (const { args, want } of filters) {
    const { out, error } = await run(
      "sessions",
      "list",
      "--sqlite",
      `${folder}/index.sqlite`,
      "-o",
      "json",
      ...args,
    );
    assert.equal(error, "", args.join(" "));
    const { sessions } = JSON.parse(out);
    assert.deepEqual(sessions.map(({ auditId }: { auditId: string }) => auditId), want, args.join(" "));
  }
});

indexTest("sessions list pages by the cursor that it gives", DAY, async (folder) => {
  const got: string[] = [];
  for (let args: string[] | undefined = []; args !== undefined;) {
    const call = ["sessions", "list", "--sqlite", `${folder}/index.sqlite`, "-o", "json", "--limit", "3"];
    const page = JSON.parse((await run(...call, ...args)).out);
    got.push(...page.sessions.map(({ auditId }: { auditId: string }) => auditId));
    args = page.next === undefined ? undefined : ["--after", page.next];
  }
  assert.deepEqual(got, ["d", "c", "b", "a"]);
});

/** Clears the screen, sets the window's title, turns the direction of reading, begins a line that looks like a session. */
const HOSTILE =
  "eve\x1b[2J\x1b]0;owned\x07\u009b31m\u202egnp.exe\u2066\r\n2026-11-21T12:00:00Z  alice\x7f\u2028";
const hostile: Partial<Scene> = { auditId: "a", user: HOSTILE, pod: HOSTILE, argv: ["sh", "-c", HOSTILE] };
indexTest(
  "sessions list and show send no control character to the terminal",
  [[wholeSession, hostile]],
  async (folder) => {
    const at = ["--sqlite", `${folder}/index.sqlite`];
    for (const words of [["list"], ["list", "-o", "json"], ["show", "a"], ["show", "a", "-o", "json"]]) {
      const { code, out, error } = await run("sessions", ...words, ...at);
      assert.equal(code, 0, error);
      assert.match(out, /^[\x20-\x7e\n…]*$/, words.join(" "));
      assert.match(out, /eve\\u001b\[2J/, words.join(" "));
    }
    const { out } = await run("sessions", "list", ...at);
    assert.equal(out.split("\n").length, 3, "one session is one line");
    const [session] = JSON.parse((await run("sessions", "list", "-o", "json", ...at)).out).sessions;
    assert.equal(session.username, HOSTILE, "JSON is read back as it was");
  },
);

indexTest("sessions show writes facts, decisions, streams and connections", DAY, async (folder) => {
  const { code, out } = await run("sessions", "show", "--sqlite", `${folder}/index.sqlite`, "d");
  assert.equal(code, 0);
  assert.match(out, /^auditId +d$/m);
  assert.match(
    out,
    /^Decisions\nat +allowed +rule +reason[^\n]*\n[^\n]+ true +privileged-container +not privileged/m,
  );
  assert.match(out, /^Connections\nrequestId +port /m);
  assert.match(out, /^0 +8080 [^\n]* client +- +false$/m);
  assert.match(out, /^1 +22 [^\n]* client +port 22 may not be forwarded +true$/m);
  assert.doesNotMatch(out, /Streams/);
});

indexTest("sessions show says that there is no such session", DAY, async (folder) => {
  const { code, out, error } = await run(
    "sessions",
    "show",
    "--sqlite",
    `${folder}/index.sqlite`,
    "x\x1b[2J",
  );
  assert.deepEqual([code, out, error], [1, "", "postern: the index knows no session x\\u001b[2J\n"]);
});

indexTest(
  "index rebuild makes the index of a configuration anew, with the same rows",
  DAY,
  async (folder) => {
    const config = `${folder}/gateway.yaml`;
    await Deno.writeTextFile(
      config,
      "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\nindex: {type: sqlite, sqlite: {path: index.sqlite}}\n",
    );
    const list = ["sessions", "list", "--config", config, "-o", "json"];
    const want = await run(...list);
    await Deno.remove(`${folder}/index.sqlite`);
    assert.match((await run(...list)).error, /there is no index at/);
    await Deno.writeTextFile(`${folder}/audit.log`, "cut off\x1b[2J\n", { append: true });
    const { code, out, error } = await run(
      "index",
      "rebuild",
      "--config",
      config,
      "--events",
      `${folder}/audit.log`,
    );
    assert.deepEqual([code, out, error], [
      0,
      "made from 15 events and 0 recordings; 1 could not be read and were left out\n",
      `left out: ${folder}/audit.log:16: no event\n`,
    ]);
    assert.deepEqual(await run(...list), want);
  },
);

const times: { text: string; want: string }[] = [
  { text: "90s", want: "2026-11-21T11:58:30.000Z" },
  { text: "15m", want: "2026-11-21T11:45:00.000Z" },
  { text: "2h", want: "2026-11-21T10:00:00.000Z" },
  { text: "7d", want: "2026-11-14T12:00:00.000Z" },
  { text: "2026-11-21", want: "2026-11-21T00:00:00.000Z" },
  { text: "2026-11-21T13:00:00.5+02:00", want: "2026-11-21T11:00:00.500Z" },
];
for (const { text, want } of times) {
  Deno.test(`filterOf takes ${text} for a time`, () => {
    const now = new Date("2026-11-21T12:00:00Z");
    assert.deepEqual(filterOf({ from: text, to: text }, now), { from: want, to: want });
  });
}

const wrong: { args: string[]; error: RegExp }[] = [
  { args: ["list"], error: /expected one of --config FILE and --sqlite FILE/ },
  { args: ["list", "--sqlite", "a", "--config", "b"], error: /expected one of/ },
  { args: ["list", "--sqlite", "a", "--limit", "0"], error: /from 1 to 1000 after --limit/ },
  { args: ["list", "--sqlite", "a", "--from", "yesterday"], error: /expected a time such as/ },
  { args: ["list", "--sqlite", "a", "-o", "xml"], error: /expected --output table or json/ },
  { args: ["show", "--sqlite", "a"], error: /expected AUDIT-ID, got nothing/ },
];
for (const { args, error } of wrong) {
  Deno.test(`sessions ${args.join(" ")} is refused with a sentence`, async () => {
    const got = await run("sessions", ...args);
    assert.equal(got.code, 2, got.error);
    assert.match(got.error, error);
  });
}
