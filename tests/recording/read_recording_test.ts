import assert from "node:assert/strict";
import { join } from "node:path";
import { armor, Decrypter, generateIdentity, identityToRecipient } from "age-encryption";
import { postern } from "../../cli/postern.ts";
import { makeRecording, PUBLIC_KEY } from "../../recording/test_recording.ts";
import { type Keys, readRecording } from "./read_recording.ts";
import { RECORDINGS } from "./recordings.ts";

/** Our own export of a recording, as objects. */
async function exported(file: string, ...args: string[]): Promise<unknown[]> {
  const target = `${file}.json`;
  const output = { out: () => {}, error: (text: string) => assert.fail(text) };
  assert.equal(await postern(["export", file, "--format", "json", "--output", target, ...args], output), 0);
  const text = await Deno.readTextFile(target);
  return text.trimEnd().split("\n").map((line): unknown => JSON.parse(line));
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const { name, recording } of RECORDINGS) {
  Deno.test(`a reader written from the document reads ${name} as we do`, () =>
    inFolder(async (folder) => {
      const file = join(folder, "a.rec");
      await Deno.writeFile(file, await makeRecording(recording));
      assert.deepEqual([...readRecording(file, { publicKey: PUBLIC_KEY })], await exported(file));
    }));

  Deno.test(`a reader written from the document reads ${name}, encrypted, as we do`, () =>
    inFolder(async (folder) => {
      const [file, identityFile] = [join(folder, "a.rec"), join(folder, "identity")];
      const identity = await generateIdentity();
      await Deno.writeTextFile(identityFile, identity);
      const recipient = await identityToRecipient(identity);
      await Deno.writeFile(file, await makeRecording({ ...recording, recipient }));

      const keys: Keys = { publicKey: PUBLIC_KEY, data: await dataKey(file, identity) };
      assert.deepEqual([...readRecording(file, keys)], await exported(file, "--identity", identityFile));
    }));
}

/** As the document says: the header holds an age file, whose content is the key. */
async function dataKey(file: string, identity: string): Promise<Uint8Array> {
  const [first] = readRecording(file);
  const { header } = first as { header: { encryption: { age: string } } };
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return await decrypter.decrypt(armor.decode(header.encryption.age));
}
