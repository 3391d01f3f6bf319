import assert from "node:assert/strict";
import { ConfigurationError } from "./fault.ts";
import { loadConfiguration, MAX_FILE_BYTES, parseConfiguration } from "./load.ts";

const HEAD = "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\n";

function faultsOf(text: string): string[] {
  try {
    parseConfiguration(text, "gateway.yaml");
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, String(error));
    return error.message.split("\n");
  }
  assert.fail("expected faults");
}

Deno.test("apiVersion and kind alone are a configuration with safe values", () => {
  const configuration = parseConfiguration(HEAD, "/etc/postern/gateway.yaml");
  assert.equal(configuration.server.port, 8443);
  assert.equal(configuration.server.limits.maxHeaderBytes, 1048576);
  assert.equal(configuration.upstream.kubelet.insecureSkipTLSVerify, false);
  const { argv, strangers, ...audit } = configuration.audit;
  assert.equal(argv.keepSecretsInClear, false);
  assert.equal(strangers.limit, "on");
  assert.deepEqual(audit, {
    sinks: [{ type: "stdout" }],
    requireAll: true,
    writeTimeoutSeconds: 5,
  });
  assert.equal(configuration.kubernetes.kubeconfig, undefined);
});

const faults: { name: string; yaml: string; want: string[] }[] = [
  {
    name: "a word for a number",
    yaml: 'server:\n  limits:\n    maxHeaderBytes: "big"\n',
    want: [
      'gateway.yaml:5:5: server.limits.maxHeaderBytes: expected a whole number from 1024 to 16777216, got "big"',
    ],
  },
  {
    name: "a number out of bounds, once",
    yaml: "server: {port: -1.5}\n",
    want: ["gateway.yaml:3:10: server.port: expected a whole number from 0 to 65535, got -1.5"],
  },
  {
    name: "what is no number at all",
    yaml: "server: {port: .nan, drainTimeoutSeconds: .inf}\n",
    want: [
      "gateway.yaml:3:10: server.port: expected a whole number from 0 to 65535, got NaN",
      "gateway.yaml:3:22: server.drainTimeoutSeconds: expected a whole number from 0 to 86400, got Infinity",
    ],
  },
  {
    name: "a slip of the finger in a key, with what was meant",
    yaml: "authorization:\n  cacheTTLSecond: 1\n",
    want: [
      "gateway.yaml:4:3: authorization.cacheTTLSecond: expected one of group, cacheTtlSeconds, got an unknown key; did you mean cacheTtlSeconds?",
    ],
  },
  {
    name: "an unknown key that could hide in JavaScript's objects",
    yaml: "log:\n  __proto__: {level: debug}\n",
    want: ["gateway.yaml:4:3: log.__proto__: expected one of level, format, got an unknown key"],
  },
  {
    name: "an empty section",
    yaml: "server:\n",
    want: ["gateway.yaml:3:1: server: expected a section with keys below it, got nothing"],
  },
  {
    name: "a string for a flag, as YAML 1.1 wrote it",
    yaml: "policy: {privileged: {strict: yes}}\n",
    want: ['gateway.yaml:3:23: policy.privileged.strict: expected true or false, got "yes"'],
  },
  {
    name: "an upstream that is still to come",
    yaml: "upstream: {mode: tunnel}\n",
    want: [
      'gateway.yaml:3:12: upstream.mode: expected one of "kubelet", "apiserver", got "tunnel"',
    ],
  },
  {
    name: "half a client certificate",
    yaml: "upstream: {kubelet: {clientCertificateFile: a.crt}}\n",
    want: [
      "gateway.yaml:3:12: upstream.kubelet.clientKeyFile: expected the path of the key that belongs to clientCertificateFile, got nothing",
    ],
  },
  {
    name: "verification that is both asked for and skipped",
    yaml: "upstream: {kubelet: {insecureSkipTLSVerify: true, caFile: ca.crt}}\n",
    want: [
      "gateway.yaml:3:22: upstream.kubelet.insecureSkipTLSVerify: expected false, as caFile is set, got true",
    ],
  },
  {
    name: "a context of no file",
    yaml: "kubernetes: {context: prod}\n",
    want: [
      "gateway.yaml:3:1: kubernetes.kubeconfig: expected the path of the file that holds the chosen context, got nothing",
    ],
  },
  {
    name: "ranges of addresses that are none",
    yaml: 'upstream: {kubelet: {allowedAddresses: ["10.0.0.0/33", "10.0.0.1", "fd00::/129", "::/0"]}}\n',
    want: ["10.0.0.0/33", "10.0.0.1", "fd00::/129"].map((range, index) =>
      `gateway.yaml:3:${
        [41, 56, 68][index]
      }: upstream.kubelet.allowedAddresses[${index}]: expected a range of addresses such as "10.0.0.0/16" or "fd00::/64", got "${range}"`
    ),
  },
  {
    name: "sinks of all the wrong kinds",
    yaml:
      "audit:\n  sinks:\n  - type: syslog\n  - type: file\n  - 3\n  - {type: stdout, path: x}\n  - {type: stdout}\n",
    want: [
      'gateway.yaml:5:5: audit.sinks[0].type: expected one of "stdout", "file", "webhook", "otlp", got "syslog"',
      "gateway.yaml:6:5: audit.sinks[1].path: expected the path of a file, got nothing",
      "gateway.yaml:7:5: audit.sinks[2]: expected a sink: a section with a type, got 3",
      "gateway.yaml:8:20: audit.sinks[3].path: expected one of type, got an unknown key",
    ],
  },
  {
    name: "no sink at all, which would be no audit",
    yaml: "audit: {sinks: []}\n",
    want: ["gateway.yaml:3:9: audit.sinks: expected at least one sink: no audit, no session, got []"],
  },
  {
    name: "one file written twice",
    yaml: "audit: {sinks: [{type: file, path: a}, {type: file, path: a}]}\n",
    want: ['gateway.yaml:3:53: audit.sinks[1].path: expected another sink than sinks[0], got "a"'],
  },
  {
    name: "a webhook without what it needs",
    yaml: "audit: {sinks: [{type: webhook, spool: {}}]}\n",
    want: [
      'gateway.yaml:3:17: audit.sinks[0].url: expected a URL such as "https://host/path", without user, password or fragment, got nothing',
      "gateway.yaml:3:33: audit.sinks[0].spool.directory: expected the path of a file, got nothing",
    ],
  },
  ...["ftp://host/", "host", "https://user@host/", "https://:secret@host/", "https://host/#x", "https:host"]
    .map((
      url,
    ) => ({
      name: `a URL that is none to post to: ${url}`,
      yaml: `audit: {sinks: [{type: otlp, required: true, url: "${url}"}]}\n`,
      want: [
        `gateway.yaml:3:46: audit.sinks[0].url: expected a URL such as "https://host/path", without user, password or fragment, got "${url}"`,
      ],
    })),
  {
    name: "a token that everybody on the way could read",
    yaml:
      "audit: {sinks: [{type: webhook, url: http://siem/, tokenFile: token, spool: {directory: spool}}]}\n",
    want: [
      'gateway.yaml:3:33: audit.sinks[0].url: expected https, as a secret is sent there that everybody on the way could read, got "http://siem/"',
    ],
  },
  {
    name: "two webhooks that would share their spool",
    yaml:
      "audit: {sinks: [{type: webhook, url: https://a/, spool: {directory: s}}, {type: webhook, url: https://b/, spool: {directory: s}}]}\n",
    want: [
      'gateway.yaml:3:115: audit.sinks[1].spool.directory: expected another sink than sinks[0], got "s"',
    ],
  },
  {
    name: "a collector that no session waits for, alone",
    yaml: "audit: {sinks: [{type: otlp, url: https://otel/v1/logs}]}\n",
    want: [
      'gateway.yaml:3:9: audit.sinks: expected at least one sink that sessions wait for: no audit, no session, got [{"type":"otlp","url":"https://otel/v1/logs"}]',
    ],
  },
  {
    name: "a key given twice",
    yaml: "log: {level: info, level: debug}\n",
    want: ["gateway.yaml:3:20: log.level: expected each key once, got it again after the one in line 3"],
  },
  {
    name: "a path that would end early in a system call",
    yaml: 'server: {tls: {certFile: "a\\0b"}}\n',
    want: ['gateway.yaml:3:16: server.tls.certFile: expected the path of a file, got "a\\u0000b"'],
  },
  {
    name: "a name of two lines",
    yaml: 'authentication: {audiences: ["a\\nb"]}\n',
    want: ['gateway.yaml:3:30: authentication.audiences[0]: expected the name of an audience, got "a\\nb"'],
  },
  {
    name: "an alias, which could grow beyond the text",
    yaml: "server: &a {}\nlog: *a\n",
    want: ["gateway.yaml:4:6: log: expected a value of its own, got an alias: write the value out"],
  },
  {
    name: "a second document, which would be overlooked",
    yaml: "---\nlog: {level: debug}\n",
    want: [
      "gateway.yaml:3:1: not valid YAML: Source contains multiple documents; please use YAML.parseAllDocuments()",
    ],
  },
  {
    name: "a key that would write to the operator's terminal",
    yaml: '"\\e[2J\\u202e": 1\n',
    want: [
      'gateway.yaml:3:1: ["\\u001b[2J\\u{202e}"]: expected one of apiVersion, kind, server, kubernetes, authentication, authorization, policy, upstream, sessions, audit, recording, index, admin, log, got an unknown key',
    ],
  },
];

for (const { name, yaml, want } of faults) {
  Deno.test(`parseConfiguration names ${name}`, () => assert.deepEqual(faultsOf(HEAD + yaml), want));
}

Deno.test("parseConfiguration names all faults at once, in the order of the file", () => {
  const lines = faultsOf("kind: Gateway\nlog: {level: loud}\nserver: {port: x, colour: red}\n");
  assert.deepEqual(lines.map((line) => line.split(": ")[1]), [
    "apiVersion",
    "kind",
    "log.level",
    "server.port",
    "server.colour",
  ]);
});

const hostile = {
  "brackets that never close": "[".repeat(MAX_FILE_BYTES),
  "nested keys": "? ".repeat(MAX_FILE_BYTES / 2),
  "more levels than are followed": `a: ${"[".repeat(40)}${"]".repeat(40)}`,
  "a thousand duplicates": "a: 1\n".repeat(1000),
  "an empty file": "",
  "a list": "- 1",
  "keys that are values": "? [a, b]\n: 1\n",
  "an unknown tag": "server: !!js/function x\n",
};
for (const [name, yaml] of Object.entries(hostile)) {
  Deno.test(`parseConfiguration refuses ${name}, in bounded time and words`, () => {
    const lines = faultsOf(yaml);
    assert.ok(lines.length <= 51, `${lines.length} lines`);
  });
}

Deno.test("loadConfiguration resolves relative paths against the file's folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/gateway.yaml`;
    await Deno.writeTextFile(
      file,
      `${HEAD}
server: {tls: {certFile: tls.crt, keyFile: ../keys/tls.key}}
kubernetes: {kubeconfig: kubeconfig}
upstream: {kubelet: {caFile: ca.crt, tokenFile: /run/token, clientCertificateFile: c.crt, clientKeyFile: c.key}}
audit:
  sinks:
  - {type: file, path: audit.log}
  - {type: webhook, url: "https://siem/", caFile: siem.crt, tokenFile: siem.token, spool: {directory: spool}}
  - {type: otlp, url: "https://otel/", clientCertificateFile: otel.crt, clientKeyFile: otel.key, headersFile: headers}
recording: {signingKeyFile: signing.key, sink: {type: folder, path: recordings}}
index: {sqlite: {path: index.sqlite}, postgresql: {urlFile: url, caFile: postgresql.crt}}
`,
    );
    const configuration = await loadConfiguration(file);
    const paths: string[] = [];
    JSON.stringify(configuration, (key, value) => {
      if (typeof value === "string" && /(File|path|kubeconfig|directory)$/.test(key)) paths.push(value);
      return value;
    });
    const up = folder.slice(0, folder.lastIndexOf("/"));
    assert.deepEqual(paths, [
      `${folder}/tls.crt`,
      `${up}/keys/tls.key`,
      `${folder}/kubeconfig`,
      `${folder}/ca.crt`,
      "/run/token",
      `${folder}/c.crt`,
      `${folder}/c.key`,
      `${folder}/audit.log`,
      ...["siem.token", "siem.crt", "spool", "headers", "otel.crt", "otel.key"].map((name) =>
        `${folder}/${name}`
      ),
      `${folder}/signing.key`,
      `${folder}/recordings`,
      `${folder}/index.sqlite`,
      `${folder}/url`,
      `${folder}/postgresql.crt`,
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("loadConfiguration refuses a file that is missing, too large, or no text", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/large.yaml`, new Uint8Array(MAX_FILE_BYTES + 1).fill(35));
    await Deno.writeFile(`${folder}/binary.yaml`, new Uint8Array([0x6b, 0xff, 0xfe]));
    const expectations = {
      "missing.yaml": /expected a file that can be read, got: No such file/,
      "large.yaml": /expected at most 131072 bytes, got more/,
      "binary.yaml": /expected text in UTF-8/,
    };
    for (const [name, message] of Object.entries(expectations)) {
      await assert.rejects(loadConfiguration(`${folder}/${name}`), { name: "ConfigurationError", message });
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
