import assert from "node:assert/strict";
import { parse } from "yaml";
import { postern } from "./postern.ts";

async function run(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const code = await postern(args, { out: (text) => out += text, error: (text) => error += text });
  return { code, out, error };
}

const calls: { args: string[]; code: number; out?: RegExp; error?: RegExp }[] = [
  { args: ["--help"], code: 0, out: /^Usage: postern COMMAND[\s\S]*config check +check a configuration/ },
  { args: ["config", "print", "--help"], code: 0, out: /^Usage: postern config print \[--config FILE\]\n/ },
  { args: ["version"], code: 0, out: /^postern \d+\.\d+\.\d+\ndeno / },
  {
    args: ["config", "print"],
    code: 0,
    out: /^apiVersion: postern.dev\/v1alpha1\nkind: GatewayConfiguration\n/,
  },
  { args: ["config", "schema"], code: 0, out: /"\$schema"/ },
  { args: [], code: 2, error: /expected a command, got nothing/ },
  { args: ["config"], code: 2, error: /expected a command, got "config"/ },
  {
    args: ["config", "check"],
    code: 2,
    error: /expected FILE, got nothing\nUsage: postern config check FILE/,
  },
  { args: ["config", "check", "a", "b"], code: 2, error: /expected nothing more, got "b"/ },
  { args: ["config", "print", "--colour"], code: 2, error: /Unknown option '--colour'/ },
  { args: ["config", "print", "--config"], code: 2, error: /argument missing/ },
  {
    args: ["config", "check", "/nowhere/gateway.yaml"],
    code: 1,
    error: /^\/nowhere\/gateway.yaml: expected a file/,
  },
];
for (const { args, code, out = /^$/, error = /^$/ } of calls) {
  Deno.test(`postern ${args.join(" ")} exits with ${code}`, async () => {
    const got = await run(...args);
    assert.equal(got.code, code, got.error);
    assert.match(got.out, out);
    assert.match(got.error, error);
  });
}

Deno.test("postern config check writes one line per fault, and nothing else", async () => {
  const file = await Deno.makeTempFile({ suffix: ".yaml" });
  try {
    await Deno.writeTextFile(file, "kind: GatewayConfiguration\nlog: {level: loud}\n");
    const { code, out, error } = await run("config", "check", file);
    assert.deepEqual([code, out], [1, ""]);
    assert.deepEqual(error.split("\n").map((line) => line.split(":")[0]), [file, file, ""]);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("postern config print shows the file's values among the defaults", async () => {
  const file = await Deno.makeTempFile({ suffix: ".yaml" });
  try {
    await Deno.writeTextFile(
      file,
      "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\nserver: {port: 1}\n",
    );
    const { code, out } = await run("config", "print", "--config", file);
    assert.equal(code, 0);
    assert.deepEqual([parse(out).server.port, parse(out).log.level], [1, "info"]);
  } finally {
    await Deno.remove(file);
  }
});
