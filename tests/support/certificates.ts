/**
 * Certificates for tests: an authority that lives in memory, and leaves as PEM texts. A leaf never signs itself:
 * rustls, which Deno uses, refuses a self-signed certificate that is its own authority.
 */

import "../cluster/reflect_metadata.ts";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
/** Clocks may be behind a little. */
const BACKDATED_MS = 5 * 60 * 1000;
const VALID_MS = 24 * 3600 * 1000;

/** A certificate authority whose key is at hand. */
export interface Ca {
  /** The authority's own certificate, PEM: what a client trusts. */
  cert: string;
  certificate: x509.X509Certificate;
  keys: CryptoKeyPair;
}

/** What a leaf says of its owner. */
export interface LeafOptions {
  /** DNS names and IP addresses, told apart by their form. @default ["localhost", "127.0.0.1"] */
  sans?: readonly string[];
  /** @default "postern test" */
  commonName?: string;
  /** Kubernetes takes it as a group. */
  organization?: string;
  notBefore?: Date;
  notAfter?: Date;
}

/** A leaf as files hold it. */
export interface Leaf {
  /** PEM. */
  cert: string;
  /** PKCS#8, PEM. */
  key: string;
}

/** A new authority. */
export async function makeCa(commonName = "postern test authority"): Promise<Ca> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity({}),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(certificate), certificate, keys };
}

/** A leaf for servers and clients alike, with a key of its own. */
export async function issue(ca: Ca, options: LeafOptions = {}): Promise<Leaf> {
  const { sans = ["localhost", "127.0.0.1"], commonName = "postern test", organization } = options;
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const names = sans.map((value) => ({ type: isIpAddress(value) ? "ip" as const : "dns" as const, value }));
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [...(organization === undefined ? [] : [{ O: [organization] }]), { CN: [commonName] }],
    issuer: ca.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: ca.keys.privateKey,
    signingAlgorithm: ALGORITHM,
    ...validity(options),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(ca.keys.publicKey),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: pem(certificate), key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") + "\n" };
}

function validity({ notBefore, notAfter }: LeafOptions): { notBefore: Date; notAfter: Date } {
  const from = notBefore ?? new Date(Date.now() - BACKDATED_MS);
  return { notBefore: from, notAfter: notAfter ?? new Date(from.getTime() + VALID_MS) };
}

function isIpAddress(name: string): boolean {
  return /^[\d.]+$/.test(name) || name.includes(":");
}

function pem(certificate: x509.X509Certificate): string {
  return certificate.toString("pem") + "\n";
}
