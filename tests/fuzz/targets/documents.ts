import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Spool } from "../../../audit/sinks/spool.ts";
import { CatalogError } from "../../../catalog/catalog_error.ts";
import { type Filter, selectSessions } from "../../../catalog/filter.ts";
import { parseEvent, readEvent } from "../../../catalog/read_event.ts";
import { filterOf } from "../../../cli/session_filter.ts";
import { UsageError } from "../../../cli/command.ts";
import { ConfigurationError } from "../../../config/fault.ts";
import { parseConfiguration } from "../../../config/load.ts";
import { KubeconfigError, readKubeconfig } from "../../../kube/kubeconfig.ts";
import { orRefuses, textOf } from "../oracle.ts";
import type { Target } from "../target.ts";

const EXAMPLE = await Deno.readTextFile(new URL("../../../deploy/config/gateway.yaml", import.meta.url));

const YAML_WORDS = [
  ...[
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "? ",
    "|\n",
    ">-\n",
    "#",
    "'",
    '"',
    "---\n",
  ],
  ...["null", "true", "1e400", "0x10", "-1", "__proto__: ", "constructor: ", "\t", "\u2028", "%YAML 1.1\n"],
];

const KUBECONFIG = `current-context: c
clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: YQ==}}]
users: [{name: u, user: {token: s3cret-of-nobody}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
`;

const EVENT = JSON.stringify({
  kind: "Event",
  apiVersion: "audit.k8s.io/v1",
  ...{ auditID: "a1", stage: "ResponseComplete", verb: "create", requestURI: "/x" },
  user: { username: "alice" },
  sourceIPs: ["192.0.2.7"],
  objectRef: { resource: "pods", subresource: "exec", namespace: "default", name: "web" },
  responseStatus: { code: 101 },
  requestReceivedTimestamp: "2026-03-01T10:00:00.000000Z",
  stageTimestamp: "2026-03-01T10:00:01.000000Z",
  annotations: {
    "postern.dev/event": "end",
    "postern.dev/pod": "web",
    "postern.dev/exit-code": "0",
    "postern.dev/argv": '["sh"]',
    "postern.dev/bytes-in": "1",
  },
});

const FILTER: Filter = { user: "a", namespace: "b", pod: "c", container: "d", kind: "exec", argv: "e%_!" };

/** Made when it is first needed, and taken away with the process: tests leave nothing behind. */
let scratch: Promise<string> | undefined;
function scratchFolder(): Promise<string> {
  scratch ??= Deno.makeTempDir({ prefix: "postern-fuzz-" }).then((folder) => {
    globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
    return folder;
  });
  return scratch;
}

export const DOCUMENT_TARGETS: readonly Target[] = [
  {
    name: "configuration",
    promise: "a configuration is used whole, or every fault is named on a line that is safe to show",
    seeds: [EXAMPLE, "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\n", "[[[["],
    words: [...YAML_WORDS, "server:\n", "sessions:\n", "audit:\n", "recording:\n", "port: ", "upstream:\n"],
    maxBytes: 16 * 1024,
    maxMs: 2_000,
    check(input) {
      try {
        parseConfiguration(textOf(input), "gateway.yaml");
      } catch (thrown) {
        if (!(thrown instanceof ConfigurationError)) throw thrown;
        for (const line of thrown.message.split("\n")) {
          assert.match(line, /^gateway\.yaml: ?|^gateway\.yaml:\d+:\d+: /);
          assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        }
      }
    },
  },
  {
    name: "kubeconfig",
    promise: "a kubeconfig is used, or refused without a word of the credentials in it",
    seeds: [KUBECONFIG, "", "clusters: 1"],
    words: [
      ...YAML_WORDS,
      "exec: {}",
      "token: s3cret-of-nobody",
      "tokenFile: ",
      "server: http://x",
      "client-key-data: !!",
    ],
    async check(input) {
      const file = join(await scratchFolder(), "kubeconfig");
      await Deno.writeFile(file, input);
      try {
        const { server } = await readKubeconfig(file);
        assert.ok(server.startsWith("https://"));
      } catch (thrown) {
        if (!(thrown instanceof KubeconfigError)) throw thrown;
        assert.ok(!thrown.message.includes("s3cret"), thrown.message);
      }
    },
  },
  {
    name: "audit-event",
    promise: "a line of an audit log is indexed, or refused without a word of what was in it",
    seeds: [EVENT, "{}", '{"annotations":{"postern.dev/event":"connection"}}'],
    words: [
      ...[
        '"postern.dev/',
        "streams",
        "connection",
        "decision",
        "start",
        "refusal",
        '":"',
        "null",
        "[]",
        "{}",
        "-1",
        "1e309",
      ],
      ...[
        "exit-code",
        "bytes-out",
        "duration-ms",
        "privileged",
        "rule",
        "obligations",
        "2026-02-30T25:00:00Z",
        "\\u0000",
      ],
    ],
    check(input) {
      let value: unknown;
      try {
        value = JSON.parse(textOf(input));
      } catch {
        return;
      }
      const found = orRefuses(() => readEvent(parseEvent(value)), CatalogError);
      if (found === undefined) return;
      for (const cells of [found.session, ...found.details.map((each) => each.cells)]) {
        for (const cell of Object.values(cells)) {
          assert.ok(
            cell === null || ["string", "boolean"].includes(typeof cell) || Number.isSafeInteger(cell),
            String(cell),
          );
          if (typeof cell === "string") {
            assert.ok(!cell.includes("\0") && cell.isWellFormed(), "a database takes it");
          }
        }
      }
    },
  },
  {
    name: "filter",
    promise: "what is looked for is a value of the question and never a part of its SQL",
    seeds: [
      JSON.stringify(FILTER),
      '{"from":"2026-01-01T00:00:00Z"}',
      '{"argv":"\' or 1=1 --"}',
      '{"live":true}',
    ],
    words: [
      '"user":"',
      "' or ''='",
      "--",
      "%",
      "_",
      "!",
      "$1",
      "\\u0000",
      "2h",
      "2026-01-01",
      '"from":"',
      '"to":"',
      '"denied":true',
    ],
    check(input) {
      const filter = filterBy(textOf(input));
      const question = filter &&
        orRefuses(() => selectSessions(filter, { limit: 5 }, ["audit_id"]), CatalogError);
      if (question === undefined) return;
      assert.match(
        question.sql,
        /^select audit_id from sessions( where [a-z_0-9 $()=<>'!]+)? order by [a-z_, ]+ limit \$\d+$/,
      );
      const count = question.sql.match(/\$\d+/g)?.at(-1);
      assert.equal(count, `$${question.values.length}`);
      using database = new DatabaseSync(":memory:");
      const columns =
        "audit_id, username, impersonated_user, namespace, pod, container, kind, started_at, privileged, " +
        "denied, opened_at, ended_at, argv_text";
      database.exec(`create table sessions (${columns})`);
      database.prepare(question.sql.replaceAll("$", "?"));
    },
  },
  {
    name: "webhook-spool",
    promise: "whatever stands in its folder is sent or left, and the spool goes on",
    seeds: [
      '{"segment":1,"offset":0}\0line 1\nline 2\n',
      "\0",
      '{"segment":9,"offset":-1}\0{}\n',
      "null\0half a line",
    ],
    words: ['"segment":', '"offset":', "\n", "\0", "9007199254740993", "-1", "1.5", "null"],
    maxBytes: 512,
    maxMs: 5_000,
    async check(input) {
      const folder = await Deno.makeTempDir({ dir: await scratchFolder() });
      const [cursor = "", ...segments] = textOf(input).split("\0");
      await Deno.writeTextFile(join(folder, "cursor.json"), cursor);
      for (const [index, lines] of segments.slice(0, 3).entries()) {
        await Deno.writeTextFile(join(folder, `${String(index + 1).padStart(16, "0")}.jsonl`), lines);
      }
      using spool = await Spool.open({ directory: folder, maxBytes: 1 << 20 });
      await spool.append(new TextEncoder().encode("last\n"));
      let last: string | undefined;
      for (let count = 0; count < 2_000; count++) {
        const batch = await spool.peek(16, 1024);
        if (batch === undefined) break;
        assert.ok(batch.lines.length >= 1 && batch.lines.length <= 16);
        last = batch.lines.at(-1);
        await spool.advance(batch);
      }
      assert.equal(last, "last", "what is acknowledged is sent");
      assert.equal(spool.pendingBytes, 0);
      spool[Symbol.dispose]();
      await Deno.remove(folder, { recursive: true });
    },
  },
];

/** Of what stands there only what a command line can say. */
function filterBy(text: string): Filter | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const given = Object.entries(typeof value === "object" && value !== null ? value : {});
  const words = given.filter(([key, each]) =>
    typeof each === "string" && /^(user|namespace|pod|container|kind|argv|from|to)$/.test(key)
  );
  const flags = given.filter(([key, each]) =>
    typeof each === "boolean" && /^(privileged|denied|live)$/.test(key)
  );
  return orRefuses(() => filterOf(Object.fromEntries([...words, ...flags])), UsageError);
}
