import assert from "node:assert/strict";
import { join } from "node:path";
import { S3CredentialSource } from "./s3_credentials.ts";

async function withFiles(
  run: (files: { accessKeyIdFile: string; secretAccessKeyFile: string }) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const files = { accessKeyIdFile: join(folder, "id"), secretAccessKeyFile: join(folder, "secret") };
  await Deno.writeTextFile(files.accessKeyIdFile, " id \n");
  await Deno.writeTextFile(files.secretAccessKeyFile, "secret\n");
  try {
    await run(files);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("S3CredentialSource reads files without their ends of line, once for as long as is said", () =>
  withFiles(async (files) => {
    const source = new S3CredentialSource(files, 60_000);
    const first = await source.current();
    assert.deepEqual([first.accessKeyId, first.secretAccessKey, first.sessionToken], [
      "id",
      "secret",
      undefined,
    ]);
    await Deno.writeTextFile(files.secretAccessKeyFile, "changed");
    assert.equal(await source.current(), first);
    assert.equal((await source.reread()).secretAccessKey, "changed");
  }));

Deno.test("S3CredentialSource notices a change by itself", () =>
  withFiles(async (files) => {
    const source = new S3CredentialSource(files, 0);
    const first = await source.current();
    assert.equal(await source.current(), first, "nothing has changed");
    await Deno.writeTextFile(files.accessKeyIdFile, "other");
    assert.equal((await source.current()).accessKeyId, "other");
  }));

for (const content of ["", "two words", "a\0b", "zwölf"]) {
  Deno.test(`S3CredentialSource keeps what it had where a file holds ${JSON.stringify(content)}`, () =>
    withFiles(async (files) => {
      const source = new S3CredentialSource(files, 0);
      const first = await source.current();
      await Deno.writeTextFile(files.secretAccessKeyFile, content);
      assert.equal(await source.current(), first);
    }));
}

Deno.test("S3CredentialSource throws where there are none yet, names the file, and tries again", () =>
  withFiles(async (files) => {
    const source = new S3CredentialSource(files, 60_000);
    await Deno.writeTextFile(files.secretAccessKeyFile, "not a secret");
    await assert.rejects(source.current(), (thrown) => {
      assert.ok(thrown instanceof Error && thrown.message.includes(files.secretAccessKeyFile));
      assert.doesNotMatch(thrown.message, /not a secret/);
      return true;
    });
    await Deno.writeTextFile(files.secretAccessKeyFile, "secret");
    assert.equal((await source.current()).secretAccessKey, "secret");
  }));
