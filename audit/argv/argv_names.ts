/** What `audit.argv.names` is by default. A name of several words stands for them however they are joined. */
export const SECRET_NAMES: readonly string[] = [
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

/** Shorter names are found as words only: "key" is not in "monkey", nor "pass" in "bypass". */
const MIN_SUFFIX_LENGTH = 5;

/** Longer identifiers are not looked at: nobody names anything so. */
const MAX_IDENTIFIER_LENGTH = 256;

/** The last word of what only belongs to a secret and is none: `--key-type`, `AWS_ACCESS_KEY_ID`, `--token-ttl`. */
const HARMLESS_ENDS: ReadonlySet<string> = new Set(
  ("age algorithm algo alias arn attempts audience backend bits chars count days dir directory duration encoding " +
    "endpoint env expiration expiry fd field file filename format id interval issuer kind label length lifetime " +
    "limit manager method mode name namespace number only owner path pattern policy prefix prompt provider " +
    "reference region rotation scope serial server service size source space stdin store strategy suffix table " +
    "template timeout ttl type uri url usage user username uuid validity version").split(" "),
);

/** The first word of flags that take no secret, but say how one is asked for or shown. */
const HARMLESS_STARTS: ReadonlySet<string> = new Set([
  "ask",
  "no",
  "prompt",
  "public",
  "show",
  "skip",
  "without",
]);

/** The working directory has the name of a secret. */
const WORKING_DIRECTORIES: ReadonlySet<string> = new Set(["PWD", "OLDPWD"]);

/** Knows which identifiers name a secret: of flags, variables, headers, keys in JSON and in connection strings. */
export class SecretNames {
  /** `-api-key-`; words between dashes, so that a name is found at word boundaries only. */
  readonly #words: readonly string[];
  /** `apikey`, which is also found at the end of a word. */
  readonly #suffixes: readonly string[];
  readonly #known = new Map<string, boolean>();

  /** @param names words of letters and digits, joined by `-`, `_`, `.` or capitals */
  constructor(names: readonly string[] = SECRET_NAMES) {
    const split = names.map(wordsOf).filter((words) => words.length > 0);
    this.#words = split.map((words) => `-${words.join("-")}-`);
    this.#suffixes = split.map((words) => words.join("")).filter(({ length }) => length >= MIN_SUFFIX_LENGTH);
  }

  /** Whether the value of what is called so is a secret. Dashes before it are of no account. */
  has(identifier: string): boolean {
    if (identifier.length > MAX_IDENTIFIER_LENGTH || WORKING_DIRECTORIES.has(identifier)) return false;
    const known = this.#known.get(identifier);
    if (known !== undefined) return known;
    const isSecret = this.#namesSecret(wordsOf(identifier));
    // What clients send fills no memory.
    if (this.#known.size < 1024) this.#known.set(identifier, isSecret);
    return isSecret;
  }

  #namesSecret(words: readonly string[]): boolean {
    const [first = "", last = ""] = [words[0], words.at(-1)];
    if (HARMLESS_STARTS.has(first) || HARMLESS_ENDS.has(last)) return false;
    const joined = `-${words.join("-")}-`;
    return this.#words.some((name) => joined.includes(name)) ||
      words.some((word) => this.#suffixes.some((suffix) => word.endsWith(suffix)));
  }
}

/** `keyStorePasswords2` → `key store password 2`: plurals are read as singulars. */
function wordsOf(identifier: string): string[] {
  const words = identifier.match(/[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|\d+/g) ?? [];
  return words.map((word) => word.toLowerCase()).map((word) =>
    /[^s]s$/.test(word) ? word.slice(0, -1) : word
  );
}
