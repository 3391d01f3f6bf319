import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { DownloadError, fetchOnce, type Fingerprint, run } from "./download.ts";

const fingerprintOf = (text: string): Fingerprint => ({
  algorithm: "sha512",
  hex: createHash("sha512").update(text).digest("hex"),
});

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Fetches a text, and counts how often. */
function registry(text: string) {
  const counted = {
    times: 0,
    fetchInto: async (folder: string) => {
      counted.times++;
      const path = join(folder, "fetched");
      await Deno.writeTextFile(path, text);
      return path;
    },
  };
  return counted;
}

Deno.test("fetchOnce fetches once, and leaves nothing but the file", () =>
  inFolder(async (folder) => {
    const good = registry("good");
    const first = await fetchOnce(folder, "it", fingerprintOf("good"), good.fetchInto);
    const second = await fetchOnce(folder, "it", fingerprintOf("good"), good.fetchInto);
    assert.equal(await Deno.readTextFile(first), "good");
    assert.equal(second, first);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => join(folder, name)), [first]);
    assert.equal(good.times, 1);
  }));

Deno.test("a registry that hands out another file: refused, and not kept", () =>
  inFolder(async (folder) => {
    const { fetchInto } = registry("evil");
    await assert.rejects(fetchOnce(folder, "it", fingerprintOf("good"), fetchInto), DownloadError);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  }));

Deno.test("a file that was changed where it is kept: fetched again", () =>
  inFolder(async (folder) => {
    const good = registry("good");
    const path = await fetchOnce(folder, "it", fingerprintOf("good"), good.fetchInto);
    await Deno.writeTextFile(path, "evil");
    await fetchOnce(folder, "it", fingerprintOf("good"), good.fetchInto);
    assert.equal(await Deno.readTextFile(path), "good");
    assert.equal(good.times, 2);
  }));

Deno.test("run says which program is not there, and what one that failed said last", async () => {
  await assert.rejects(run("no-such-program-anywhere", []), /there is no no-such-program-anywhere/);
  await assert.rejects(run(Deno.execPath(), ["--no-such-flag"]), DownloadError);
});
