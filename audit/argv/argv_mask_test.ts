import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { cpuUsage } from "node:process";
import fc from "fast-check";
import { ArgvMask, KEEP_SECRETS_IN_CLEAR } from "./argv_mask.ts";

const KEY = new TextEncoder().encode("a key for tests, of 32 bytes ...");
const mask = new ArgvMask({ key: KEY });

/** What stands for a secret. */
function masked(secret: string): string {
  return `(masked:${createHmac("sha256", KEY).update(secret).digest("hex").slice(0, 16)})`;
}

/** What stands where the table has `⟨secret⟩`, before and after. */
function inClear(text: string): string {
  return text.replaceAll(/⟨([^⟩]*)⟩/g, "$1");
}
function expected(text: string): string {
  return text.replaceAll(/⟨([^⟩]*)⟩/g, (_, secret) => masked(secret));
}

/** Command lines as people type them; what is between ⟨ and ⟩ is secret, and nothing else is. */
const commands: readonly string[][] = [
  // Nothing secret: every byte stays.
  ["ls", "-l", "--color=auto", "/etc"],
  ["sh", "-c", "id; cat /etc/passwd | grep root"],
  ["kubectl", "get", "secret", "database", "-o", "yaml"],
  ["ssh-keygen", "--key-type", "rsa", "--key-length=4096"],
  ["monkey", "--monkey=see", "--keyboard", "us", "--bypass", "x", "--compass=n"],
  ["docker", "login", "--username", "u", "--password-stdin"],
  ["psql", "-p", "5432", "-U", "u", "-c", "select 1"],
  ["docker", "run", "-p", "80:80", "nginx"],
  ["mysql", "--password", "--user", "root"],
  ["mysql", "-p", "-u", "root"],
  ["java", "-Djavax.net.ssl.keyStoreType=PKCS12", "-jar", "app.jar"],
  ["env", "AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "PWD=/srv", "TOKEN_TTL=3600"],
  ["sh", "-c", 'mysql -u root -p"$MYSQL_ROOT_PASSWORD" -e "select 1"'],
  ["sh", "-c", 'curl -H "Authorization: Bearer $TOKEN" https://example.com'],
  ["git", "clone", "ssh://git@example.com:22/a.git"],
  ["curl", "https://example.com:8443/a@v1?page=2"],
  ["tar", "xmf", "-", "-C", "/srv"],
  ["ansible", "--ask-pass", "--private-key-file", "/k", "all"],
  ["sh", "-c", "docker login --password=$(vault read -field=p secret/x)"],

  // Flags and variables that say it in their names.
  ["mysqldump", "--user=root", "--password=⟨hunter2⟩", "shop"],
  ["psql", "--password", "⟨hunter2⟩"],
  ["tool", "--password=⟨a b;c=d,e⟩"],
  ["tool", "--api-key", "⟨hunter2⟩", "--apikey=⟨hunter2⟩", "--API_KEY=⟨hunter2⟩", "--apiKey", "⟨hunter2⟩"],
  ["tool", "-token", "⟨hunter2⟩", "--private-key=⟨hunter2⟩", "--secret", "⟨-hunter2-⟩", "--user", "u"],
  ["env", "PGPASSWORD=⟨hunter2⟩", "MYSQL_PWD=⟨two words⟩", "REDISCLI_AUTH=⟨hunter2⟩", "psql"],
  ["env", "SECRET_KEY_BASE=⟨hunter2⟩", "DB_PASSWORD_PROD=⟨hunter2⟩", "AWS_SECRET_ACCESS_KEY=⟨hunter2⟩", "x"],
  [
    "java",
    "-Dspring.datasource.password=⟨hunter2⟩",
    "-Djavax.net.ssl.keyStorePassword=⟨hunter2⟩",
    "-jar",
    "a",
  ],
  ["keytool", "-list", "-keystore", "k.p12", "-storepass", "⟨changeit⟩", "-keypass", "⟨changeit⟩"],
  ["helm", "upgrade", "db", "chart", "--set", "replicas=2,auth.password=⟨hunter2⟩,auth.user=u"],
  ["openssl", "rsa", "-in", "k.pem", "-passin", "pass:⟨hunter2⟩"],
  ["mount", "-o", "username=u,ro,password=⟨hunter2⟩", "//host/share", "/mnt"],
  ["vault", "kv", "put", "secret/db", "username=u", "password=⟨hunter2⟩"],

  // What only the program knows.
  ["mysql", "-uroot", "-p⟨hunter2⟩", "shop"],
  ["/usr/bin/mysql", "-p⟨hunter2⟩"],
  ["mysqladmin", "-u", "root", "password", "⟨hunter2⟩"],
  ["mongosh", "-u", "root", "-p", "⟨hunter2⟩"],
  ["redis-cli", "-h", "h", "-a", "⟨hunter2⟩", "ping"],
  ["redis-cli", "AUTH", "⟨hunter2⟩"],
  ["redis-cli", "CONFIG", "SET", "requirepass", "⟨hunter2⟩"],
  ["docker", "login", "-u", "u", "-p", "⟨hunter2⟩", "registry.example.com"],
  ["sshpass", "-p", "⟨hunter2⟩", "ssh", "-p", "22", "u@h"],
  ["sshpass", "-p⟨hunter2⟩", "ssh", "u@h"],
  ["curl", "-su", "alice:⟨hunter2⟩", "https://example.com"],
  [
    "curl",
    "--user",
    "alice:⟨hunter2⟩",
    "--proxy-user=bob:⟨hunter3⟩",
    "-ucarol:⟨hunter4⟩",
    "https://example.com",
  ],
  ["ldapsearch", "-D", "cn=admin", "-w", "⟨hunter2⟩"],
  ["sqlcmd", "-U", "sa", "-P", "⟨hunter2⟩"],
  ["sqlplus", "scott/⟨tiger⟩"],
  ["htpasswd", "-nb", "alice", "⟨hunter2⟩"],
  ["vault", "login", "⟨hunter2⟩"],
  ["aws", "configure", "set", "aws_secret_access_key", "⟨hunter2⟩"],
  ["rabbitmqctl", "change_password", "alice", "⟨hunter2⟩"],
  ["mc", "alias", "set", "here", "https://s3.example.com", "⟨access⟩", "⟨hunter2⟩"],
  [
    "kubectl",
    "create",
    "secret",
    "generic",
    "db",
    "--from-literal=user=⟨alice⟩",
    "--from-literal",
    "p=⟨hunter2⟩",
  ],
  ["kubectl", "create", "configmap", "db", "--from-literal=user=alice", "--from-literal=password=⟨hunter2⟩"],
  ["kubectl", "exec", "db-0", "--", "mysql", "-p⟨hunter2⟩"],

  // Headers, URLs, connection strings.
  ["curl", "-H", "Authorization: Bearer ⟨hunter2.hunter2⟩", "https://example.com"],
  ["curl", "-H", "X-Api-Key: ⟨hunter2⟩", "--header=X-Vault-Token: ⟨hunter3⟩", "https://example.com"],
  ["curl", "-HAuthorization: Basic ⟨aHVudGVyMg==⟩", "https://example.com"],
  ["curl", "-d", '{"user": "u", "password": "⟨hun\\"ter2⟩", "x": 1}', "https://example.com"],
  ["curl", "-d", "user=u&password=⟨hunter2⟩&x=1", "https://example.com/?api_key=⟨hunter3⟩&page=2"],
  ["git", "clone", "https://⟨user:tok⟩@example.com/a.git"],
  ["git", "clone", "https://⟨ghp_0123456789⟩@example.com/a.git"],
  ["git", "-c", "http.extraHeader=Authorization: Bearer ⟨hunter2⟩", "fetch"],
  ["psql", "postgres://u:⟨hunter2⟩@h:5432/shop"],
  ["psql", "postgres://u:⟨hun/ter@2⟩@h:5432/shop"],
  ["psql", "host=h user=u password=⟨hunter2⟩ dbname=shop"],
  ["redis-cli", "-u", "redis://:⟨hunter2⟩@h:6379/0"],
  ["app", "Server=h;Database=d;User Id=u;Password=⟨hunter2⟩;Encrypt=true"],
  ["app", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=⟨aHVu+/==⟩;EndpointSuffix=s"],
  ["app", "--connection-string", "⟨Server=h;Password=x⟩"],
  ["app", "u:⟨hunter2⟩@tcp(h:3306)/shop"],
  ["app", "⟨eyJhbGciOiJub25l.eyJzdWIiOiJhbGljZSJ9.c2ln⟩"],

  // In scripts.
  ["sh", "-c", "PGPASSWORD=⟨hunter2⟩ psql -U u -c 'select 1'; rm -rf /tmp/x"],
  ["sh", "-c", "PGPASSWORD='⟨hunter2⟩'; export PGPASSWORD"],
  ["bash", "-lc", "mysql -u root -p'⟨hun ter2⟩' < dump.sql"],
  ["bash", "-c", 'export TOKEN=⟨hunter2⟩;curl -H "Authorization: Bearer $TOKEN" https://example.com'],
  ["sh", "-c", "bash -c \"mysql -p⟨hunter2⟩ -e 'select 1'\""],
  ["ssh", "h", "sudo mysql -p⟨hunter2⟩ | gzip > /tmp/dump.gz"],
  ["sh", "-c", "echo ⟨root:hunter2⟩ | chpasswd"],
  ["sh", "-c", "echo -n ⟨hunter2⟩ | docker login -u u --password-stdin"],
  ["sh", "-c", "PW=⟨hunter2⟩; printf $PW | sudo -S id"],
  ["sh", "-c", "passwd --stdin root <<< ⟨hunter2⟩"],
  ["bash", "-c", "cat <<EOF > /etc/x\npassword: ⟨hun ter2⟩\nuser: u\nEOF"],
  ["sed", "-i", "s/^password:.*/password: ⟨hunter2/⟩", "/etc/app.conf"],
  ["python", "-c", "import os; os.environ['API_TOKEN']='⟨hunter2⟩'"],
  ["sh", "-c", "x=$(redis-cli -a ⟨hunter2⟩ get x)"],
  ["psql", "-c", "ALTER ROLE u WITH PASSWORD '⟨hunter2⟩'"],
  ["mysql", "-e", "CREATE USER 'a'@'%' IDENTIFIED BY '⟨hunter2⟩'; GRANT ALL ON x.* TO 'a'@'%'"],
  ["python", "-c", "import db; db.connect(user='u', password = '⟨hunter2⟩', port=5432)"],
];
for (const command of commands) {
  Deno.test(`ArgvMask, ${command.map((word) => word.slice(0, 60)).join(" ")}`, () => {
    assert.deepEqual(mask.argv(command.map(inClear)), command.map(expected));
  });
}

/** As clients write a command into a URI: Go's form encoding, JavaScript's, and a bare one. */
const encodings: { name: string; encode(word: string): string }[] = [
  { name: "form", encode: (word) => new URLSearchParams({ x: word }).toString().slice(2) },
  { name: "component", encode: (word) => encodeURIComponent(word) },
  {
    name: "every byte",
    encode: (word) =>
      [...new TextEncoder().encode(word)].map((b) => `%${b.toString(16).padStart(2, "0")}`).join(""),
  },
];
for (const { name, encode } of encodings) {
  Deno.test(`ArgvMask.uri masks what argv does and leaves the rest as it was sent (${name})`, () => {
    for (const command of commands) {
      const uri = (piece: (word: string) => string) =>
        `/api/v1/namespaces/a/pods/b/exec?${
          command.map((word) => `command=${piece(word)}`).join("&")
        }&stdout=true&x=%7e`;
      const want = uri((word) =>
        word.split(/(⟨[^⟩]*⟩)/).map((part) => part.startsWith("⟨") ? expected(part) : encode(part)).join("")
      );
      assert.equal(mask.uri(uri((word) => encode(inClear(word)))), want);
    }
  });
}

Deno.test("ArgvMask.uri finds the value in the next parameter, with others between", () => {
  assert.equal(
    mask.uri("/x?command=tool&stdin=true&%63ommand=--password&command=p%C3%A4%20ss&command"),
    `/x?command=tool&stdin=true&%63ommand=--password&command=${masked("pä ss")}&command`,
  );
});

Deno.test("ArgvMask.uri masks in the one parameter of a kubelet's run, which is cut at spaces", () => {
  assert.equal(
    mask.uri("/run/a/b/c?cmd=mysql%20-phunter2+--password%20hun%20ter2"),
    `/run/a/b/c?cmd=mysql%20-p${masked("hunter2")}+--password%20${masked("hun")}%20ter2`,
  );
});

Deno.test("ArgvMask.message masks what an error quotes of the command", () => {
  const argv = ["mysql", "-phunter2", "--token=hunter22", "--pin-token=12"];
  assert.equal(
    mask.message('exec: "mysql -phunter2 --token=hunter22": not found, 12', argv),
    `exec: "mysql -p${masked("hunter2")} --token=${masked("hunter22")}": not found, 12`,
  );
});

Deno.test("ArgvMask shows that two secrets are one, and nothing of it under another key", () => {
  const [first, , second] = mask.argv(["--password=hunter2", "x", "PGPASSWORD=hunter2"]);
  assert.equal(first?.split("=")[1], second?.split("=")[1]);
  assert.notDeepEqual(new ArgvMask().argv(["--token=hunter2"]), new ArgvMask().argv(["--token=hunter2"]));
});

Deno.test("ArgvMask takes the names that it is given, and no others", () => {
  const own = new ArgvMask({ key: KEY, names: ["pin-code"] });
  assert.deepEqual(own.argv(["--pinCode=1234", "PIN_CODE=1234", "--password=x", "--pin=1"]), [
    `--pinCode=${masked("1234")}`,
    `PIN_CODE=${masked("1234")}`,
    "--password=x",
    "--pin=1",
  ]);
});

Deno.test("ArgvMask looks into the first 65,536 characters, and shows none of the others", () => {
  const [, long = "", behind] = mask.argv(["sh", "x".repeat(70_000), "y"]);
  assert.equal(long, "x".repeat(65534) + masked("x".repeat(70_000 - 65534)));
  assert.equal(behind, masked("y"));
  assert.equal(
    mask.uri(`/x?command=${"x".repeat(70_000)}`),
    `/x?command=${"x".repeat(65536)}${masked("x".repeat(70_000 - 65536))}`,
  );
});

Deno.test("KEEP_SECRETS_IN_CLEAR does what it is called", () => {
  assert.deepEqual(KEEP_SECRETS_IN_CLEAR.argv(["--password=x"]), ["--password=x"]);
  assert.equal(KEEP_SECRETS_IN_CLEAR.uri("/x?command=--password%3Dx"), "/x?command=--password%3Dx");
});

const SECRET = "S3cr/et+Value=0123";
const forms: ((secret: string) => string[])[] = [
  (secret) => [`--password=${secret}`],
  (secret) => ["--db-password", secret],
  (secret) => [`DB_PASSWORD=${secret}`],
  (secret) => ["mysql", `-p${secret}`],
  (secret) => ["curl", "-u", `u:${secret}`],
  (secret) => ["sh", "-c", `DB_PASSWORD='${secret}' app --token "${secret}" -- x`],
  (secret) => ["sh", "-c", `sh -c "app --token '${secret}'"`],
  (
    secret,
  ) => [
    JSON.stringify({ password: secret }),
    JSON.stringify({ a: [{ clientSecret: secret }] }, undefined, 1),
  ],
  (secret) => ["-H", `Authorization: Bearer ${secret}`],
  (secret) => [`postgres://u:${secret}@h/d`],
];
Deno.test("ArgvMask: whatever stands around it, no byte of a secret is read", () => {
  const word = fc.string({ unit: fc.constantFrom(..."ab -=:;&'\"\\$(){}|/@%ä\n") });
  fc.assert(
    fc.property(fc.array(word), fc.constantFrom(...forms), fc.array(word), (before, form, after) => {
      // What stands before must not quote what follows, nor announce a secret: the form is a word of its own.
      const argv = [...before, "--", ...form(SECRET), ...after];
      const uri = `/x?${argv.map((each) => `command=${encodeURIComponent(each)}`).join("&")}`;
      const seen = JSON.stringify(mask.argv(argv)) + decodeURIComponent(mask.uri(uri));
      assert.ok(!seen.includes(SECRET), seen);
    }),
    { numRuns: 300 },
  );
});

Deno.test("ArgvMask: the URI tells the same command as argv", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme" }).map((text) => text.toWellFormed())), (argv) => {
      const query = argv.map((each) => `command=${encodeURIComponent(each)}`).join("&");
      const seen = new URLSearchParams(mask.uri(`/x?${query}`).slice(3)).getAll("command");
      assert.deepEqual(seen, mask.argv(argv));
    }),
  );
});

const hostile: { name: string; word: string }[] = [
  { name: "names", word: "a".repeat(100_000) },
  { name: "pairs", word: "a=b,".repeat(25_000) },
  { name: "secret pairs", word: "key=b,".repeat(16_000) },
  { name: "colons", word: "=a:".repeat(33_000) },
  { name: "quotes", word: "'\"".repeat(50_000) },
  { name: "blanks", word: `password${" ".repeat(100_000)}` },
  { name: "delimiters", word: `password=${"; ".repeat(50_000)}` },
  { name: "schemes", word: "a://a:".repeat(16_000) },
  { name: "substitutions", word: "$(".repeat(50_000) },
  { name: "keys", word: "-----BEGIN PRIVATE KEY-----".repeat(4_000) },
  { name: "identified", word: "identified with ".repeat(6_000) },
  { name: "tokens", word: "eyJ".repeat(33_000) },
];
for (const { name, word } of hostile) {
  Deno.test(`ArgvMask is quick with 100 KB of ${name}: nobody stalls the gateway with a command`, () => {
    // CPU time: what else the machine does is no fault of the mask.
    const before = cpuUsage();
    mask.argv(["sh", "-c", word]);
    mask.argv([word]);
    mask.uri(`/x?command=${word}`);
    const { user, system } = cpuUsage(before);
    assert.ok(user + system < 2_000_000, `${(user + system) / 1000} ms`);
  });
}
