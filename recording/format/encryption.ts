import { randomBytes } from "node:crypto";
import { armor, Encrypter } from "age-encryption";
import type { RecordingHeader } from "./document.ts";

/** A new recording's key, and how its readers get it. */
export interface EncryptedKey {
  /** 32 bytes. */
  key: Uint8Array;
  header: NonNullable<RecordingHeader["encryption"]>;
}

/** Whether a text is a recipient that keys can be encrypted to. */
export function isRecipient(text: string): boolean {
  try {
    new Encrypter().addRecipient(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * A key that only the holders of the recipients' identities can learn. The gateway itself forgets it with the session.
 *
 * @param recipients `age1…`, at least one
 */
export async function newRecordingKey(recipients: readonly string[]): Promise<EncryptedKey> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const key = randomBytes(32);
  const age = armor.encode(await encrypter.encrypt(key));
  return { key, header: { cipher: "AES-256-GCM", age } };
}
