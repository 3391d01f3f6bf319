/**
 * Every kubectl line of the documents is given to a real kubectl, with `--help` behind it: an option that it has not is
 * an error before any help is printed. Nothing is asked of a cluster but where its kubectl is.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commandLines, readDocuments } from "../docs/markdown.ts";
import { layout } from "../cluster/layout.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What a shell would make of a line, as far as documents go: no quotes are nested, no variable is needed. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|[^\s"']+/g)].map(([all, double, single]) =>
    double ?? single ?? all
  );
}

Deno.test("every kubectl line of a document has options that kubectl 1.34 knows", async () => {
  const binary = join(layout().bin, "kubectl-1.34");
  const faults: string[] = [];
  let count = 0;
  for (const { text, where } of (await readDocuments(ROOT)).flatMap(commandLines)) {
    for (const [, rest = ""] of text.matchAll(/(?:^|[|;&(]\s*)kubectl\s+([^|;&)>]*)/g)) {
      const words = wordsOf(rest);
      if (words[0] === "postern") continue; // the plugin, which tests/docs_test.ts looks at
      const end = words.indexOf("--"); // what follows is the container's
      const args = [...end < 0 ? words : words.slice(0, end), "--help"];
      const { code, stderr } = await new Deno.Command(binary, {
        args,
        stdin: "null",
        env: { HOME: "/nonexistent" },
      }).output();
      if (code !== 0) faults.push(`${where}: kubectl ${rest}: ${new TextDecoder().decode(stderr)}`);
      count++;
    }
  }
  assert.deepEqual(faults, []);
  assert.ok(count >= 10, `only ${count} were found`);
});
