import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { Authorizer, type ResourceAttributes } from "./authorize.ts";

const BOB = { username: "bob", uid: "2", groups: ["dev"], extra: { team: ["a"] } };
const EXEC: ResourceAttributes = {
  verb: "create",
  group: "",
  resource: "pods",
  subresource: "exec",
  namespace: "default",
  name: "shell",
};

function scene(status: unknown, cacheTtlSeconds = 60) {
  const asked: { spec: Record<string, unknown> }[] = [];
  const client = {
    create: <T>(_path: string, body: unknown): Promise<T> => {
      asked.push(body as { spec: Record<string, unknown> });
      return status instanceof Error ? Promise.reject(status) : Promise.resolve({ status } as T);
    },
  };
  return { authorizer: new Authorizer(client, { cacheTtlSeconds }), asked };
}

Deno.test("a review asks with the whole user and all attributes", async () => {
  const { authorizer, asked } = scene({ allowed: true });
  await authorizer.require(BOB, EXEC);
  assert.deepEqual(asked[0]?.spec, {
    user: "bob",
    uid: "2",
    groups: ["dev"],
    extra: { team: ["a"] },
    resourceAttributes: EXEC,
  });
});

const DENIED = [
  { name: "allowed is not true", status: { allowed: "true" } },
  { name: "it is denied too", status: { allowed: true, denied: true } },
  { name: "there is no status", status: undefined },
];
for (const { name, status } of DENIED) {
  Deno.test(`access is denied where ${name}`, async () => {
    assert.equal((await scene(status).authorizer.access(BOB, EXEC)).allowed, false);
  });
}

// As a kube-apiserver 1.34 says it.
const SENTENCES: { attributes: ResourceAttributes; reason?: string; message: string }[] = [
  {
    attributes: EXEC,
    message:
      'pods "shell" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "default"',
  },
  {
    attributes: { ...EXEC, group: "postern.dev" },
    message:
      'pods.postern.dev "shell" is forbidden: User "bob" cannot create resource "pods/exec" in API group "postern.dev" in the namespace "default"',
  },
  {
    attributes: { verb: "impersonate", group: "", resource: "users", name: "root" },
    reason: "no way",
    message:
      'users "root" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope: no way',
  },
];
for (const { attributes, reason, message } of SENTENCES) {
  Deno.test(`a refusal has the API server's words: ${message.slice(0, 40)}…`, async () => {
    const { authorizer } = scene({ allowed: false, reason });
    await assert.rejects(authorizer.require(BOB, attributes), (thrown) => {
      assert.ok(thrown instanceof Refusal);
      assert.deepEqual([thrown.reason, thrown.message], ["Forbidden", message]);
      return true;
    });
  });
}

Deno.test("another group, another answer: the cache keeps users and attributes apart", async () => {
  const { authorizer, asked } = scene({ allowed: true });
  await authorizer.access(BOB, EXEC);
  await authorizer.access(BOB, EXEC);
  await authorizer.access({ ...BOB, groups: [] }, EXEC);
  await authorizer.access({ ...BOB, extra: {} }, EXEC);
  await authorizer.access({ ...BOB, uid: "3" }, EXEC);
  await authorizer.access(BOB, { ...EXEC, name: "other" });
  assert.equal(asked.length, 5);
});

Deno.test("isClusterAdmin asks for everything, and not for a group's name", async () => {
  const { authorizer, asked } = scene({ allowed: false });
  assert.equal(await authorizer.isClusterAdmin({ ...BOB, groups: ["system:masters"] }), false);
  assert.deepEqual(asked[0]?.spec.resourceAttributes, { verb: "*", group: "*", resource: "*" });
});

Deno.test("an API server that cannot be asked is 503, never a yes", async () => {
  const { authorizer } = scene(new Error("down"));
  await assert.rejects(
    authorizer.access(BOB, EXEC),
    (thrown) => thrown instanceof Refusal && thrown.reason === "ServiceUnavailable",
  );
});
