import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KEEP_SECRETS_IN_CLEAR } from "./argv_mask.ts";
import { openCommandMask } from "./open_command_mask.ts";

const options = { keepSecretsInClear: false, names: ["password"] };
const argv = ["--password=hunter2", "--token=x"];

async function withFile(bytes: Uint8Array, test: (keyFile: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "postern-key-"));
  try {
    writeFileSync(join(folder, "key"), bytes);
    await test(join(folder, "key"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

Deno.test("openCommandMask: whoever has the same key has the same digests", async () => {
  await withFile(new Uint8Array(32).fill(7), async (keyFile) => {
    const [one, other] = [
      await openCommandMask({ ...options, keyFile }),
      await openCommandMask({ ...options, keyFile }),
    ];
    assert.deepEqual(one.argv(argv), other.argv([...argv]));
    assert.match(one.argv(argv).join(" "), /^--password=\(masked:[0-9a-f]{16}\) --token=x$/);
    assert.notDeepEqual((await openCommandMask(options)).argv(argv), one.argv(argv));
  });
});

Deno.test("openCommandMask takes no key that can be guessed, and none that is not there", async () => {
  await withFile(new Uint8Array(31), async (keyFile) => {
    await assert.rejects(openCommandMask({ ...options, keyFile }), /fewer than 32 bytes/);
    await assert.rejects(openCommandMask({ ...options, keyFile: `${keyFile}-2` }), /ENOENT/);
  });
});

Deno.test("openCommandMask keeps secrets only where that was asked for by its name", async () => {
  assert.equal(await openCommandMask({ ...options, keepSecretsInClear: true }), KEEP_SECRETS_IN_CLEAR);
});
