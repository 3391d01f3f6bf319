import { createPrivateKey, X509Certificate } from "node:crypto";

/** Where the certificate of the front lies. */
export interface TlsFiles {
  /** Certificate chain in PEM, our own first. */
  certFile: string;
  /** Private key of the first certificate, PEM. */
  keyFile: string;
  /** How often the files are looked at, in seconds. */
  reloadSeconds: number;
}

/** A certificate and its key, which were found to belong together. */
export interface KeyPair {
  /** PEM, may be a chain. */
  cert: string;
  /** PEM. */
  key: string;
}

/**
 * Reads both files, and sees whether they belong together: they may be replaced while they are read.
 *
 * @throws {Error} naming the file and what is wrong with it, never what is in it
 */
export async function readKeyPair({ certFile, keyFile }: TlsFiles): Promise<KeyPair> {
  const [cert, key] = await Promise.all([readText(certFile), readText(keyFile)]);
  const certificate = parse(certFile, "certificate", () => new X509Certificate(cert));
  const privateKey = parse(keyFile, "private key", () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new Error(`the key in ${keyFile} does not belong to the certificate in ${certFile}`);
  }
  return { cert, key };
}

/** Until when the first certificate of a pair is valid, as RFC 3339. */
export function expiryOf({ cert }: KeyPair): string {
  return new Date(new X509Certificate(cert).validTo).toISOString();
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new Error(`${path} cannot be read`, { cause });
  }
}

/** What a parser says of a key may quote it, so it is not passed on. */
function parse<T>(path: string, what: string, read: () => T): T {
  try {
    return read();
  } catch {
    throw new Error(`${path} holds no ${what} in PEM`);
  }
}
