import assert from "node:assert/strict";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { decryptKey, parseIdentities } from "./decrypt_key.ts";
import { newRecordingKey } from "./encryption.ts";

const [MINE, OTHER] = await Promise.all([generateIdentity(), generateIdentity()]);

Deno.test("a recording's key is had by any of its recipients, and by nobody else", async () => {
  const { key, header } = await newRecordingKey([
    await identityToRecipient(MINE),
    await identityToRecipient(OTHER),
  ]);
  assert.deepEqual(await decryptKey({ encryption: header }, [MINE]), new Uint8Array(key));
  assert.deepEqual(await decryptKey({ encryption: header }, [OTHER]), new Uint8Array(key));
  const stranger = await generateIdentity();
  await assert.rejects(decryptKey({ encryption: header }, [stranger]), { code: "key_missing" });
});

for (
  const encryption of [
    {},
    { cipher: "none", age: "" },
    { cipher: "AES-256-GCM", age: 1 },
    "age",
  ]
) {
  Deno.test(`${JSON.stringify(encryption)} is no encryption that is known`, async () => {
    await assert.rejects(decryptKey({ encryption }, [MINE]), { code: "payload_invalid" });
  });
}

Deno.test("an identity file has comments and empty lines", () => {
  assert.deepEqual(parseIdentities(`# created: today\n\n${MINE}\r\n${OTHER}\n`), [MINE, OTHER]);
});

for (const text of ["", "# nothing\n", "secret stuff\n", `${MINE}\nsecret stuff\n`]) {
  Deno.test(`what is no identity file is said to be none, and nothing of it is: ${text.length} characters`, () => {
    assert.throws(
      () => parseIdentities(text),
      ({ message }: Error) => /expected an age identity file/.test(message) && !/secret stuff/.test(message),
    );
  });
}
