import assert from "node:assert/strict";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import { admit } from "./admission.ts";
import type { Caller, Gate } from "./gate.ts";
import { Journey } from "./journey.ts";
import { readRequestTarget } from "./request_target.ts";
import type { SessionAddress } from "./session_address.ts";

const USER: User = { username: "jane", uid: "", groups: [], extra: {} };
const CALLER: Caller = { user: USER, token: "t" };
const TARGET: Target = {
  namespace: "default",
  podName: "web",
  podUid: "u-1",
  pod: {},
  container: { kind: "regular", name: "c", spec: { name: "c" } },
  nodeName: "node1",
  node: { metadata: { name: "node1" } },
  kubelet: { host: "10.0.0.5", port: 10250 },
};
const ADDRESS: SessionAddress = {
  kind: "exec",
  namespace: "default",
  pod: "web",
  container: "c",
  form: "pod",
};

function gateOf(
  answers: { may: boolean; mayProxy?: boolean; exists: boolean },
): { gate: Gate; asked: string[] } {
  const asked: string[] = [];
  const answer = (what: string, isGood: boolean, refusal: Refusal) => {
    asked.push(what);
    return isGood ? Promise.resolve() : Promise.reject(refusal);
  };
  const gate: Pick<Gate, "resolve" | "authorize" | "authorizeNodeProxy"> = {
    resolve: async () => {
      await answer("resolve", answers.exists, new Refusal("NotFound", 'pods "web" not found'));
      return TARGET;
    },
    authorize: () => answer("authorize", answers.may, new Refusal("Forbidden", "no exec")),
    authorizeNodeProxy: (_user, node) =>
      answer(`proxy ${node}`, answers.mayProxy ?? false, new Refusal("Forbidden", "no proxy")),
  };
  return { gate: gate as Gate, asked };
}

const cases = [
  { name: "a pod that is there, for who may", may: true, exists: true, address: ADDRESS, want: "admitted" },
  {
    name: "a pod that is not there, for who may",
    may: true,
    exists: false,
    address: ADDRESS,
    want: 'pods "web" not found',
  },
  {
    name: "a pod that is there, for who may not",
    may: false,
    exists: true,
    address: ADDRESS,
    want: "no exec",
  },
  {
    name: "a pod that is not there, for who may not: they do not learn it",
    may: false,
    exists: false,
    address: ADDRESS,
    want: "no exec",
  },
  {
    name: "the pod by its UID",
    may: true,
    exists: true,
    address: { ...ADDRESS, uid: "u-1" },
    want: "admitted",
  },
  {
    name: "another pod of the name",
    may: true,
    exists: true,
    address: { ...ADDRESS, uid: "u-2" },
    want: 'pod "web" has another UID than "u-2"',
  },
  {
    name: "its node, by the documents' path",
    may: true,
    exists: true,
    address: { ...ADDRESS, form: "legacy", node: "node1" },
    want: "admitted",
  },
  {
    name: "another node",
    may: true,
    exists: true,
    address: { ...ADDRESS, form: "legacy", node: "node2" },
    want: 'pod "web" does not run on node "node2"',
  },
  {
    name: "another node, for who may not: they do not learn where it runs",
    may: false,
    exists: true,
    address: { ...ADDRESS, form: "legacy", node: "node2" },
    want: "no exec",
  },
  {
    name: "the node's proxy, for who may exec but not that",
    may: true,
    exists: true,
    address: { ...ADDRESS, form: "node_proxy", node: "node1" },
    want: "no proxy",
  },
  {
    name: "the node's proxy, for who may that but not exec: the way around is closed",
    may: false,
    mayProxy: true,
    exists: true,
    address: { ...ADDRESS, form: "node_proxy", node: "node1" },
    want: "no exec",
  },
  {
    name: "the node's proxy, for who may both",
    may: true,
    mayProxy: true,
    exists: true,
    address: { ...ADDRESS, form: "node_proxy", node: "node1" },
    want: "admitted",
  },
] as const;

for (const { name, address, want, ...answers } of cases) {
  Deno.test(`admit: ${name}`, async () => {
    const { gate } = gateOf(answers);
    const said = await admit(journeyOf(), gate, CALLER, address).then(
      () => "admitted",
      (thrown) => thrown.message,
    );
    assert.equal(said, want);
  });
}

Deno.test("admit asks for the target while it asks whether the caller may, and for the node's proxy only where it is used", async () => {
  const { gate, asked } = gateOf({ may: true, exists: true });
  await admit(journeyOf(), gate, CALLER, ADDRESS);
  assert.deepEqual(asked, ["resolve", "authorize"]);
});

function journeyOf(): Journey {
  const context = {
    remoteAddress: "192.0.2.1",
    remotePort: 1,
    rawTarget: "/",
    rawHeaders: [],
    signal: new AbortController().signal,
  };
  return new Journey("POST", context, readRequestTarget("/"));
}
