import { armor, Decrypter } from "age-encryption";
import { RecordingError } from "./recording_error.ts";

/** Bytes of a recording's key. */
const KEY_BYTES = 32;

/**
 * Reads an identity file as `age-keygen` writes it: one identity a line, comments and empty lines between.
 *
 * @returns `AGE-SECRET-KEY-…`, at least one
 * @throws {TypeError} that says no part of the file
 */
export function parseIdentities(text: string): string[] {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) =>
    line !== "" && !line.startsWith("#")
  );
  if (lines.length === 0 || !lines.every(isIdentity)) {
    throw new TypeError("expected an age identity file: lines that begin with AGE-SECRET-KEY-");
  }
  return lines;
}

function isIdentity(line: string): boolean {
  try {
    new Decrypter().addIdentity(line);
    return true;
  } catch {
    return false;
  }
}

/** Whether a recording's header says that its data blocks are encrypted. */
export function isEncrypted(header: Record<string, unknown>): boolean {
  return header.encryption !== undefined;
}

/**
 * The key of an encrypted recording; the inverse of `newRecordingKey`.
 *
 * @param header of the recording
 * @param identities of which one must be a recipient's
 * @returns 32 bytes
 * @throws {RecordingError} `key_missing`: none is; `payload_invalid`: the header holds no such key
 */
export async function decryptKey(
  header: Record<string, unknown>,
  identities: readonly string[],
): Promise<Uint8Array> {
  const { cipher, age } = fieldsOf(header.encryption);
  if (cipher !== "AES-256-GCM" || typeof age !== "string") {
    throw new RecordingError("payload_invalid", "the recording is encrypted in a way that is not known here");
  }
  const key = await decrypt(age, identities);
  if (key.length !== KEY_BYTES) {
    throw new RecordingError(
      "payload_invalid",
      `the recording's key has ${key.length} bytes, not ${KEY_BYTES}`,
    );
  }
  return key;
}

async function decrypt(age: string, identities: readonly string[]): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  try {
    return await decrypter.decrypt(armor.decode(age));
  } catch (cause) {
    throw new RecordingError("key_missing", "none of the identities opens the recording's key", { cause });
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
