import assert from "node:assert/strict";
import fc from "fast-check";
import { Refusal } from "../kube/status.ts";
import { readRequestTarget } from "./request_target.ts";

const READ = [
  { raw: "/", path: "/" },
  { raw: "/api/v1/pods?limit=1", path: "/api/v1/pods" },
  { raw: "/api/v1/namespaces/default/pods/web/exec/", path: "/api/v1/namespaces/default/pods/web/exec" },
  { raw: "/api/v1/namespaces/default/pods/web/%65xec", path: "/api/v1/namespaces/default/pods/web/exec" },
  {
    raw: "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
    path: "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
  },
];
for (const { raw, path } of READ) {
  Deno.test(`readRequestTarget reads ${raw}`, () => assert.equal(readRequestTarget(raw).path, path));
}

const REFUSED = [
  { attack: "an escaped slash", raw: "/api/v1/namespaces/a%2fpods/b/exec" },
  { attack: "a doubly escaped slash", raw: "/api/v1/namespaces/a%252fpods" },
  { attack: "a dot segment", raw: "/api/v1/pods/../nodes/n/proxy/exec" },
  { attack: "an escaped dot segment", raw: "/api/v1/pods/%2e%2e/nodes" },
  { attack: "an empty segment", raw: "/api//v1/pods" },
  { attack: "a path parameter", raw: "/api/v1/pods;x=1/web/exec" },
  { attack: "NUL", raw: "/api/v1/pods/web%00/exec" },
  { attack: "a line break", raw: "/api/v1/pods/web%0d%0aX:1/exec" },
  { attack: "overlong UTF-8", raw: "/api/v1/pods/%c0%af/exec" },
  { attack: "half an escape", raw: "/api/v1/pods/%4/exec" },
  { attack: "a backslash", raw: "/api/v1\\pods" },
  { attack: "a fragment", raw: "/api/v1/pods#x" },
  { attack: "an absolute URL", raw: "http://elsewhere/api/v1/pods" },
  { attack: "an asterisk", raw: "*" },
  { attack: "a semicolon in the query", raw: "/api/v1/pods?a=1;b=2" },
  { attack: "a broken escape in the query", raw: "/api/v1/pods?command=%zz" },
  { attack: "ten thousand parameters and one", raw: `/api/v1/pods?${"&".repeat(10_000)}` },
];
for (const { attack, raw } of REFUSED) {
  Deno.test(`readRequestTarget refuses ${attack}`, () => {
    assert.throws(
      () => readRequestTarget(raw),
      (thrown) => thrown instanceof Refusal && thrown.reason === "BadRequest",
    );
  });
}

Deno.test("readRequestTarget keeps the order of parameters, spaces, equal signs and text", () => {
  assert.deepEqual(readRequestTarget("/exec?command=sh&command=-c&command=echo+a%20b=%26&stdin&tty=").query, [
    ["command", "sh"],
    ["command", "-c"],
    ["command", "echo a b=&"],
    ["stdin", ""],
    ["tty", ""],
  ]);
});

Deno.test("readRequestTarget reads ten thousand parameters: commands are long", () => {
  const raw = `/exec?${Array.from({ length: 10_000 }, (_, index) => `command=${index}`).join("&")}`;
  assert.equal(readRequestTarget(raw).query.at(-1)?.[1], "9999");
});

Deno.test("readRequestTarget throws nothing but Refusal, and what it reads cannot leave its segment", () => {
  fc.assert(fc.property(fc.string({ unit: "binary-ascii" }), (text) => {
    try {
      const { segments } = readRequestTarget(`/${text}`);
      for (const segment of segments) assert.ok(!/[/\\%]|^\.{0,2}$/.test(segment), segment);
    } catch (thrown) {
      assert.ok(thrown instanceof Refusal, String(thrown));
    }
  }));
});
