import { flag, list, optionalFile, section, text } from "../values.ts";

/** What is a secret in a command line unless an operator says otherwise. */
const NAMES = [
  "access-key",
  "account-key",
  "api-key",
  "authorization",
  "bearer",
  "connection-string",
  "cookie",
  "credential",
  "db-pass",
  "dsn",
  "jwt",
  "key",
  "key-pass",
  "master-auth",
  "pass",
  "passcode",
  "passphrase",
  "passwd",
  "password",
  "private-key",
  "pw",
  "pwd",
  "rediscli-auth",
  "require-pass",
  "secret",
  "ssh-pass",
  "store-pass",
  "token",
  "user-pass",
];

/** How secrets in command lines are written down. */
export const argv = section({
  keepSecretsInClear: flag({
    fallback: false,
    description:
      "Write command lines as they were sent, passwords and all: into events, URIs and recordings.",
  }),
  names: list(
    text("a name of letters, digits and dashes", {
      maxLength: 64,
      pattern: /^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$/,
    }),
    256,
  ).default(NAMES).meta({
    description:
      "Flags, variables, headers and keys whose values are secrets: `api-key` stands for --api-key, API_KEY, " +
      "apiKey, X-Api-Key. Names of five letters or more are also found at the end of a word (PGPASSWORD). What is named " +
      "here takes the place of the list that is the default.",
  }),
  keyFile: optionalFile(
    "At least 32 random bytes, the key of the digests that stand where secrets stood: equal secrets have equal digests " +
      "where this file is the same. Absent, a key is made at every start, and digests match within one process's life.",
  ),
}).prefault({}).meta({
  description: "Secrets in command lines: in their place events have `(masked:…)`, a keyed digest.",
});
