import assert from "node:assert/strict";
import { type EventFileOptions, readEventFiles } from "./event_files.ts";
import { openSession, wholeSession } from "./test_events.ts";

/** A test with a folder of its own. */
function folderTest(name: string, body: (path: string) => Promise<void>): void {
  Deno.test({
    name: `readEventFiles ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await body(`${folder}/audit.log`);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

function lines(...auditIds: string[]): string {
  return auditIds.flatMap((auditId) => openSession({ auditId })).map((event) => `${JSON.stringify(event)}\n`)
    .join("");
}

async function idsOf(paths: string[], options: EventFileOptions = {}): Promise<string[]> {
  const events = (await Array.fromAsync(readEventFiles(paths, options))).flat();
  return [...new Set(events.map(({ auditID }) => auditID))];
}

folderTest("reads the files that one was rotated to, the oldest first", async (path) => {
  await Deno.writeTextFile(path, lines("c"));
  await Deno.writeTextFile(`${path}.1`, lines("b"));
  await Deno.writeTextFile(`${path}.2`, lines("a"));
  assert.deepEqual(await idsOf([path]), ["a", "b", "c"]);
});

folderTest("reads over the gap that a cut rotation left", async (path) => {
  await Deno.writeTextFile(`${path}.1`, lines("b"));
  await Deno.writeTextFile(`${path}.3`, lines("a"));
  assert.deepEqual(await idsOf([path]), ["a", "b"]);
});

folderTest("loses nothing to a rotation meanwhile", async (path) => {
  await Deno.writeTextFile(path, lines("b"));
  await Deno.writeTextFile(`${path}.1`, lines("a"));
  const reading = readEventFiles([path]);
  const got = [(await reading.next()).value];
  await Deno.rename(`${path}.1`, `${path}.2`);
  await Deno.rename(path, `${path}.1`);
  await Deno.writeTextFile(path, lines("c"));
  for await (const batch of reading) got.push(batch);
  const ids = got.flatMap((batch) => batch ?? []).map(({ auditID }) => auditID);
  assert.deepEqual(new Set(ids), new Set(["a", "b"]));
});

folderTest("leaves out lines that are no events, and tells of each", async (path) => {
  const apiServers = JSON.stringify({ ...openSession()[0], annotations: {} });
  await Deno.writeTextFile(path, `${lines("a")}{"auditID":"b\n\n${apiServers}\nnull\n${lines("c")}{"cut`);
  const skipped: number[] = [];
  assert.deepEqual(await idsOf([path], { onSkipped: (_path, line) => skipped.push(line) }), ["a", "c"]);
  assert.deepEqual(skipped, [3, 5, 6, 9]);
});

folderTest("holds no line that is longer than any event", async (path) => {
  await Deno.writeTextFile(path, `"${"x".repeat(9_000_000)}"\n${lines("a")}`);
  assert.deepEqual(await idsOf([path]), ["a"]);
});

folderTest("reads lines however they fall into its buffer", async (path) => {
  const events = Array.from({ length: 300 }, (_, index) => wholeSession({ auditId: `session-${index}` }))
    .flat();
  await Deno.writeTextFile(path, events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  const got = (await Array.fromAsync(readEventFiles([path]))).flat();
  assert.deepEqual(got.map(({ auditID }) => auditID), events.map(({ auditID }) => auditID));
});

folderTest("leaves out what was before, and files that were not written to since", async (path) => {
  await Deno.writeTextFile(`${path}.1`, lines("old"));
  await Deno.utime(`${path}.1`, new Date("2026-11-21T11:00:00Z"), new Date("2026-11-21T11:00:00Z"));
  const events = [...openSession({ auditId: "a", minute: 1 }), ...openSession({ auditId: "b", minute: 2 })];
  await Deno.writeTextFile(path, events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  assert.deepEqual(await idsOf([path], { since: "2026-11-21T12:02:00.000000Z" }), ["b"]);
});

folderTest("says where there is no file", async (path) => {
  await assert.rejects(idsOf([path]), { code: "invalid" });
});
