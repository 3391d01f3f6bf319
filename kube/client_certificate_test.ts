import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { checkClientCertificate } from "./client_certificate.ts";

const ca = await makeCa();
const one = await issue(ca);
const other = await issue(ca);
const pem = { type: "pkcs8", format: "pem" } as const;
const BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

Deno.test("checkClientCertificate passes a pair, and the platform takes it", () => {
  checkClientCertificate(one);
  Deno.createHttpClient({ caCerts: [ca.cert], ...one }).close();
});

// The platform panics at each of these but the texts that are no PEM: they cannot be shown to it here.
const REFUSED = [
  { name: "the key of another certificate", pair: { cert: one.cert, key: other.key }, why: /not belong/ },
  {
    name: "a curve that the platform does not know",
    pair: {
      cert: one.cert,
      key: generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey.export(pem),
    },
    why: /no kind that can be used/,
  },
  {
    name: "an RSA key of 1024 bits",
    pair: {
      cert: one.cert,
      key: generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey.export(pem),
    },
    why: /no kind that can be used/,
  },
  { name: "a broken certificate", pair: { cert: BROKEN, key: one.key }, why: /certificate cannot be read/ },
  { name: "an empty key", pair: { cert: one.cert, key: "" }, why: /key cannot be read/ },
];
for (const { name, pair: { cert, key }, why } of REFUSED) {
  Deno.test(`checkClientCertificate refuses ${name}, before it ends the process`, () => {
    assert.throws(() => checkClientCertificate({ cert, key: String(key) }), (thrown) => {
      assert.ok(thrown instanceof Error);
      return why.test(thrown.message) && !thrown.message.includes("BEGIN");
    });
  });
}
