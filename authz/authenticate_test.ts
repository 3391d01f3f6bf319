import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Refusal } from "../kube/status.ts";
import { Authenticator, type AuthenticatorOptions } from "./authenticate.ts";

const OPTIONS = { audiences: [], cacheTtlSeconds: 60, negativeCacheTtlSeconds: 60, cacheEntries: 100 };
const ALICE = { username: "alice", uid: "1", groups: ["dev"], extra: { "example.org/team": ["a"] } };

/** An authenticator whose API server answers every review with `status`, and what it was asked. */
function scene(status: unknown, options: Partial<AuthenticatorOptions> = {}) {
  const asked: unknown[] = [];
  const client = {
    create: <T>(_path: string, body: unknown): Promise<T> => {
      asked.push(body);
      return status instanceof Error ? Promise.reject(status) : Promise.resolve({ status } as T);
    },
  };
  return { authenticator: new Authenticator(client, { ...OPTIONS, ...options }), asked };
}

const isRefusal = (reason: string) => (thrown: unknown) =>
  thrown instanceof Refusal && thrown.reason === reason;

Deno.test("authenticate returns the user as the review says it, and asks once within the cache's time", async () => {
  const { authenticator, asked } = scene({ authenticated: true, user: ALICE });
  assert.deepEqual(await authenticator.authenticate("token"), ALICE);
  await authenticator.authenticate("token");
  assert.equal(asked.length, 1);
});

Deno.test("attack: a token that is known to be revoked lives on in no memory", async () => {
  const { authenticator, asked } = scene({ authenticated: true, user: ALICE });
  await authenticator.authenticate("token");
  authenticator.forget("token");
  await authenticator.authenticate("token");
  assert.equal(asked.length, 2);
});

Deno.test("authenticate keeps no token for longer than the token says it lives", async () => {
  const { authenticator, asked } = scene({ authenticated: true, user: ALICE });
  const claims = Buffer.from(JSON.stringify({ exp: Math.floor(Date.now() / 1000) - 1 })).toString(
    "base64url",
  );
  await authenticator.authenticate(`e30.${claims}.x`);
  await authenticator.authenticate(`e30.${claims}.x`);
  assert.equal(asked.length, 2);
});

const NOBODY = [
  { name: "authenticated is not true", status: { authenticated: "yes", user: ALICE } },
  { name: "there is an error", status: { authenticated: true, user: ALICE, error: "expired" } },
  { name: "no user is named", status: { authenticated: true, user: {} } },
  { name: "there is no status", status: undefined },
];
for (const { name, status } of NOBODY) {
  Deno.test(`authenticate refuses a token where ${name}, and remembers it`, async () => {
    const { authenticator, asked } = scene(status);
    await assert.rejects(authenticator.authenticate("token"), isRefusal("Unauthorized"));
    await assert.rejects(authenticator.authenticate("token"), isRefusal("Unauthorized"));
    assert.equal(asked.length, 1);
  });
}

Deno.test("authenticate asks for its audiences, and refuses a yes that is for none of them", async () => {
  const yes = { authenticated: true, user: ALICE };
  const good = scene({ ...yes, audiences: ["postern"] }, { audiences: ["postern"] });
  assert.equal((await good.authenticator.authenticate("token")).username, "alice");
  assert.deepEqual((good.asked[0] as { spec: unknown }).spec, { token: "token", audiences: ["postern"] });
  for (const audiences of [["other"], [], undefined]) {
    const { authenticator } = scene({ ...yes, audiences }, { audiences: ["postern"] });
    await assert.rejects(authenticator.authenticate("token"), isRefusal("Unauthorized"));
  }
});

Deno.test("an API server that cannot be asked is 503, never a yes, and is asked again", async () => {
  const { authenticator, asked } = scene(new Error("connection refused"));
  await assert.rejects(authenticator.authenticate("token"), isRefusal("ServiceUnavailable"));
  await assert.rejects(authenticator.authenticate("token"), isRefusal("ServiceUnavailable"));
  assert.equal(asked.length, 2);
});

Deno.test("no refusal holds the token", async () => {
  for (const status of [undefined, new Error("down")]) {
    const thrown: unknown = await scene(status).authenticator.authenticate("s3cret").catch((error) => error);
    assert.ok(!Deno.inspect(thrown, { depth: 10 }).includes("s3cret"));
  }
});

const GIANTS = [
  {
    name: "groups",
    user: { ...ALICE, groups: Array.from({ length: 5_000 }, (_, at) => `group-${"x".repeat(30)}-${at}`) },
  },
  { name: "extras", user: { ...ALICE, extra: { "example.org/claims": ["x".repeat(200_000)] } } },
  {
    name: "extras of many keys",
    user: { ...ALICE, extra: Object.fromEntries(Array.from({ length: 20_000 }, (_, at) => [at, []])) },
  },
  { name: "a name", user: { ...ALICE, username: "a".repeat(200_000) } },
];
for (const { name, user } of GIANTS) {
  Deno.test(`attack: a user with too much of ${name} is refused before anything is kept of it`, async () => {
    const { authenticator } = scene({ authenticated: true, user });
    await assert.rejects(authenticator.authenticate("token"), (thrown) => {
      assert.ok(thrown instanceof Refusal);
      assert.deepEqual([thrown.reason, thrown.rule], ["Forbidden", "user-size"]);
      assert.ok(thrown.message.length < 200);
      return true;
    });
  });
}

for (
  const username of [
    "system:admin",
    "system:serviceaccount:kube-system:x",
    "\x1b[2J",
    "a\nb",
    "__proto__",
    "*",
  ]
) {
  Deno.test(`a user is who the API server says, even ${JSON.stringify(username)}: no name means anything here`, async () => {
    const extra = JSON.parse('{"__proto__": ["a"]}');
    const { authenticator } = scene({ authenticated: true, user: { ...ALICE, username, extra } });
    const user = await authenticator.authenticate("token");
    assert.deepEqual([user.username, Object.keys(user.extra)], [username, ["__proto__"]]);
  });
}
