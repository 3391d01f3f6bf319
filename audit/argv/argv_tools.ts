/**
 * What only one program means by its arguments: `-p` is a password to mysql, a port to psql and a published port to
 * docker, so short flags and places are looked at only where it is known whose they are. Names that speak for
 * themselves, as `--password`, are not listed.
 */
export interface Tool {
  /** Letters of short flags whose value is a secret, in the same word or in the next. */
  secrets?: string;
  /** The same, but only in the same word: `-psecret`. */
  attached?: string;
  /** Flags whose value is a name and a secret with `separator` between. */
  credentials?: readonly string[];
  /** `:` where nothing is said. */
  separator?: string;
  /** All this holds only where this word came before. */
  after?: string;
  /** Words whose next word is a secret. */
  heralds?: readonly string[];
  /** Which of the words behind the program's name are secrets, by index; where there is a separator, from there on. */
  places?: (words: readonly string[]) => readonly number[];
}

const LOGIN: Tool = { after: "login", secrets: "p" };
const CREDENTIALS: Tool = { credentials: ["--creds", "--src-creds", "--dest-creds"] };
/** Every literal of a Secret is one, whatever its key. */
const SECRET_LITERAL: Tool = { after: "secret", credentials: ["--from-literal"], separator: "=" };

/** Programs, by the last part of their path, and what they take. */
const KNOWN: readonly [programs: string, ...tools: Tool[]][] = [
  ["mysql mysqldump mysqlimport mysqlcheck mysqlshow mysqlslap mysqlpump mysqlbinlog", { attached: "p" }],
  ["mariadb mariadb-dump mariadb-import mariadb-check mariadb-show mariadb-binlog", { attached: "p" }],
  ["mysqladmin mariadb-admin", { attached: "p", heralds: ["password"] }],
  ["mongo mongosh mongodump mongorestore mongoimport mongoexport mongostat mongotop cqlsh", { secrets: "p" }],
  ["redis-cli valkey-cli keydb-cli", { secrets: "a", places: afterAuth }],
  ["docker podman nerdctl buildah skopeo helm oras crane", LOGIN, CREDENTIALS],
  ["cf az", LOGIN],
  ["kubectl", SECRET_LITERAL],
  ["oc", LOGIN, SECRET_LITERAL],
  ["sshpass useradd usermod", { secrets: "p" }],
  ["curl", { credentials: ["-u", "-U", "-E", "--user", "--proxy-user", "--cert"], secrets: "b" }],
  ["http https xh", { credentials: ["-a", "--auth"] }],
  ["etcdctl", { credentials: ["--user"] }],
  ["smbclient rpcclient", { credentials: ["-U", "--user"], separator: "%" }],
  ["ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldapcompare ldapmodrdn", { secrets: "w" }],
  ["ldappasswd", { secrets: "wsa" }],
  ["sqlcmd osql bcp tsql", { secrets: "P" }],
  ["sqlplus rman expdp impdp", { places: oracleLogons, separator: "/" }],
  ["zip unzip ipmitool", { secrets: "P" }],
  ["7z 7za 7zr 7zz rar unrar", { attached: "p" }],
  ["openssl", { secrets: "kK" }],
  ["ssh-keygen", { secrets: "NP" }],
  ["snmpget snmpwalk snmpset snmpbulkwalk", { secrets: "AXc" }],
  ["influx", { secrets: "t" }],
  ["htpasswd", { places: lastOfBatch }],
  ["vault bao", { heralds: ["login", "unwrap", "unseal", "lookup", "revoke", "renew"] }],
  ["rabbitmqctl", { places: afterUser }],
  ["mc", { places: aliasKeys }],
  // Whose flags are none of those of the program before them.
  ["ssh scp sftp rsync psql pg_dump pg_restore", {}],
];

/** What the programs take whose last part of the path is the key. */
export const TOOLS: ReadonlyMap<string, readonly Tool[]> = new Map(
  KNOWN.flatMap(([programs, ...tools]) => programs.split(" ").map((program) => [program, tools] as const)),
);

/** USER/SECRET and USER/SECRET@DATABASE. */
function oracleLogons(words: readonly string[]): number[] {
  const at = words.findIndex((word) => /^[^\s/@=-][^\s/@=]*\/[^\s/]/.test(word));
  return at === -1 ? [] : [at];
}

/** AUTH secret, AUTH user secret, HELLO 3 AUTH user secret. */
function afterAuth(words: readonly string[]): number[] {
  const auth = words.findIndex((word) => word.toLowerCase() === "auth");
  return auth === -1 ? [] : words.map((_, at) => at).slice(auth + 1, auth + 3);
}

/** With -b the password is the last word. */
function lastOfBatch(words: readonly string[]): number[] {
  return words.some((word) => /^-[a-zA-Z]*b/.test(word)) ? [words.length - 1] : [];
}

/** add_user, change_password and authenticate_user: a name, then the secret. */
function afterUser(words: readonly string[]): number[] {
  const verb = words.findIndex((word) => /^(add_user|change_password|authenticate_user)$/.test(word));
  return verb === -1 || words.length < verb + 3 ? [] : [verb + 2];
}

/** alias set NAME URL KEY SECRET, and config host add as it once was. */
function aliasKeys(words: readonly string[]): number[] {
  const verb = words.findIndex((word, at) =>
    /^(set|s|add)$/.test(word) && /^(alias|host)$/.test(words[at - 1] ?? "")
  );
  return verb === -1 ? [] : words.map((_, at) => at).slice(verb + 3, verb + 5);
}

/** Whether what a command reads is a secret, so that whoever echoes something into it says one. */
export function readsSecret(words: readonly string[]): boolean {
  return words.some((word) =>
    /^(.*\/)?(chpasswd|kinit|cryptsetup|smbpasswd|pdbedit)$/.test(word) ||
    /^--?(pass\w*|token|secret)-(stdin|fd)\b/.test(word)
  ) || has(words, "passwd", "--stdin") || has(words, "sudo", "-S") || has(words, "su", "-c");
}

function has(words: readonly string[], program: string, flag: string): boolean {
  return words.some((word) => word === program || word.endsWith(`/${program}`)) && words.includes(flag);
}
