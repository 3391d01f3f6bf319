import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { Buffer } from "node:buffer";

/** Signs with an Ed25519 key. */
export class Signer {
  readonly #key: KeyObject;
  /** SHA-256 of the public key (SPKI, DER), hexadecimal. */
  readonly keyId: string;

  /**
   * @param pem a private key in PKCS #8
   * @throws {TypeError} it is none of Ed25519
   */
  constructor(pem: string) {
    this.#key = createPrivateKey(pem);
    this.keyId = keyIdOf(ed25519(createPublicKey(this.#key)));
  }

  sign(bytes: Uint8Array): Uint8Array {
    return sign(null, bytes, this.#key);
  }
}

/** Knows the public keys that may have signed, also those that are no longer used. */
export class Verifier {
  readonly #keys = new Map<string, KeyObject>();

  /**
   * @param pems public keys, or the private ones they belong to
   * @throws {TypeError} one is none of Ed25519
   */
  constructor(pems: readonly string[]) {
    for (const pem of pems) {
      const key = ed25519(createPublicKey(pem));
      this.#keys.set(keyIdOf(key), key);
    }
  }

  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  /** @returns `undefined` where the key is not known */
  verify(keyId: string, bytes: Uint8Array, signature: Uint8Array): boolean | undefined {
    const key = this.#keys.get(keyId);
    return key && verify(null, bytes, key, signature);
  }
}

function ed25519(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== "ed25519") {
    throw new TypeError(`expected an Ed25519 key, got ${key.asymmetricKeyType}`);
  }
  return key;
}

function keyIdOf(key: KeyObject): string {
  return createHash("sha256").update(Buffer.from(key.export({ type: "spki", format: "der" }))).digest("hex");
}
