import assert from "node:assert/strict";
import { join } from "node:path";
import { openS3Sink, type S3Sink } from "./s3_sink.ts";
import { TestS3 } from "./test_s3.ts";

Deno.test({
  name:
    "openS3Sink opens the store that is named, and assembles what an earlier process of this instance left",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const folder = await Deno.makeTempDir();
    await using s3 = new TestS3();
    const sink: S3Sink = {
      type: "s3",
      endpoint: s3.endpoint,
      region: "eu-central-1",
      bucket: "evidence",
      prefix: "prod/",
      addressing: "path",
      accessKeyIdFile: join(folder, "id"),
      secretAccessKeyFile: join(folder, "secret"),
      conditionalWrites: true,
    };
    await Deno.writeTextFile(sink.accessKeyIdFile, "id");
    await Deno.writeTextFile(sink.secretAccessKeyFile, "secret");
    const terms = { instance: "one", writeTimeoutSeconds: 5, onTrouble: assert.ifError };
    try {
      await using store = await openS3Sink(sink, terms);
      await (await store.create("a.rec")).append(new Uint8Array([120]));
      await using again = await openS3Sink(sink, terms);
      while (s3.text("prod/a.rec") !== "x") await new Promise((resolve) => setTimeout(resolve, 5));
      while ((await Array.fromAsync(again.unjoined())).length > 0);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
