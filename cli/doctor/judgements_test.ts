/** What each check says of what it was told, one fault at a time. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { issue, makeCa } from "../../tests/support/certificates.ts";
import { parseConfiguration } from "../../config/load.ts";
import { ApiError } from "../../kube/client.ts";
import { judgeApiServer, judgeVersion } from "./api_server.ts";
import { gatherRbac, judgeAround } from "./around.ts";
import { boundRules, type RbacObjects } from "./bypass.ts";
import { causeOf, isDistrust } from "./cause.ts";
import { judgeClock } from "./clock.ts";
import { judgeValidity, readCertificates } from "./expiry.ts";
import {
  certificatesOf,
  checkHeldCertificates,
  judgeCertificates,
  judgeMode,
  secretFilesOf,
} from "./files.ts";
import type { Judgement } from "./finding.ts";
import { judgeKubelet, type KubeletFacts } from "./kubelets.ts";
import { judgeExcess, judgeNeeds, type Need, needsOf, rulesFor, serviceAccount } from "./rbac.ts";
import { judgeSink, refusalOf } from "./sinks.ts";
import { gatherTokenReview, judgeTokenReview, readClaims, type TokenReviewFacts } from "./token_review.ts";

const NOW = new Date("2026-11-21T12:00:00Z");
const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(NOW.getTime() + days * DAY_MS);

function configuration(sections: string) {
  return parseConfiguration(
    `apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\n${sections}\n`,
    "/etc/postern/gateway.yaml",
  );
}

/** What is wrong says how to mend it. */
function expect(got: Judgement | undefined, status: Judgement["status"], says: RegExp): void {
  assert.equal(got?.status, status, got?.message);
  assert.match(got.message, says);
  if (status === "wrong") assert.ok(got.remedy, "it says how to mend it");
}

const validities = [
  { name: "a year ahead", from: -30, to: 335, status: "ok", says: /is valid until 2027/ },
  { name: "within a month", from: -60, to: 20, status: "note", says: /expires at/ },
  { name: "within a week", from: -300, to: 5, status: "wrong", says: /expires soon/ },
  { name: "past", from: -300, to: -1, status: "wrong", says: /expired at/ },
  { name: "in the future altogether", from: 1, to: 90, status: "wrong", says: /is not valid before/ },
  { name: "a day ahead, of a certificate for a day", from: -0.1, to: 0.9, status: "ok", says: /valid until/ },
  { name: "an hour ahead, of a certificate for a day", from: -0.96, to: 0.04, status: "wrong", says: /soon/ },
] as const;
for (const { name, from, to, status, says } of validities) {
  Deno.test(`judgeValidity of an end that is ${name}: ${status}`, () => {
    const times = { notBefore: inDays(from), notAfter: inDays(to) };
    expect(judgeValidity({ what: "it", remedy: "renew it", ...times }, NOW), status, says);
  });
}

const clocks = [
  { name: "the same", theirs: "Sat, 21 Nov 2026 12:00:00 GMT", status: "ok", says: /agree/ },
  {
    name: "off by less than tokens mind",
    theirs: "Sat, 21 Nov 2026 12:00:04 GMT",
    status: "ok",
    says: /agree/,
  },
  {
    name: "behind by a minute",
    theirs: "Sat, 21 Nov 2026 12:01:00 GMT",
    status: "wrong",
    says: /clock is 60 s behind/,
  },
  {
    name: "ahead by an hour",
    theirs: "Sat, 21 Nov 2026 11:00:00 GMT",
    status: "wrong",
    says: /clock is 3599 s ahead/,
  },
  { name: "compared with nothing", theirs: null, status: "unknown", says: /do not say/ },
  { name: "compared with no date", theirs: "yesterday", status: "unknown", says: /do not say/ },
] as const;
for (const { name, theirs, status, says } of clocks) {
  Deno.test(`judgeClock of a clock that is ${name}: ${status}`, () => {
    const sentAtMs = NOW.getTime();
    expect(judgeClock({ sentAtMs, receivedAtMs: sentAtMs + 80, date: theirs }), status, says);
  });
}

Deno.test("a slow answer is no skew", () => {
  const sentAtMs = NOW.getTime();
  const date = new Date(sentAtMs + 9_000).toUTCString();
  expect(judgeClock({ sentAtMs, receivedAtMs: sentAtMs + 9_500, date }), "ok", /agree/);
});

const server = "https://10.0.0.1:6443";
const apiServers = [
  { facts: { server, version: "v1.34.4" }, status: "ok", says: /reached and trusted/ },
  {
    facts: { server, failure: "invalid peer certificate: UnknownIssuer" },
    status: "wrong",
    says: /is not trusted/,
  },
  {
    facts: { server, failure: "tcp connect error: Connection refused" },
    status: "wrong",
    says: /cannot be reached/,
  },
  {
    facts: { server, failure: "Unauthorized", code: 401 },
    status: "wrong",
    says: /does not know the gateway/,
  },
  { facts: { server, failure: "no", code: 403 }, status: "wrong", says: /refuses the gateway/ },
] as const;
for (const { facts, status, says } of apiServers) {
  Deno.test(`judgeApiServer of ${JSON.stringify(facts)}: ${status}`, () => {
    expect(judgeApiServer(facts), status, says);
  });
}

Deno.test("judgeVersion wants the Deno that was tested", () => {
  const facts = { postern: "0.1.0", deno: "2.9.5", denoExpected: "2.9.5", kubernetes: "v1.34.4" };
  assert.deepEqual(judgeVersion(facts).map(({ status }) => status), ["ok", "ok"]);
  expect(judgeVersion({ ...facts, deno: "2.8.0" })[0], "wrong", /Deno 2\.8\.0, and was made for 2\.9\.5/);
  expect(judgeVersion({ ...facts, kubernetes: "v1.19.16" })[1], "note", /older than what is tested/);
  assert.equal(judgeVersion({ ...facts, kubernetes: undefined }).length, 1);
});

const yes = { authenticated: true, username: "alice", audiences: ["https://kubernetes"] };
const reviews: { name: string; facts: TokenReviewFacts; status: Judgement["status"]; says: RegExp }[] = [
  {
    name: "the gateway's own token, accepted",
    facts: { whose: "own", audiences: [], status: yes },
    status: "ok",
    says: /that of alice, for the API server's own audiences/,
  },
  {
    name: "a token for the audience that is configured",
    facts: { whose: "named", audiences: ["postern"], status: { ...yes, audiences: ["postern"] } },
    status: "ok",
    says: /for audience postern/,
  },
  {
    name: "a yes from who knows no audiences",
    facts: { whose: "named", audiences: ["postern"], status: { authenticated: true, username: "alice" } },
    status: "wrong",
    says: /not for audience postern: who accepted it knows no audiences/,
  },
  {
    name: "a user's token for another audience",
    facts: {
      whose: "named",
      audiences: ["postern"],
      status: { authenticated: false },
      claims: { audiences: ["https://kubernetes"] },
    },
    status: "wrong",
    says: /is for audience https:\/\/kubernetes, and the gateway asks for audience postern/,
  },
  {
    name: "the gateway's own token, which need not be for users' audiences",
    facts: {
      whose: "own",
      audiences: ["postern"],
      status: { authenticated: false },
      claims: { audiences: ["https://kubernetes"] },
    },
    status: "note",
    says: /the gateway's own token is for audience/,
  },
  {
    name: "a token that has expired",
    facts: {
      whose: "named",
      audiences: [],
      status: { authenticated: false },
      claims: { audiences: [], expiresAt: inDays(-1) },
    },
    status: "wrong",
    says: /expired at 2026-11-20/,
  },
  {
    name: "a token that nobody knows",
    facts: { whose: "named", audiences: [], status: { authenticated: false, error: "invalid bearer token" } },
    status: "wrong",
    says: /nobody's for the API server's own audiences: invalid bearer token/,
  },
  {
    name: "a question that may not be asked",
    facts: { whose: "own", audiences: [], failure: "the API server answered 403" },
    status: "wrong",
    says: /tokens cannot be reviewed/,
  },
  {
    name: "a made-up token, refused",
    facts: { whose: "nobody", audiences: [], status: { authenticated: false } },
    status: "ok",
    says: /refuses a made-up one/,
  },
  {
    name: "attack: an authenticator that says yes to everything",
    facts: { whose: "nobody", audiences: [], status: yes },
    status: "wrong",
    says: /takes a made-up token/,
  },
];
for (const { name, facts, status, says } of reviews) {
  Deno.test(`judgeTokenReview of ${name}: ${status}`, () => {
    expect(judgeTokenReview(facts, NOW), status, says);
  });
}

Deno.test("what is said of a token never holds it", async () => {
  const payload = new TextEncoder().encode(JSON.stringify({ aud: "x", exp: 1 })).toBase64({
    alphabet: "base64url",
  });
  const token = `sesame.${payload}.sesame`;
  const client = { create: () => Promise.reject(new Error("no")) };
  const facts = await gatherTokenReview(client, { named: token }, ["y"]);
  assert.deepEqual(facts.claims, { audiences: ["x"], expiresAt: new Date(1000) });
  assert.doesNotMatch(JSON.stringify([facts, judgeTokenReview(facts, NOW)]), /sesame/);
});

Deno.test("readClaims reads what is no JWT as nothing", () => {
  for (
    const token of [
      "",
      "a.b.c",
      "opaque",
      "a..c",
      `a.${btoa("[]")}.c`,
      `a.${btoa("null")}.c`,
      `a.${btoa("7")}.c`,
    ]
  ) {
    assert.doesNotThrow(() => readClaims(token), token);
  }
  assert.equal(readClaims("opaque"), undefined);
});

const needs = [
  { name: "kubelets by default", sections: "", more: ["get nodes", "create nodes/proxy"] },
  {
    name: "kubelets with credentials of their own",
    sections: "upstream: { kubelet: { tokenFile: t } }",
    more: ["get nodes"],
  },
  { name: "the API server as its users", sections: "upstream: { mode: apiserver }", more: [] },
  {
    name: "the API server as itself, over SPDY",
    sections: "upstream: { mode: apiserver, apiserver: { identity: gateway, transport: spdy } }",
    more: ["create pods/exec", "create pods/attach", "create pods/portforward"],
  },
];
for (const { name, sections, more } of needs) {
  Deno.test(`needsOf a gateway that opens sessions at ${name}`, () => {
    const [tokens, access, pods, ...rest] = needsOf(configuration(sections));
    assert.deepEqual(
      [tokens, access, pods].map((need) => need?.resource),
      ["tokenreviews", "subjectaccessreviews", "pods"],
    );
    assert.deepEqual(rest.map(({ verb, resource }) => `${verb} ${resource}`), more);
  });
}

const NEEDS: Need[] = needsOf(configuration(""));

Deno.test("judgeNeeds names what is missing, and the rule that gives it", () => {
  expect(judgeNeeds(NEEDS, [], "the gateway")[0], "ok", /all 5 things/);
  const [found] = judgeNeeds(NEEDS, NEEDS.slice(0, 1), "the gateway");
  expect(
    found,
    "wrong",
    /may not create tokenreviews in authentication\.k8s\.io: nobody can be authenticated/,
  );
  assert.match(found?.remedy ?? "", /apiGroups \["authentication\.k8s\.io"\], resources \["tokenreviews"\]/);
});

const GATEWAY = serviceAccount("postern-system", "postern");

/** What RBAC gives the gateway by two bindings: what it needs, and what is tried. */
function rbac(
  rule: { apiGroups?: string[]; resources?: string[]; verbs: string[] },
  group?: string,
): RbacObjects {
  const needed = NEEDS.map(({ group, resource, verb }) => ({
    apiGroups: [group],
    resources: [resource],
    verbs: [verb],
  }));
  const subject = { kind: "ServiceAccount", name: "postern", namespace: "postern-system" };
  return {
    roles: [],
    roleBindings: [],
    clusterRoles: [
      { metadata: { name: "postern" }, rules: needed },
      { metadata: { name: "more" }, rules: [rule] },
    ],
    clusterRoleBindings: ["postern", "more"].map((name) => ({
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects: [name === "more" && group !== undefined ? { kind: "Group", name: group } : subject],
    })),
  };
}

const excesses = [
  { rule: { apiGroups: [""], resources: ["pods"], verbs: ["get"] }, says: undefined },
  {
    rule: { apiGroups: [""], resources: ["secrets"], verbs: ["list"] },
    says: /may list secrets, by ClusterRoleBinding more \(ClusterRole more\)/,
    remedy: /reads secrets with it/,
  },
  {
    rule: { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
    says: /may \* \* in \*/,
    remedy: /reads secrets/,
  },
  { rule: { apiGroups: [""], resources: ["pods"], verbs: ["get", "delete"] }, says: /may delete pods, by/ },
  { rule: { apiGroups: [""], resources: ["nodes/proxy"], verbs: ["get"] }, says: /may get nodes\/proxy, by/ },
  {
    rule: { apiGroups: [""], resources: ["users"], verbs: ["impersonate"] },
    says: /impersonate users/,
    remedy: /is anybody with it/,
  },
  {
    rule: { apiGroups: [""], resources: ["secrets"], verbs: ["get"] },
    group: "system:serviceaccounts",
    says: /secrets/,
  },
  {
    rule: { apiGroups: [""], resources: ["secrets"], verbs: ["get"] },
    group: "system:authenticated",
    says: undefined,
  },
  { rule: { apiGroups: [""], resources: ["secrets"], verbs: ["get"] }, group: "others", says: undefined },
];
for (const { rule, says, remedy, group } of excesses) {
  Deno.test(`judgeExcess of ${JSON.stringify(rule)} to ${group ?? "the gateway"}: ${says ?? "nothing"}`, () => {
    const found = judgeExcess(rulesFor(boundRules(rbac(rule, group)), GATEWAY), NEEDS, "the gateway");
    assert.equal(found.length, 1);
    if (says === undefined) return expect(found[0], "ok", /nothing beyond what it needs/);
    expect(found[0], "wrong", says);
    if (remedy !== undefined) assert.match(found[0]?.remedy ?? "", remedy);
  });
}

Deno.test("judgeExcess leaves out what everybody may", () => {
  const list = { group: "", resource: "namespaces", verb: "list" };
  const rules = [{ rule: { apiGroups: [""], resources: ["namespaces"], verbs: ["list"] } }];
  expect(judgeExcess(rules, NEEDS, "it")[0], "wrong", /list namespaces/);
  expect(judgeExcess(rules, NEEDS, "it", [list])[0], "ok", /nothing beyond/);
});

const NODE = { node: "n1", where: "10.0.0.7:10250" };
const kubelets: { name: string; facts: KubeletFacts; status: Judgement["status"]; says: RegExp }[] = [
  { name: "that lets it in", facts: { ...NODE, status: 200 }, status: "ok", says: /lets the gateway in/ },
  {
    name: "that has no such page",
    facts: { ...NODE, status: 405 },
    status: "ok",
    says: /lets the gateway in/,
  },
  { name: "that was not asked", facts: NODE, status: "ok", says: /was not asked/ },
  { name: "that knows no tokens", facts: { ...NODE, status: 401 }, status: "wrong", says: /does not know/ },
  { name: "that forbids", facts: { ...NODE, status: 403 }, status: "wrong", says: /refuses the gateway/ },
  { name: "that is ill", facts: { ...NODE, status: 500 }, status: "note", says: /answers 500/ },
  {
    name: "whose certificate is somebody else's",
    facts: { ...NODE, failure: "unable to verify the first certificate" },
    status: "wrong",
    says: /is not trusted/,
  },
  {
    name: "that is not there",
    facts: { ...NODE, failure: "connect ECONNREFUSED 10.0.0.7:10250" },
    status: "wrong",
    says: /cannot be reached/,
  },
  {
    name: "outside of the ranges",
    facts: { ...NODE, refusedAddresses: ["169.254.169.254"] },
    status: "wrong",
    says: /169\.254\.169\.254 is outside/,
  },
  { name: "without an address", facts: { node: "n1" }, status: "wrong", says: /node n1: has no address/ },
];
for (const { name, facts, status, says } of kubelets) {
  Deno.test(`judgeKubelet of one ${name}: ${status}`, () => {
    const found = judgeKubelet(facts, NOW);
    assert.equal(found.length, 1);
    expect(found[0], status, says);
  });
}

Deno.test("judgeKubelet tells of a certificate that ends, and of one that nobody looks at", () => {
  const validity = { notBefore: inDays(-300), notAfter: inDays(3) };
  const [, unverified, ends] = judgeKubelet({ ...NODE, status: 200, validity, isUnverified: true }, NOW);
  expect(unverified, "wrong", /is not verified/);
  expect(ends, "wrong", /the certificate of the kubelet of n1 .* expires soon/);
});

const modes = [
  { mode: 0o100400, status: "ok" },
  { mode: 0o100600, status: "ok" },
  { mode: 0o100440, status: "ok" },
  { mode: 0o100644, status: "wrong" },
  { mode: 0o100604, status: "wrong" },
  { mode: 0o100660, status: "wrong" },
  { mode: 0o100401, status: "wrong" },
  { mode: null, status: "ok" },
] as const;
for (const { mode, status } of modes) {
  Deno.test(`judgeMode of a key with mode ${mode?.toString(8) ?? "unknown"}: ${status}`, () => {
    expect(judgeMode({ what: "the signing key", path: "/k" }, mode), status, /^the signing key \/k /);
  });
}

Deno.test("secretFilesOf a configuration misses no file with a secret", () => {
  const files = secretFilesOf(configuration(`
server: { tls: { keyFile: /s/1 } }
upstream: { kubelet: { clientCertificateFile: /c, clientKeyFile: /s/2, tokenFile: /s/3 } }
audit:
  argv: { keyFile: /s/4 }
  sinks:
    - { type: webhook, url: "https://w", tokenFile: /s/5, clientCertificateFile: /c, clientKeyFile: /s/6, spool: { directory: /d } }
    - { type: otlp, url: "https://o", headersFile: /s/7, clientCertificateFile: /c, clientKeyFile: /s/8, required: true }
recording:
  signingKeyFile: /s/9
  sink: { type: s3, endpoint: "https://s", region: r, bucket: bbb, secretAccessKeyFile: /s/10 }
index: { type: postgresql, postgresql: { urlFile: /s/11 } }`));
  const paths = files.map(({ path }) => path).filter((path) => path.startsWith("/s/"));
  assert.deepEqual(new Set(paths), new Set(Array.from({ length: 11 }, (_, index) => `/s/${index + 1}`)));
});

Deno.test("judgeCertificates finds the key of another certificate, and a certificate without names", async () => {
  const ca = await makeCa();
  const [leaf, other, nameless] = await Promise.all([issue(ca), issue(ca), issue(ca, { sans: [] })]);
  const file = { what: "the serving certificate", path: "/c", keyPath: "/k", remedy: "renew it" };
  const judge = (pem: string, key: string) => judgeCertificates(file, readCertificates(pem), key, new Date());
  assert.deepEqual(judge(leaf.cert, leaf.key).map(({ status }) => status), ["ok"]);
  expect(judge(leaf.cert, other.key)[1], "wrong", /the key \/k does not belong to/);
  expect(judge(leaf.cert, "sesame")[1], "wrong", /the key \/k does not belong to/);
  expect(judge(nameless.cert, nameless.key)[1], "wrong", /has no names/);
  const chain = judge(leaf.cert + ca.cert, leaf.key);
  assert.match(chain[1]?.message ?? "", /certificate 2 of 2/);
  assert.ok(readCertificates(leaf.cert)[0] instanceof X509Certificate);
});

Deno.test("checkHeldCertificates looks into a kubeconfig, too", async () => {
  const ca = await makeCa();
  const times = { notBefore: inDays(-900), notAfter: inDays(-800) };
  const { cert, key } = await issue(ca, times);
  const connection = {
    server,
    ca: { value: ca.cert },
    token: undefined,
    clientCertificate: { cert: { value: cert }, key: { value: key } },
  };
  const [authority, client] = certificatesOf(connection);
  expect(
    (await checkHeldCertificates(authority!, new Date()))[0],
    "ok",
    /^the API server's authority in the kube/,
  );
  expect(
    (await checkHeldCertificates(client!, new Date()))[0],
    "wrong",
    /^the gateway's client certificate .* expired/,
  );
  const broken = { what: "it", held: { value: "sesame" }, remedy: "renew it" };
  expect(
    (await checkHeldCertificates(broken, new Date()))[0],
    "wrong",
    /^it in the kubeconfig holds no certificate/,
  );
});

Deno.test("readCertificates quotes nothing of what it cannot read", () => {
  const block = "-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----";
  assert.throws(() => readCertificates(block), { message: "holds a certificate that cannot be read" });
  assert.throws(() => readCertificates("sesame"), { message: "holds no certificate in PEM" });
});

const answers = [
  { status: 200, says: undefined },
  { status: 204, says: undefined },
  { status: 302, says: /redirects/ },
  { status: 401, says: /refuses our credentials/ },
  { status: 503, says: /answers 503/ },
];
for (const { status, says } of answers) {
  Deno.test(`a receiver that answers ${status} ${says === undefined ? "takes events" : "is told of"}`, () => {
    const failure = refusalOf(status);
    if (says === undefined) return assert.equal(failure, undefined);
    expect(judgeSink({ what: "sink", failure: failure ?? "", remedy: "mend it" }), "wrong", says);
  });
}

/** RBAC in which one subject may exec. */
function withExec(kind: string, name: string, namespace?: string): RbacObjects {
  return {
    roles: [],
    roleBindings: [],
    clusterRoles: [{
      metadata: { name: "exec" },
      rules: [{ apiGroups: [""], resources: ["pods/exec"], verbs: ["create"] }],
    }],
    clusterRoleBindings: [{
      metadata: { name: "execs" },
      roleRef: { apiGroup: "", kind: "ClusterRole", name: "exec" },
      subjects: [{ kind, name, ...(namespace !== undefined && { namespace }) }],
    }],
  };
}

const TERMS = { gateway: GATEWAY, accepted: [], group: "postern.dev" };
const around = [
  {
    name: "a user",
    rbac: withExec("User", "alice"),
    status: "wrong",
    says: /^User alice can go around .*by ClusterRoleBinding execs/,
  },
  { name: "a group", rbac: withExec("Group", "devs"), status: "wrong", says: /^Group devs/ },
  {
    name: "a service account",
    rbac: withExec("ServiceAccount", "ci", "ci"),
    status: "wrong",
    says: /^ServiceAccount ci\/ci/,
  },
  {
    name: "everybody",
    rbac: withExec("Group", "system:unauthenticated"),
    status: "wrong",
    says: /unauthenticated/,
  },
  {
    name: "system:masters",
    rbac: withExec("Group", "system:masters"),
    status: "note",
    says: /system:masters/,
  },
  {
    name: "the gateway itself",
    rbac: withExec("ServiceAccount", "postern", "postern-system"),
    status: "note",
    says: /it is the gateway/,
  },
  {
    name: "attack: a group that the gateway happens to be in",
    rbac: withExec("Group", "system:serviceaccounts"),
    status: "wrong",
    says: /system:serviceaccounts/,
  },
] as const;
for (const { name, rbac, status, says } of around) {
  Deno.test(`judgeAround of ${name} who may exec: ${status}`, () => {
    expect(judgeAround(rbac, TERMS)[0], status, says);
  });
}

/** An account that a binding gives everything to. */
function boundBy(binding: string, [namespace, name]: readonly [string, string]) {
  const subjects = [{ kind: "ServiceAccount", name, namespace }];
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: binding };
  const rules = [{ apiGroups: [""], resources: ["*"], verbs: ["*"] }];
  return {
    clusterRoles: [{ metadata: { name: binding }, rules }],
    clusterRoleBindings: [{ metadata: { name: binding }, roleRef, subjects }],
    roles: [],
    roleBindings: [],
  };
}

const controllers = [
  {
    name: "a controller of Kubernetes",
    rbac: boundBy("system:controller:generic-garbage-collector", [
      "kube-system",
      "generic-garbage-collector",
    ]),
    status: "note",
  },
  {
    name: "attack: another account, added to a controller's binding",
    rbac: boundBy("system:controller:generic-garbage-collector", ["kube-system", "default"]),
    status: "wrong",
  },
  {
    name: "attack: an account that is called as a controller is, elsewhere",
    rbac: boundBy("system:controller:generic-garbage-collector", ["mine", "generic-garbage-collector"]),
    status: "wrong",
  },
  {
    name: "attack: a controller's account, bound once more",
    rbac: boundBy("mine", ["kube-system", "generic-garbage-collector"]),
    status: "wrong",
  },
] as const;
for (const { name, rbac, status } of controllers) {
  Deno.test(`judgeAround of ${name}: ${status}`, () => {
    expect(judgeAround(rbac, TERMS)[0], status, /can go around the gateway in the whole cluster/);
  });
}

Deno.test("judgeAround takes who was accepted, and nobody of the same name", () => {
  const accepted = [{ kind: "Group", name: "devs" } as const];
  expect(judgeAround(withExec("Group", "devs"), { ...TERMS, accepted })[0], "note", /accepted/);
  expect(judgeAround(withExec("User", "devs"), { ...TERMS, accepted })[0], "wrong", /User devs/);
});

Deno.test("judgeAround says where the core group makes everybody one who can go around", () => {
  const last = judgeAround(withExec("User", "alice"), { ...TERMS, group: "" }).at(-1);
  expect(last, "note", /whoever may use the gateway may also go around it/);
});

Deno.test("gatherRbac reads every page, and none where one cannot be read", async () => {
  const asked: string[] = [];
  const get = (path: string) => {
    asked.push(path);
    const isFirst = path.includes("/rolebindings?") && !path.includes("continue=");
    const page = { metadata: isFirst ? { continue: "a/b" } : {}, items: [{ metadata: { name: path } }] };
    return Promise.resolve(page);
  };
  const client = { get: <T>(path: string) => get(path) as Promise<T> };
  const { roleBindings, clusterRoles } = await gatherRbac(client);
  assert.deepEqual([roleBindings.length, clusterRoles.length], [2, 1]);
  assert.ok(asked.some((path) => path.endsWith("rolebindings?limit=250&continue=a%2Fb")));
  const refusing = { get: <T>(_: string): Promise<T> => Promise.reject(new ApiError(403, {})) };
  await assert.rejects(gatherRbac(refusing), ApiError);
});

Deno.test("causeOf says what lies behind, once, and no URL", () => {
  const cause = new Error("client error (Connect): invalid peer certificate: UnknownIssuer");
  const why = causeOf(new TypeError("the API server cannot be reached", { cause }));
  assert.equal(why, "the API server cannot be reached: invalid peer certificate: UnknownIssuer");
  assert.ok(isDistrust(why));
  assert.ok(!isDistrust("connection refused"));
  assert.equal(causeOf("text"), "text");
});
