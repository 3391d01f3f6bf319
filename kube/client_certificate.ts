import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

/** A certificate and its key, PEM. */
export interface ClientCertificate {
  cert: string;
  key: string;
}

const CURVES: ReadonlySet<string | undefined> = new Set(["prime256v1", "secp384r1", "secp521r1"]);

/**
 * Makes sure that the platform can use a client certificate. Deno 2.9.5 does not throw at a key that belongs to
 * another certificate, or of a kind that it does not know: the whole process panics, and every session with it. Files
 * that are read in the middle of a rotation are such a pair.
 *
 * @throws {Error} saying what is wrong, never what is in it
 */
export function checkClientCertificate({ cert, key }: ClientCertificate): void {
  const certificate = parse("certificate", () => new X509Certificate(cert));
  const privateKey = parse("key", () => createPrivateKey(key));
  if (!isUsable(privateKey)) {
    throw new Error("the client key is of no kind that can be used: RSA, P-256, P-384, P-521, Ed25519");
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new Error("the client key does not belong to the client certificate");
  }
}

function isUsable({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  switch (asymmetricKeyType) {
    case "rsa":
      return (asymmetricKeyDetails?.modulusLength ?? 0) >= 2048;
    case "ec":
      return CURVES.has(asymmetricKeyDetails?.namedCurve);
    default:
      return asymmetricKeyType === "ed25519";
  }
}

/** A parser may quote what it stumbles over, so what it says is not passed on. */
function parse<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch {
    throw new Error(`the client ${what} cannot be read as PEM`);
  }
}
