import { equal, notEqual } from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { authorityPem, issue, makeAuthority, parseAuthority } from "./certificates.ts";

const SUBJECT = {
  commonName: "system:node:node1",
  organization: "system:nodes",
  dnsNames: ["node1"],
  ipAddresses: ["127.0.0.1"],
};

Deno.test("issue makes a leaf that its authority signed, for exactly the names asked for", async () => {
  const authority = await makeAuthority("one");
  const leaf = new X509Certificate((await issue(authority, SUBJECT)).certificate);
  const signer = new X509Certificate(authority.certificate.toString("pem"));

  equal(leaf.verify(signer.publicKey), true);
  equal(leaf.checkIssued(signer), true);
  equal(leaf.ca, false);
  equal(leaf.subject, "O=system:nodes\nCN=system:node:node1");
  equal(leaf.checkHost("node1"), "node1");
  equal(leaf.checkIP("127.0.0.1"), "127.0.0.1");
  equal(leaf.checkHost("node2"), undefined);
});

Deno.test("issue under another authority of the same name does not pass for the first one's", async () => {
  const [first, second] = [await makeAuthority("same"), await makeAuthority("same")];
  const leaf = new X509Certificate((await issue(second, SUBJECT)).certificate);

  equal(leaf.verify(new X509Certificate(first.certificate.toString("pem")).publicKey), false);
  notEqual(first.certificate.serialNumber, second.certificate.serialNumber);
});

Deno.test("parseAuthority gives back an authority that issues for the one that was written", async () => {
  const authority = await makeAuthority("one");
  const again = await parseAuthority(await authorityPem(authority));
  const leaf = new X509Certificate((await issue(again, SUBJECT)).certificate);

  equal(leaf.verify(new X509Certificate(authority.certificate.toString("pem")).publicKey), true);
});
