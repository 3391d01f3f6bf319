/**
 * The cluster's certificate authority and what it signs. A leaf never signs itself: rustls, which Deno uses, refuses
 * a self-signed certificate that is its own authority.
 */

import "./reflect_metadata.ts";
import * as x509 from "@peculiar/x509";
import { join } from "node:path";
import { writeSecret } from "./files.ts";
import type { Layout } from "./layout.ts";
import { ADDRESSES } from "./network.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const VALID_DAYS = 365;
/** Clocks of clients may be behind a little. */
const BACKDATED_MS = 5 * 60 * 1000;

/** Who a leaf speaks for. */
export interface Subject {
  /** Kubernetes takes it as the user's name. */
  commonName: string;
  /** Kubernetes takes it as a group. */
  organization?: string;
  dnsNames?: string[];
  ipAddresses?: string[];
}

/** A certificate authority whose key is at hand. */
export interface Authority {
  certificate: x509.X509Certificate;
  keys: CryptoKeyPair;
}

/** A leaf, or an authority, as the components read it from files. */
export interface PemPair {
  certificate: string;
  /** PKCS#8. */
  key: string;
}

const LOOPBACK = { dnsNames: ["localhost"], ipAddresses: ["127.0.0.1"] };

/** Every leaf of the cluster, by the name of its files in `pki/`. */
const LEAVES: Record<string, Subject> = {
  "apiserver": {
    commonName: "kube-apiserver",
    dnsNames: ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
    ipAddresses: ["127.0.0.1", ADDRESSES.node, ADDRESSES.kubernetes],
  },
  "apiserver-kubelet-client": { commonName: "kube-apiserver-kubelet-client", organization: "system:masters" },
  "controller-manager": { commonName: "system:kube-controller-manager", ...LOOPBACK },
  "scheduler": { commonName: "system:kube-scheduler", ...LOOPBACK },
  "kubelet": {
    commonName: "system:node:node1",
    organization: "system:nodes",
    dnsNames: ["node1"],
    ipAddresses: ["127.0.0.1", ADDRESSES.node],
  },
  "kube-proxy": { commonName: "system:kube-proxy" },
  "admin": { commonName: "admin", organization: "system:masters" },
};

/** Makes the authority, every leaf of the control plane, the gateway's and the key that signs service account tokens. */
export async function makeCertificates(at: Layout): Promise<void> {
  const authority = await makeAuthority("postern test cluster");
  await writePair(join(at.pki, "ca"), await authorityPem(authority));
  for (const [name, subject] of Object.entries(LEAVES)) {
    await writePair(join(at.pki, name), await issue(authority, subject));
  }
  await writePair(join(at.gateway, "tls"), await issue(authority, { commonName: "postern", ...LOOPBACK }));
  await Deno.copyFile(join(at.pki, "ca.crt"), join(at.gateway, "ca.crt"));

  const tokenKeys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  await writeSecret(join(at.pki, "service-account.key"), await privatePem(tokenKeys));
  await Deno.writeTextFile(join(at.pki, "service-account.pub"), await publicPem(tokenKeys));
}

/** A new authority, valid for a year. */
export async function makeAuthority(commonName: string): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity(),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, keys };
}

/** A leaf for servers and clients alike, with a key of its own. */
export async function issue(authority: Authority, subject: Subject): Promise<PemPair> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const { commonName, organization, dnsNames = [], ipAddresses = [] } = subject;
  const alternatives = [
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...ipAddresses.map((value) => ({ type: "ip" as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [...(organization === undefined ? [] : [{ O: [organization] }]), { CN: [commonName] }],
    issuer: authority.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    signingAlgorithm: ALGORITHM,
    ...validity(),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.keys.publicKey),
      ...(alternatives.length > 0 ? [new x509.SubjectAlternativeNameExtension(alternatives)] : []),
    ],
  });
  return { certificate: certificate.toString("pem") + "\n", key: await privatePem(keys) };
}

/** An authority as files hold it; `parseAuthority` reads it back. */
export async function authorityPem({ certificate, keys }: Authority): Promise<PemPair> {
  return { certificate: certificate.toString("pem") + "\n", key: await privatePem(keys) };
}

/** Reads an authority (pki/ca.crt and pki/ca.key), so that a test can issue more leaves under it. */
export async function parseAuthority(pem: PemPair): Promise<Authority> {
  const certificate = new x509.X509Certificate(pem.certificate);
  const pkcs8 = x509.PemConverter.decodeFirst(pem.key);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, true, ["sign"]);
  const publicKey = await certificate.publicKey.export(ALGORITHM, ["verify"]);
  return { certificate, keys: { privateKey, publicKey } };
}

function validity(): { notBefore: Date; notAfter: Date } {
  const notBefore = new Date(Date.now() - BACKDATED_MS);
  return { notBefore, notAfter: new Date(notBefore.getTime() + VALID_DAYS * 24 * 3600 * 1000) };
}

async function privatePem({ privateKey }: CryptoKeyPair): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY") + "\n";
}

async function publicPem({ publicKey }: CryptoKeyPair): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey("spki", publicKey), "PUBLIC KEY") + "\n";
}

async function writePair(path: string, pair: PemPair): Promise<void> {
  await Deno.writeTextFile(`${path}.crt`, pair.certificate);
  await writeSecret(`${path}.key`, pair.key);
}
