/** Who must not come in does not come in, by any client, and is told why. */

import assert from "node:assert/strict";
import { tokenOf, type User } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { CLIENTS, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { rawRequest, type RawResponse, SPDY_UPGRADE, WEBSOCKET_UPGRADE } from "./support/raw_http.ts";
import { asAdmin, issueToken, reissue } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

const CACHE_TTL_SECONDS = 1;
const gateway = sharedGateway({
  authentication: { cacheTtlSeconds: CACHE_TTL_SECONDS, negativeCacheTtlSeconds: CACHE_TTL_SECONDS },
});

const EXEC = "/api/v1/namespaces/default/pods/shell/exec?command=id&stdout=true";

// The privileged rule.

for (const client of CLIENTS) {
  for (const pod of ["privileged", "hostpid"]) {
    live(`alice, who may exec, may not into ${pod}, by ${client}; root may`, async () => {
      const args = ["exec", pod, "--", "echo", "inside"];
      const alice = await through({ client, user: "alice", args });
      assert.match(alice.stderr, /only cluster-admins/);
      assert.deepEqual([alice.code, alice.stdout], [1, ""]);
      const root = await through({ client, user: "root", args });
      assert.deepEqual([root.code, root.stdout, root.stderr], [0, "inside\n", ""]);
    });
  }

  live(`bob, who may not exec, is told what the API server tells him, by ${client}`, async () => {
    const run = { client, user: "bob", args: ["exec", "shell", "--", "echo", "inside"] } as const;
    const refused = await through(run);
    assert.deepEqual(refused, await direct(run));
    assert.equal(
      refused.stderr,
      'Error from server (Forbidden): pods "shell" is forbidden: User "bob" cannot create resource ' +
        '"pods/exec" in API group "" in the namespace "default"\n',
    );
    assert.deepEqual([refused.code, refused.stdout], [1, ""]);
  });

  live(`a token that nobody issued is refused by ${client}`, async () => {
    // A token on the command line joins the certificate of the context, which no gateway sees.
    const args = ["--token", "nobody-issued-this", "exec", "shell", "--", "id"];
    const refused = await through({ client, user: "bob", args });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /must be logged in to the server|Unauthorized/);
  });
}

live("root impersonating alice gets what alice gets, and no more", async () => {
  const may = await through({ args: ["--as", "alice", "exec", "shell", "--", "echo", "inside"] });
  assert.deepEqual([may.code, may.stdout], [0, "inside\n"]);
  const mayNot = await through({ args: ["--as", "alice", "exec", "privileged", "--", "echo", "inside"] });
  assert.match(mayNot.stderr, /only cluster-admins/);
  assert.deepEqual([mayNot.code, mayNot.stdout], [1, ""]);
});

live("root impersonating a group of cluster-admins is one", async () => {
  const args = [
    "--as",
    "alice",
    "--as-group",
    "system:masters",
    "exec",
    "privileged",
    "--",
    "echo",
    "inside",
  ];
  assert.equal((await through({ args })).stdout, "inside\n");
});

live("root impersonating bob is refused as bob", async () => {
  const run = { args: ["--as", "bob", "exec", "shell", "--", "echo", "inside"] };
  const refused = await through(run);
  assert.match(refused.stderr, /User "bob" cannot create resource "pods\/exec"/);
  assert.deepEqual(refused, await direct(run));
});

live("alice may not impersonate root", async () => {
  const run = {
    user: "alice",
    args: ["--as", "root", "exec", "privileged", "--", "echo", "inside"],
  } as const;
  const refused = await through(run);
  assert.match(refused.stderr, /users "root" is forbidden: User "alice" cannot impersonate/);
  assert.deepEqual(refused, await direct(run));
});

live("alice may not impersonate root in an exec that asks for no pod first", async () => {
  for (const upgrade of [SPDY_UPGRADE, WEBSOCKET_UPGRADE]) {
    const headers = [...upgrade, "Impersonate-User: root", ...await bearer("alice")];
    const { code, body } = await raw(`GET ${EXEC}`, headers);
    assert.equal(code, 403);
    assert.match(body, /cannot impersonate/);
  }
});

// Credentials, without a client that asks anything else first.

for (
  const { name, upgrade } of [
    { name: "SPDY", upgrade: SPDY_UPGRADE },
    { name: "WebSocket", upgrade: WEBSOCKET_UPGRADE },
  ]
) {
  const method = name === "SPDY" ? "POST" : "GET";
  const open = async (headers: readonly string[]) => await raw(`${method} ${EXEC}`, [...upgrade, ...headers]);

  live(`${name} exec without a credential is 401`, async () => {
    assert.equal((await open([])).code, 401);
  });

  live(`${name} exec with a credential that is no bearer token is 401`, async () => {
    for (const value of ["Basic cm9vdDpyb290", "Bearer", "Bearer ", `bearer\t${await token("root")}`]) {
      assert.equal((await open([`Authorization: ${value}`])).code, 401, value.slice(0, 10));
    }
  });

  live(`${name} exec with two credentials, of which one would do, opens nothing`, async () => {
    const { code } = await open([...await bearer("root"), "Authorization: Bearer x"]);
    assert.ok(code === 400 || code === 401, `${code}`);
  });

  live(`${name} exec with a token that is cut by one character is 401`, async () => {
    assert.equal((await open([`Authorization: Bearer ${(await token("root")).slice(0, -1)}`])).code, 401);
  });

  live(
    `${name} exec as bob of a pod that is not there is 403: only who may enter learns what exists`,
    async () => {
      const target = EXEC.replace("/shell/", "/nosuch/");
      const asBob = await raw(`${method} ${target}`, [...upgrade, ...await bearer("bob")]);
      assert.equal(asBob.code, 403);
      assert.doesNotMatch(asBob.body, /not found/);
      const asAlice = await raw(`${method} ${target}`, [...upgrade, ...await bearer("alice")]);
      assert.equal(asAlice.code, 404);
      assert.match(asAlice.body, /pods \\"nosuch\\" not found/);
    },
  );

  live(`${name} exec with headers of a front proxy that name another user is still bob's`, async () => {
    const headers = ["X-Remote-User: root", "X-Remote-Group: system:masters", ...await bearer("bob")];
    const { code, body } = await open(headers);
    assert.equal(code, 403);
    assert.match(body, /User \\"bob\\"/);
  });
}

live("a service account's token is accepted until it expires", async () => {
  const { cluster } = gateway();
  const issued = await issueToken(cluster);
  const now = Math.floor(Date.now() / 1000);
  // Signed again by us it is as good as before, so that what is refused below is refused for its time alone.
  const young = await reissue(cluster, issued, { exp: now + 60 });
  const old = await reissue(cluster, issued, { iat: now - 7200, nbf: now - 7200, exp: now - 60 });
  const early = await reissue(cluster, issued, { nbf: now + 3600, exp: now + 7200 });
  const forged = `${young.slice(0, -8)}AAAAAAAA`;
  assert.equal((await openAs(young)).code, 403); // known, and without rights
  assert.equal((await openAs(old)).code, 401, "expired");
  assert.equal((await openAs(early)).code, 401, "not valid yet");
  assert.equal((await openAs(forged)).code, 401, "another signature");
});

live("a token dies with the object it is bound to, at the latest when the cache forgets it", async () => {
  const { cluster } = gateway();
  const secret = `bound-${crypto.randomUUID()}`;
  await asAdmin(cluster, "create", "secret", "generic", secret);
  try {
    const bound = await issueToken(cluster, "--bound-object-kind=Secret", `--bound-object-name=${secret}`);
    assert.equal((await openAs(bound)).code, 403);
    await asAdmin(cluster, "delete", "secret", secret);
    // The API server itself remembers for up to ten seconds.
    await eventually("the token is refused", async () => {
      const { code } = await openAs(bound);
      assert.ok(code === 403 || code === 401, `${code}`);
      return code === 401 ? true : undefined;
    }, { deadlineMs: 20_000, everyMs: 500 });
  } finally {
    await asAdmin(cluster, "delete", "secret", secret, "--ignore-not-found");
  }
});

// Paths.

const tricks = [
  { name: "an escaped letter is exec all the same", path: "/pods/shell/%65xec", code: 403 },
  { name: "a trailing slash is exec all the same", path: "/pods/shell/exec/", code: 403 },
  { name: "an escaped pod name is the pod's", path: "/pods/%73hell/exec", code: 403 },
  { name: "an escaped slash", path: "/pods/shell%2fexec", code: 400 },
  { name: "an escaped slash in capitals", path: "/pods/shell%2Fexec", code: 400 },
  { name: "an escape that is escaped", path: "/pods/shell/%2565xec", code: 400 },
  { name: "two slashes", path: "/pods//shell/exec", code: 400 },
  { name: "dots that stay", path: "/pods/./shell/exec", code: 400 },
  { name: "dots that climb", path: "/pods/x/../shell/exec", code: 400 },
  { name: "escaped dots that climb", path: "/pods/x/%2e%2e/shell/exec", code: 400 },
  { name: "a backslash", path: "/pods/shell\\exec", code: 400 },
  { name: "an escaped backslash", path: "/pods/shell%5cexec", code: 400 },
  { name: "a null", path: "/pods/shell/exec%00", code: 400 },
  { name: "a parameter in the path", path: "/pods/shell/exec;x=1", code: 400 },
  { name: "an escaped question mark", path: "/pods/shell/exec%3fcommand=id", code: 400 },
  { name: "an escape that is none", path: "/pods/shell/exe%zz", code: 400 },
  { name: "capitals, which no API has", path: "/pods/shell/EXEC", code: 400 },
];
for (const { name, path, code } of tricks) {
  live(`a path trick opens nothing for bob: ${name}`, async () => {
    for (const [method, upgrade] of [["POST", SPDY_UPGRADE], ["GET", WEBSOCKET_UPGRADE]] as const) {
      const target = `/api/v1/namespaces/default${path}?command=id&stdout=true`;
      const response = await raw(`${method} ${target}`, [...upgrade, ...await bearer("bob")]);
      assert.equal(response.code, code, `${method}: ${response.body}`);
    }
  });
}

live("an escaped exec opens for who may, and is guarded as any exec is", async () => {
  const target = "/api/v1/namespaces/default/pods/shell/%65xec?command=true&stdout=true";
  assert.equal((await raw(`POST ${target}`, [...SPDY_UPGRADE, ...await bearer("alice")])).code, 101);
  const guarded = target.replace("/shell/", "/%70rivileged/");
  const { code, body } = await raw(`POST ${guarded}`, [...SPDY_UPGRADE, ...await bearer("alice")]);
  assert.equal(code, 403);
  assert.match(body, /only cluster-admins/);
});

live("an absolute request target opens nothing", async () => {
  const { code } = await raw(`POST ${gateway().url}${EXEC}`, [...SPDY_UPGRADE, ...await bearer("alice")]);
  assert.equal(code, 400);
});

const upgradesOfOtherThings = [
  "/api/v1/namespaces/default/pods?watch=true",
  "/api/v1/namespaces/default/pods/shell/log?follow=true",
  "/api/v1/namespaces/default/pods/shell",
  "/version",
  "/",
];
for (const target of upgradesOfOtherThings) {
  live(`an upgrade is refused on ${target}, even root's`, async () => {
    for (const upgrade of [SPDY_UPGRADE, WEBSOCKET_UPGRADE]) {
      const { code } = await raw(`GET ${target}`, [...upgrade, ...await bearer("root")]);
      assert.equal(code, 400);
    }
  });
}

live("exec without an upgrade says so, and to bob it says that he may not", async () => {
  const asAlice = await raw(`POST ${EXEC}`, await bearer("alice"));
  assert.equal(asAlice.code, 400);
  assert.match(asAlice.body, /Upgrade request required/);
  assert.equal((await raw(`POST ${EXEC}`, await bearer("bob"))).code, 403);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

type Run = Omit<KubectlRun, "cluster" | "endpoint">;

async function through(run: Run) {
  return texts(await kubectl({ ...run, cluster: gateway().cluster, endpoint: gateway() }));
}

async function direct(run: Run) {
  const { cluster } = gateway();
  return texts(await kubectl({ ...run, cluster, endpoint: cluster.paths }));
}

function texts({ code, stdout, stderr }: Awaited<ReturnType<typeof kubectl>>) {
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function raw(start: string, headers: readonly string[]): Promise<RawResponse> {
  const { cluster, port } = gateway();
  const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
  return await rawRequest({ port, caCerts }, start, headers);
}

async function openAs(bearerToken: string): Promise<RawResponse> {
  return await raw(`POST ${EXEC}`, [...SPDY_UPGRADE, `Authorization: Bearer ${bearerToken}`]);
}

async function token(user: Exclude<User, "admin">): Promise<string> {
  return await tokenOf(gateway().cluster, user);
}

async function bearer(user: Exclude<User, "admin">): Promise<string[]> {
  return [`Authorization: Bearer ${await token(user)}`];
}
