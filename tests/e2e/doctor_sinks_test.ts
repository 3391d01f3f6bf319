/** What `postern doctor` finds out of real stores: S3 and PostgreSQL that take what they are given, and that do not. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import { PostgresqlStore } from "../../catalog/stores/postgresql.ts";
import { checkSinks } from "../../cli/doctor/sinks.ts";
import { parseConfiguration } from "../../config/load.ts";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import { readText, S3Client } from "../../recording/sinks/s3_client.ts";
import { PostgresqlServer } from "./support/postgresql.ts";
import { S3Server } from "./support/s3_server.ts";

/** What is found in a configuration of these sections, beside what its audit sink is found to be. */
async function examine(folder: string, sections: Partial<GivenConfiguration>) {
  const text = stringify({
    apiVersion: "postern.dev/v1alpha1",
    kind: "GatewayConfiguration",
    audit: { sinks: [{ type: "file", path: "audit.log" }] },
    ...sections,
  });
  const found = await checkSinks(parseConfiguration(text, join(folder, "gateway.yaml")));
  return found.filter(({ message }) => !message.startsWith("audit file"));
}

Deno.test({
  name: "postern doctor begins an upload to S3 and abandons it: nothing stays, and a refusal is told",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await using server = await S3Server.start();
      const key = await server.requireSignatures();
      await server.makeBucket("evidence", key);
      const credentials = {
        accessKeyIdFile: join(folder, "id"),
        secretAccessKeyFile: join(folder, "secret"),
      };
      await Deno.writeTextFile(credentials.accessKeyIdFile, key.id);
      await Deno.writeTextFile(credentials.secretAccessKeyFile, key.secret);
      const store = { endpoint: server.url, region: "us-east-1", bucket: "evidence", ...credentials };
      const recording = (more: { bucket?: string } = {}) => ({
        recording: { sink: { type: "s3", prefix: "prod/", ...store, ...more } } as const,
      });

      const [well] = await examine(folder, recording());
      assert.deepEqual([well?.status, well?.message.split(",")[0]], ["ok", `recording store ${server.url}`]);
      using client = await S3Client.open({ ...store, credentials });
      const lists: Record<string, string>[] = [{ uploads: "" }, { "list-type": "2" }];
      for (const query of lists) {
        assert.doesNotMatch(await client.send({ method: "GET", query }, readText), /doctor/);
      }

      const [missing] = await examine(folder, recording({ bucket: "nothing" }));
      assert.equal(missing?.status, "wrong", missing?.message);
      assert.match(missing?.message ?? "", /bucket nothing: .*(NoSuchBucket|404)/);

      await Deno.writeTextFile(credentials.secretAccessKeyFile, "somebody-elses-secret");
      const [refused] = await examine(folder, recording());
      assert.equal(refused?.status, "wrong");
      assert.match(refused?.message ?? "", /SignatureDoesNotMatch|403/);
      assert.doesNotMatch(JSON.stringify(refused), /somebody-elses-secret/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "postern doctor asks PostgreSQL whether the index may be written to",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const [urlFile, caFile] = [join(folder, "url"), join(folder, "ca.crt")];
    try {
      await using server = await PostgresqlServer.start();
      await Deno.writeTextFile(caFile, server.ca);
      const index = {
        recording: { mode: "off" },
        index: { type: "postgresql", postgresql: { urlFile, caFile } },
      } as const;
      await Deno.writeTextFile(urlFile, server.url());
      const [well] = await examine(folder, index);
      assert.equal(well?.status, "ok", well?.message);
      assert.match(well?.message ?? "", /^index in PostgreSQL can be written to$/);

      // Which was asked for, and not made.
      const outside = await PostgresqlStore.open({ url: server.url(), ca: server.ca, schema: "pg_catalog" });
      assert.deepEqual(await outside.query("select 1 from pg_namespace where nspname = 'postern'"), []);
      await outside.close();

      const store = await PostgresqlStore.open({ url: server.url(), ca: server.ca });
      await store.query("create role reader login password 'sesame'");
      await store.query("grant usage on schema postern to reader");
      await store.close();
      const url = new URL(server.url());
      [url.username, url.password] = ["reader", "sesame"];
      await Deno.writeTextFile(urlFile, url.href);
      const [reader] = await examine(folder, index);
      assert.equal(reader?.status, "wrong");
      assert.match(reader?.message ?? "", /may not write to schema postern/);

      url.password = "wrong-sesame";
      await Deno.writeTextFile(urlFile, url.href);
      const [stranger] = await examine(folder, index);
      assert.match(stranger?.message ?? "", /password authentication failed/);
      assert.doesNotMatch(JSON.stringify(stranger), /sesame/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
