import assert from "node:assert/strict";
import { parse } from "yaml";
import { toYaml } from "./effective.ts";
import { generated } from "./generate.ts";
import { type JsonSchema, jsonSchema } from "./json_schema.ts";
import { loadConfiguration, parseConfiguration } from "./load.ts";

for (const { url, text } of generated()) {
  Deno.test(`${url.pathname.split("/").at(-1)} is current (else: deno task generate)`, async () => {
    assert.equal(await Deno.readTextFile(url), text);
  });
}

Deno.test("every key has a description, and a default or a reason to have none", () => {
  const needed = new Set([
    "apiVersion",
    "kind",
    "audit.sinks.type",
    "audit.sinks.path",
    "audit.sinks.url",
    "audit.sinks.spool",
    "audit.sinks.spool.directory",
  ]);
  walk(jsonSchema(), "");

  function walk(schema: JsonSchema, path: string): void {
    for (const [key, value] of Object.entries(schema.properties ?? {})) {
      const here = path === "" ? key : `${path}.${key}`;
      assert.ok(value.description, `${here} has no description`);
      assert.equal(schema.required?.includes(key) ?? false, needed.has(here), here);
      walk(value, here);
      for (const variant of value.items?.oneOf ?? []) walk(variant, here);
    }
  }
});

Deno.test("a number's name carries its unit", () => {
  const without: string[] = [];
  JSON.stringify(jsonSchema(), function (key, value) {
    // An item of a list has no name of its own.
    if (value?.type === "integer" && !/(Days|Seconds|Milliseconds|Bytes)$|^[0-9]+$/.test(key)) {
      without.push(key);
    }
    return value;
  });
  // These are counts, and a port.
  assert.deepEqual([...new Set(without)], [
    "port",
    "maxRequestsPerConnection",
    "maxConnections",
    "maxConnectionsPerAddress",
    "cacheEntries",
    "maxSessions",
    "maxFiles",
    "maxEvents",
    "burstEvents",
    "eventsPerMinute",
    "totalEventsPerMinute",
  ]);
});

Deno.test("toYaml is a configuration that means itself", () => {
  const minimal = "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\n";
  const effective = parseConfiguration(minimal, "/etc/postern/gateway.yaml");
  const printed = toYaml(effective);
  assert.deepEqual(toYaml(parseConfiguration(printed, "/elsewhere/gateway.yaml")), printed);
  assert.equal(parse(printed).server.limits.maxHeaderBytes, 1048576);
});

Deno.test("the example configuration is one", async () => {
  const example = new URL("../deploy/config/gateway.yaml", import.meta.url);
  const configuration = await loadConfiguration(example.pathname);
  assert.equal(configuration.authorization.group, "postern.dev");
});
