import assert from "node:assert/strict";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The rooms, and which others each may import. `main.ts` wires them all and is imported by none. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  kube: [],
  config: [],
  session: ["kube", "protocol"],
  authz: ["kube"],
  audit: ["kube"],
  recording: [],
  catalog: ["recording"],
  routes: ["authz", "session", "audit", "recording", "kube", "protocol"],
  api: ["authz", "audit", "catalog", "recording", "kube"],
  server: ["routes", "authz", "session", "audit", "kube", "protocol"],
  cli: ["audit", "catalog", "recording", "kube", "config"],
  log: [],
  observability: [],
};

/** What `protocol/` may take from the platform: nothing that does I/O or knows the time. */
const PURE_BUILTINS: ReadonlySet<string> = new Set(["node:buffer", "node:crypto", "node:zlib"]);

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** `import … from "x"`, `export … from "x"` and `import "x"`, also over several lines. */
const IMPORT = /^(?:(?:import|export)\s[^"';()=]*?\sfrom|import)\s+"([^"]+)";/gm;

interface Import {
  from: string;
  to: string;
}

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(join(ROOT, folder))) {
    const path = join(folder, name);
    if (isDirectory) yield* sources(path);
    else if (name.endsWith(".ts") && !/^test_|_(test|bench)\.ts$/.test(name)) yield path;
  }
}

/** Every import of the room's own sources, tests aside; relative ones as paths from the root. */
async function importsOf(room: string): Promise<Import[]> {
  const imports: Import[] = [];
  for await (const from of sources(room)) {
    const text = await Deno.readTextFile(join(ROOT, from));
    for (const [, specifier = ""] of text.matchAll(IMPORT)) {
      const to = specifier.startsWith(".")
        ? relative(".", normalize(join(dirname(from), specifier)))
        : specifier;
      imports.push({ from, to });
    }
  }
  return imports;
}

for (const [room, allowed] of Object.entries(ROOMS)) {
  Deno.test(`${room}/ imports nothing but itself and ${allowed.join(", ") || "no other room"}`, async () => {
    const imports = await importsOf(room);
    assert.ok(imports.length > 0 || room === "log", `${room}/ has imports: the test reads them`);
    const wrong = imports.filter(({ to }) => {
      const [target = ""] = to.split("/");
      return to.endsWith(".ts") && target !== room && !allowed.includes(target);
    });
    assert.deepEqual(wrong, []);
  });
}

Deno.test("protocol/ does no I/O: of the platform it takes buffers, hashes and inflation", async () => {
  const imports = await importsOf("protocol");
  assert.deepEqual(imports.filter(({ to }) => !to.endsWith(".ts") && !PURE_BUILTINS.has(to)), []);
  for await (const path of sources("protocol")) {
    const text = await Deno.readTextFile(join(ROOT, path));
    assert.doesNotMatch(text, /\bDeno\.|\bsetTimeout\b|\bDate\.now\b|\bperformance\.|\bfetch\(/, path);
  }
});

Deno.test("authz/policy/ decides: it imports only types", async () => {
  for await (const path of sources(join("authz", "policy"))) {
    const text = await Deno.readTextFile(join(ROOT, path));
    const values = [...text.matchAll(/^import (?!type\b)[^;]*"([^"]+)";/gm)].map(([, to = ""]) => to);
    assert.deepEqual(values.filter((to) => !to.startsWith("./")), [], path);
  }
});
