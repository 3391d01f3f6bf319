import { readFile } from "node:fs/promises";
import { ArgvMask, type CommandMask, KEEP_SECRETS_IN_CLEAR } from "./argv_mask.ts";

/** What an operator says of secrets in command lines. */
export interface CommandMaskOptions {
  keepSecretsInClear: boolean;
  names: readonly string[];
  /** Read once. Without it a key is made that nobody else has. */
  keyFile?: string | undefined;
}

/** As long as the digest that it is the key of: shorter ones can be guessed. */
const MIN_KEY_BYTES = 32;

/** @throws where the key cannot be read or is too short */
export async function openCommandMask(
  { keepSecretsInClear, names, keyFile }: CommandMaskOptions,
): Promise<CommandMask> {
  if (keepSecretsInClear) return KEEP_SECRETS_IN_CLEAR;
  if (keyFile === undefined) return new ArgvMask({ names });
  const key = await readFile(keyFile);
  if (key.length < MIN_KEY_BYTES) {
    throw new RangeError(`${keyFile} has fewer than ${MIN_KEY_BYTES} bytes: it is no key`);
  }
  return new ArgvMask({ key, names });
}
