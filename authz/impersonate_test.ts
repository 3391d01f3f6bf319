import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import type { ResourceAttributes } from "./authorize.ts";
import { impersonate, readImpersonation } from "./impersonate.ts";

const ROOT = { username: "root", uid: "", groups: [], extra: {} };

/** What is asked of the API server, as one line each. */
function brief({ group, resource, subresource, namespace, name }: ResourceAttributes): string {
  return [group, resource, subresource, namespace, name].filter(Boolean).join(" ");
}

const READ: { name: string; headers: [string, string][]; user: unknown; asked: string[] }[] = [
  {
    name: "a user, who is in system:authenticated",
    headers: [["Impersonate-User", "bob"]],
    user: { username: "bob", uid: "", groups: ["system:authenticated"], extra: {} },
    asked: ["users bob"],
  },
  {
    name: "a service account, with the groups of its namespace",
    headers: [["impersonate-user", "system:serviceaccount:ci:builder"]],
    user: {
      username: "system:serviceaccount:ci:builder",
      uid: "",
      groups: ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"],
      extra: {},
    },
    asked: ["serviceaccounts ci builder"],
  },
  {
    name: "groups, uid and extras, each asked for by itself",
    headers: [
      ["Impersonate-User", "bob"],
      ["Impersonate-Group", "dev"],
      ["Impersonate-Group", "system:unauthenticated"],
      ["Impersonate-Extra-Example.org%2fTeam", "a"],
      ["Impersonate-Extra-example.org%2fteam", "b"],
      ["Impersonate-Uid", "7"],
    ],
    user: {
      username: "bob",
      uid: "7",
      groups: ["dev", "system:unauthenticated"],
      extra: { "example.org/team": ["a", "b"] },
    },
    asked: [
      "users bob",
      "groups dev",
      "groups system:unauthenticated",
      "authentication.k8s.io userextras example.org/team a",
      "authentication.k8s.io userextras example.org/team b",
      "authentication.k8s.io uids 7",
    ],
  },
  {
    name: "a name that no service account can have as a plain user's",
    headers: [["Impersonate-User", "system:serviceaccount:CI:builder"]],
    user: {
      username: "system:serviceaccount:CI:builder",
      uid: "",
      groups: ["system:authenticated"],
      extra: {},
    },
    asked: ["users system:serviceaccount:CI:builder"],
  },
  {
    name: "an empty group, which a service account then has instead of its own",
    headers: [["Impersonate-User", "system:serviceaccount:ci:builder"], ["Impersonate-Group", ""]],
    user: {
      username: "system:serviceaccount:ci:builder",
      uid: "",
      groups: ["", "system:authenticated"],
      extra: {},
    },
    asked: ["serviceaccounts ci builder", "groups"],
  },
  {
    name: "a key that cannot be decoded, and one that means something to JavaScript, as they are",
    headers: [["Impersonate-User", "bob"], ["Impersonate-Extra-a%zz", "1"], [
      "Impersonate-Extra-__proto__",
      "2",
    ]],
    user: {
      username: "bob",
      uid: "",
      groups: ["system:authenticated"],
      extra: JSON.parse('{"a%zz": ["1"], "__proto__": ["2"]}'),
    },
    asked: [
      "users bob",
      "authentication.k8s.io userextras a%zz 1",
      "authentication.k8s.io userextras __proto__ 2",
    ],
  },
  {
    name: "anonymous, who is in system:unauthenticated",
    headers: [["Impersonate-User", "system:anonymous"]],
    user: { username: "system:anonymous", uid: "", groups: ["system:unauthenticated"], extra: {} },
    asked: ["users system:anonymous"],
  },
];
for (const { name, headers, user, asked } of READ) {
  Deno.test(`readImpersonation reads ${name}`, () => {
    const request = readImpersonation(headers);
    assert.deepEqual(request?.user, user);
    assert.deepEqual(request?.attributes.map(brief), asked);
    assert.ok(request?.attributes.every(({ verb }) => verb === "impersonate"));
  });
}

Deno.test("readImpersonation finds nothing in other headers", () => {
  assert.equal(readImpersonation([["Host", "x"], ["Impersonate-User", ""]]), undefined);
});

const REFUSED: { name: string; headers: [string, string][] }[] = [
  { name: "a group without a user", headers: [["Impersonate-Group", "system:masters"]] },
  { name: "an extra without a user", headers: [["Impersonate-Extra-a", "b"]] },
  { name: "a uid without a user", headers: [["Impersonate-Uid", "1"]] },
  { name: "an empty group without a user", headers: [["Impersonate-Group", ""]] },
  { name: "no user, and then one", headers: [["Impersonate-User", ""], ["Impersonate-User", "root"]] },
  { name: "two users", headers: [["Impersonate-User", "a"], ["Impersonate-User", "b"]] },
];
for (const { name, headers } of REFUSED) {
  Deno.test(`readImpersonation refuses ${name}`, () => {
    assert.throws(
      () => readImpersonation(headers),
      (thrown) => thrown instanceof Refusal && thrown.reason === "BadRequest",
    );
  });
}

Deno.test("impersonate names both, and asks in the name of the one who has the credential", async () => {
  const asked: string[] = [];
  const authorizer = {
    require: (user: { username: string }, attributes: ResourceAttributes) => {
      asked.push(`${user.username}: ${brief(attributes)}`);
      return Promise.resolve();
    },
  };
  const identity = await impersonate(authorizer, ROOT, [["Impersonate-User", "bob"], [
    "Impersonate-Group",
    "dev",
  ]]);
  assert.deepEqual([identity.user.username, identity.impersonator?.username], ["bob", "root"]);
  assert.deepEqual(asked, ["root: users bob", "root: groups dev"]);
});

Deno.test("impersonate stops at the first thing that is not allowed: one group too many is no user at all", async () => {
  const authorizer = {
    require: (_user: unknown, { resource }: ResourceAttributes) =>
      resource === "groups" ? Promise.reject(new Refusal("Forbidden", "no")) : Promise.resolve(),
  };
  const headers: [string, string][] = [["Impersonate-User", "bob"], ["Impersonate-Group", "system:masters"]];
  await assert.rejects(impersonate(authorizer, ROOT, headers), /no/);
});
