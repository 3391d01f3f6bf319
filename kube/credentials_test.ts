import assert from "node:assert/strict";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { CredentialSource } from "./credentials.ts";

const ca = await makeCa();
const one = await issue(ca);
const other = await issue(ca);

/** Credentials in files, read again each time they are asked for. */
async function scene(run: (scene: { source: CredentialSource; folder: string }) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/ca`, ca.cert);
    await Deno.writeTextFile(`${folder}/token`, "first\n");
    await Deno.writeTextFile(`${folder}/cert`, one.cert);
    await Deno.writeTextFile(`${folder}/key`, one.key);
    const file = (name: string) => ({ file: `${folder}/${name}` });
    const clientCertificate = { cert: file("cert"), key: file("key") };
    await run({
      source: new CredentialSource({ ca: file("ca"), token: file("token"), clientCertificate }, 0),
      folder,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("credentials stay the same object until a file changes", () =>
  scene(async ({ source, folder }) => {
    const first = await source.current();
    assert.deepEqual(first, { caCerts: [ca.cert], token: "first", clientCertificate: one });
    assert.equal(await source.current(), first);
    await Deno.writeTextFile(`${folder}/token`, "second");
    const second = await source.current();
    assert.equal(second.token, "second");
    assert.equal(await source.current(), second);
  }));

const HALF: { name: string; file: string; text: string }[] = [
  { name: "an empty token", file: "token", text: "" },
  { name: "a token of two lines", file: "token", text: "a\nb" },
  { name: "a key that belongs to another certificate", file: "key", text: other.key },
  { name: "half a certificate", file: "cert", text: one.cert.slice(0, 100) },
  { name: "an empty authority", file: "ca", text: "" },
];
for (const { name, file, text } of HALF) {
  Deno.test(`half a rotation: ${name} leaves the credentials before it in force, until it is whole`, () =>
    scene(async ({ source, folder }) => {
      const first = await source.current();
      await Deno.writeTextFile(`${folder}/${file}`, text);
      assert.equal(await source.current(), first);
    }));
}

Deno.test("a certificate and its key are renewed together", () =>
  scene(async ({ source, folder }) => {
    const first = await source.current();
    await Deno.writeTextFile(`${folder}/cert`, other.cert);
    assert.equal(await source.current(), first);
    await Deno.writeTextFile(`${folder}/key`, other.key);
    assert.deepEqual((await source.current()).clientCertificate, other);
  }));

Deno.test("a file that is gone leaves the credentials in force", () =>
  scene(async ({ source, folder }) => {
    const first = await source.current();
    await Deno.remove(`${folder}/token`);
    assert.equal(await source.current(), first);
  }));

Deno.test("what cannot be read at the start is told, and tried again", () =>
  scene(async ({ source, folder }) => {
    await Deno.writeTextFile(`${folder}/token`, "");
    await assert.rejects(source.current(), /the token is empty/);
    await Deno.writeTextFile(`${folder}/token`, "there");
    assert.equal((await source.current()).token, "there");
  }));

Deno.test("files are not read again before their time", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/token`;
    await Deno.writeTextFile(file, "first");
    const source = new CredentialSource({ ca: undefined, token: { file }, clientCertificate: undefined });
    await source.current();
    await Deno.writeTextFile(file, "second");
    assert.equal((await source.current()).token, "first");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
