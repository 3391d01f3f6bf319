import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";
import { END_REASONS } from "../audit/event.ts";
import { postern } from "../cli/postern.ts";
import { API_VERSION, gatewayConfiguration, KIND } from "../config/gateway_configuration.ts";
import { parseConfiguration } from "../config/load.ts";
import {
  commandLines,
  type Document,
  type Line,
  readDocument,
  readDocuments,
  SHELL,
} from "./docs/markdown.ts";
import { type SpokenMessage, spokenMessages } from "./docs/spoken_messages.ts";

/**
 * What the documents say is held to what is there: links lead somewhere, commands and their options exist, and
 * configurations would be taken.
 */

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const DOCUMENTS = await readDocuments(ROOT);

/** Every command line, and the code spans, which may be the beginning of a command. */
function commands(document: Document): Line[] {
  const spans = document.spans.map((text) => ({ text, where: document.path, isSpan: true }));
  return [...commandLines(document), ...spans];
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

Deno.test("every relative link of a document leads to a file, and to a heading where it names one", async () => {
  const anchors = new Map(DOCUMENTS.map((document) => [document.path, document.anchors]));
  const broken: string[] = [];
  for (const { path, links } of DOCUMENTS) {
    for (const { target, line } of links) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path : normalize(join(dirname(path), file));
      const isThere = await exists(join(ROOT, to));
      const known = anchors.get(to);
      if (!isThere || (anchor !== undefined && known !== undefined && !known.has(anchor))) {
        broken.push(`${path}:${line}: ${target}`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

Deno.test("every document below docs/ is named in docs/README.md", async () => {
  const index = DOCUMENTS.find(({ path }) => path === join("docs", "README.md"));
  const named = new Set(index?.links.map(({ target }) => target.split("#")[0]));
  const missing = [];
  for await (const { name, isFile } of Deno.readDir(join(ROOT, "docs"))) {
    if (isFile && name.endsWith(".md") && name !== "README.md" && !named.has(name)) missing.push(name);
  }
  assert.deepEqual(missing, [], "name them in docs/README.md");
});

Deno.test("every `deno task` and `npm run` in a document exists", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const { scripts } = JSON.parse(await Deno.readTextFile(join(ROOT, "package.json")));
  const unknown: string[] = [];
  for (const { text, where } of DOCUMENTS.flatMap(commands)) {
    for (const [, name = ""] of text.matchAll(/\bdeno task (?:-q )?([a-z][\w:-]*)/g)) {
      if (!Object.hasOwn(tasks, name)) unknown.push(`${where}: deno task ${name}`);
    }
    for (const [, name = ""] of text.matchAll(/\bnpm run ([a-z][\w:-]*)/g)) {
      if (!Object.hasOwn(scripts, name)) unknown.push(`${where}: npm run ${name}`);
    }
  }
  assert.deepEqual(unknown, []);
});

Deno.test("every task says what it is for", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const silent = Object.entries<{ description?: string }>(tasks).filter(([, task]) => !task.description);
  assert.deepEqual(silent.map(([name]) => name), []);
});

/** What `--help` answers to these words; `undefined` where they are no command. */
async function help(words: readonly string[]): Promise<string | undefined> {
  let said = "";
  await postern([...words, "--help"], { out: (text) => said += text, error: (text) => said += text });
  return said.startsWith("Usage: postern COMMAND") ? undefined : said;
}

/** Code spans that begin like a command and are none: the domains of the recordings' signatures. */
const NO_COMMAND = /^recording \d/;

/** What is wrong with a `postern …` command line. */
async function faultOf(line: string): Promise<string | undefined> {
  const words = line.split(/\s+/);
  if (words.every((word) => word.startsWith("-"))) return undefined;
  for (const count of [2, 1]) {
    const text = await help(words.slice(0, count));
    if (text === undefined || words.length < count) continue;
    const options = words.filter((word) => /^--[a-z]/.test(word)).map((word) => word.split("=")[0]!);
    const unknown = options.filter((option) => option !== "--help" && !text.includes(option));
    return unknown.length === 0 ? undefined : `no option ${unknown.join(", ")}`;
  }
  return "no such command";
}

Deno.test("every `postern` command in a document exists, with its options", async () => {
  const faults: string[] = [];
  let overview = "";
  await postern(["--help"], { out: (text) => overview += text, error: () => {} });
  for (const { text, where, isSpan } of DOCUMENTS.flatMap(commands)) {
    const line = /^(?:(?:\S*deno task (?:-q )?)|kubectl )?postern ((?:[a-z-]).*)$/.exec(text)?.[1];
    if (line === undefined || line.startsWith("…")) continue;
    if (isSpan && (overview.includes(`\n  ${line} `) || NO_COMMAND.test(line))) continue;
    const fault = await faultOf(line.split(/[|;&>]/)[0]!.trim().replace(/\s*…$/, ""));
    if (fault !== undefined) faults.push(`${where}: postern ${line}: ${fault}`);
  }
  assert.deepEqual(faults, []);
});

Deno.test("every configuration in a document would be taken", () => {
  const sections = new Set(Object.keys(gatewayConfiguration.shape));
  let count = 0;
  for (const { path, blocks } of DOCUMENTS) {
    for (const { language, text, line } of blocks) {
      if (language !== "yaml") continue;
      const documents = parseAllDocuments(text);
      const value: unknown = documents.length === 1 ? parse(text) : undefined;
      if (typeof value !== "object" || value === null) continue;
      const isWhole = "kind" in value && value.kind === KIND;
      if (!isWhole && !Object.keys(value).every((key) => sections.has(key))) continue;
      const whole = isWhole ? text : `apiVersion: ${API_VERSION}\nkind: ${KIND}\n${text}`;
      assert.doesNotThrow(() => parseConfiguration(whole, join(ROOT, "gateway.yaml")), `${path}:${line}`);
      count++;
    }
  }
  assert.ok(count >= 5, `only ${count} were found`);
});

Deno.test("every shell block of a document can be parsed by a shell", async () => {
  const faults: string[] = [];
  for (const { path, blocks } of DOCUMENTS) {
    const scripts = blocks.filter(({ language }) => SHELL.has(language) && language !== "console");
    for (const { text, line } of scripts) {
      const { success, stderr } = await new Deno.Command("sh", { args: ["-n", "-c", text] }).output();
      if (!success) faults.push(`${path}:${line}: ${new TextDecoder().decode(stderr)}`);
    }
  }
  assert.deepEqual(faults, []);
});

Deno.test("every metric in a document is one that docs/observability.md has", () => {
  const metrics = (document: Document) => document.spans.filter((span) => /^postern(_[a-z]+)+$/.test(span));
  const known = new Set(DOCUMENTS.filter(({ path }) => path.endsWith("observability.md")).flatMap(metrics));
  assert.ok(known.size > 10, `only ${known.size} are known`);
  assert.deepEqual(DOCUMENTS.flatMap(metrics).filter((metric) => !known.has(metric)), []);
});

/** The commands of kubectl that documents use; a misspelled one is none of them. */
const KUBECTL =
  /^(annotate|api-resources|apply|attach|auth|cluster-info|config|cp|create|debug|delete|describe|diff|exec|explain|get|label|logs|patch|port-forward|postern|proxy|replace|rollout|run|scale|set|top|version|wait|whoami)$/;

/** Its global options that have a value, which stand before a command. */
const KUBECTL_VALUE =
  /^(-n|--namespace|--kubeconfig|--context|--cluster|--user|--server|-s|--as|--as-group|--token)$/;

Deno.test("every kubectl in a document is called with a command that it has", () => {
  const faults: string[] = [];
  let count = 0;
  for (const { text, where } of DOCUMENTS.flatMap(commandLines)) {
    for (const [, rest = ""] of text.matchAll(/(?:^|[|;&(]\s*)kubectl\s+([^|;&]*)/g)) {
      const words = rest.split(/\s+/);
      let at = 0;
      while (words[at]?.startsWith("-")) at += KUBECTL_VALUE.test(words[at]!) ? 2 : 1;
      if (!KUBECTL.test(words[at] ?? "")) faults.push(`${where}: kubectl ${rest}`);
      count++;
    }
  }
  assert.deepEqual(faults, []);
  assert.ok(count >= 5, `only ${count} were found`);
});

Deno.test("readDocument finds what is tested, and not what stands in code", () => {
  const text = [
    "# A `b`, c!",
    "## A b c",
    "See [x](y.md#z) and `[no](link)` and `one",
    "two`.",
    "",
    "```sh",
    "# no heading",
    "kubectl get [a](b)",
    "```",
  ].join("\n");
  const { blocks, links, spans, anchors } = readDocument("d.md", text);
  assert.deepEqual(blocks, [{ language: "sh", text: "# no heading\nkubectl get [a](b)\n", line: 6 }]);
  assert.deepEqual(links, [{ target: "y.md#z", line: 3 }]);
  assert.deepEqual(spans, ["b", "[no](link)", "one two"]);
  assert.deepEqual([...anchors], ["a-b-c", "a-b-c-1"]);
});

Deno.test("a command that is not there is found out", async () => {
  assert.equal(await faultOf("verify recordings --key a.pub"), undefined);
  assert.equal(await faultOf("verify recordings --kee a.pub"), "no option --kee");
  assert.equal(await faultOf("verrify recordings"), "no such command");
});

/** Rooms and files whose sentences reach people; what is wrong with a configuration says what was expected. */
const SPEAKING = [
  "main.ts",
  "observability",
  "open_admin.ts",
  "open_gate.ts",
  "api",
  "audit",
  "authz",
  "catalog/migrations.ts",
  "kube",
  "protocol/port_forward",
  "protocol/remote_command",
  "recording/chain",
  "recording/format",
  "recording/recorder.ts",
  "recording/recordings.ts",
  "recording/retention",
  "routes",
  "server",
  "session",
];

async function* sourcesBelow(path: string): AsyncGenerator<string> {
  if (path.endsWith(".ts")) {
    if (!/(^|\/)test_|_(test|bench)\.ts$/.test(path)) yield path;
    return;
  }
  for await (const { name, isDirectory } of Deno.readDir(join(ROOT, path))) {
    if (isDirectory || name.endsWith(".ts")) yield* sourcesBelow(`${path}/${name}`);
  }
}

let everything: Promise<SpokenMessage[]> | undefined;

/** All that the gateway says; its sources are read once. */
function said(): Promise<SpokenMessage[]> {
  return everything ??= readMessages();
}

async function readMessages(): Promise<SpokenMessage[]> {
  const sources = new Map<string, string>();
  for (const room of SPEAKING) {
    for await (const path of sourcesBelow(room)) sources.set(path, await Deno.readTextFile(join(ROOT, path)));
  }
  return spokenMessages(sources);
}

/** What a sentence of the sources becomes once its values are in. */
function patternOf(text: string): RegExp {
  return new RegExp(
    `^${text.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`,
  );
}

const TROUBLESHOOTING = DOCUMENTS.find(({ path }) => path === join("docs", "troubleshooting.md"));

Deno.test("docs/troubleshooting.md has every sentence that the gateway can say", async () => {
  const spans = TROUBLESHOOTING?.spans ?? [];
  const messages = await said();
  assert.ok(messages.length > 150, `only ${messages.length} were found`);
  const missing = messages.filter(({ text }) => !spans.some((span) => patternOf(text).test(span)));
  const lines = missing.map(({ file, text }) => `${file}: ${text}`);
  assert.deepEqual(lines, [], "say in docs/troubleshooting.md what these mean and what to do");
});

Deno.test("docs/troubleshooting.md has every reason for which a session ends", () => {
  const spans = new Set(TROUBLESHOOTING?.spans);
  assert.deepEqual(END_REASONS.filter((reason) => !spans.has(reason)), []);
});

Deno.test("docs/troubleshooting.md explains no sentence that nothing says", async () => {
  const patterns = (await said()).map(({ text }) => patternOf(text));
  const text = await Deno.readTextFile(join(ROOT, "docs", "troubleshooting.md"));
  const rows = text.slice(text.indexOf("## Who you are")).split("\n").filter((row) => row.startsWith("| `"));
  const sentences = rows.flatMap((row) => /^\| `([^`]+)`/.exec(row)?.[1] ?? []).filter((span) =>
    span.includes(" ")
  );
  assert.ok(sentences.length > 120, `only ${sentences.length} were found`);
  assert.deepEqual(sentences.filter((sentence) => !patterns.some((pattern) => pattern.test(sentence))), []);
});

Deno.test("spokenMessages reads what errors, the log and their carriers are given, and no other text", () => {
  const source = `
    function bad(message: string) { return { code: 400, message }; }
    function forbid(name: string, why: string) { return new Refusal("Forbidden", \`\${name} is out: \${why}\`); }
    function diskFault() { return full ? "the disk is full" : undefined; }
    function other() { return "no message at all"; }
    export function f(x: string) {
      const what = x ? "first thing" : "second " + x;
      if (x === "not a message") throw new TypeError("no message either");
      log.warn("the log speaks", { cause: "a mere value" });
      return [bad("a bad thing"), forbid(x, "it is late"), new Refusal("BadRequest", what)];
    }`;
  const texts = spokenMessages(new Map([["a.ts", source]])).map(({ text }) => text);
  assert.deepEqual(texts.sort(), [
    "a bad thing",
    "first thing",
    "it is late",
    "second …",
    "the disk is full",
    "the log speaks",
    "… is out: …",
  ]);
});
