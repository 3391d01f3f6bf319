import assert from "node:assert/strict";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import type { AnsweredAgain } from "./gate.ts";
import { Journey } from "./journey.ts";
import { reconsider } from "./reconsider.ts";
import { readRequestTarget } from "./request_target.ts";
import type { SessionAddress } from "./session_address.ts";

const JANE: User = { username: "jane", uid: "1", groups: ["dev"], extra: {} };
const ADDRESS: SessionAddress = {
  kind: "exec",
  namespace: "default",
  pod: "web",
  container: "c",
  form: "pod",
};
const TARGET = {
  ...{ namespace: "default", podName: "web", podUid: "u-1", pod: {}, nodeName: "n", node: {} },
  kubelet: { host: "10.0.0.5", port: 10250 },
};

/** What each step throws; nothing: it agrees. */
interface Answers {
  authenticate?: Refusal;
  /** Who the credential belongs to by now. */
  owner?: User;
  impersonate?: Refusal;
  authorize?: Refusal;
  authorizeNodeProxy?: Refusal;
  decide?: "deny" | Refusal;
}

const forbidden = new Refusal("Forbidden", "no");
const away = new Refusal("ServiceUnavailable", "away");

const cases: { name: string; answers: Answers; form?: SessionAddress["form"]; want: string }[] = [
  { name: "all agree", answers: {}, want: "authenticate impersonate authorize decide: goes on" },
  {
    name: "the credential is revoked",
    answers: { authenticate: new Refusal("Unauthorized", "Unauthorized") },
    want: "authenticate: Unauthorized Unauthorized",
  },
  {
    name: "the user is in other groups by now",
    answers: { owner: { ...JANE, groups: ["ops"] } },
    want: "authenticate impersonate authorize decide: goes on",
  },
  {
    name: "attack: the token is somebody else's by now",
    answers: { owner: { ...JANE, username: "mallory" } },
    want: "authenticate impersonate: Unauthorized Unauthorized",
  },
  {
    name: "attack: the account was deleted and made again under its name",
    answers: { owner: { ...JANE, uid: "2" } },
    want: "authenticate impersonate: Unauthorized Unauthorized",
  },
  {
    name: "they may no longer act as whom they do",
    answers: { impersonate: forbidden },
    want: "authenticate impersonate: Forbidden no",
  },
  {
    name: "they may no longer open such sessions",
    answers: { authorize: forbidden },
    want: "authenticate impersonate authorize: Forbidden no",
  },
  {
    name: "they may no longer come by the node's proxy",
    answers: { authorizeNodeProxy: forbidden },
    form: "node_proxy",
    want: "authenticate impersonate authorize authorizeNodeProxy: Forbidden no",
  },
  {
    name: "they are no cluster-admin any more",
    answers: { decide: "deny" },
    want: 'authenticate impersonate authorize decide: Forbidden pods "web" is forbidden: privileged',
  },
  {
    name: "nobody can tell",
    answers: { authorize: away },
    want: "authenticate impersonate authorize: ServiceUnavailable away",
  },
];

for (const { name, answers, form = ADDRESS.form, want } of cases) {
  Deno.test(`reconsider: ${name}`, async () => {
    const asked: string[] = [];
    const step = (what: keyof AnsweredAgain, refusal: Refusal | undefined) => {
      asked.push(what);
      return refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
    };
    const owner = answers.owner ?? JANE;
    const again: AnsweredAgain = {
      authenticate: () => step("authenticate", answers.authenticate).then(() => owner),
      impersonate: (user) => step("impersonate", answers.impersonate).then(() => ({ user })),
      authorize: () => step("authorize", answers.authorize),
      require: () => assert.fail("a session asks for no more"),
      authorizeNodeProxy: () => step("authorizeNodeProxy", answers.authorizeNodeProxy),
      decide: async () => {
        await step("decide", answers.decide instanceof Refusal ? answers.decide : undefined);
        const rule = { rule: "privileged-container", reason: "privileged" };
        return answers.decide === "deny"
          ? { allowed: false, ...rule }
          : { allowed: true, ...rule, obligations: [] };
      },
    };
    const plan = {
      address: { ...ADDRESS, form, ...(form === "node_proxy" && { node: "n" }) },
      target: TARGET,
      caller: { user: JANE, token: "t" },
    };
    const signal = new AbortController().signal;
    const said = await reconsider(journey(), again, plan, signal).then(
      () => "goes on",
      ({ reason, message }) => `${reason} ${message}`,
    );
    assert.equal(`${asked.join(" ")}: ${said}`, want);
  });
}

function journey(): Journey {
  const { signal } = new AbortController();
  const context = { remoteAddress: "192.0.2.1", remotePort: 1, rawTarget: "/", rawHeaders: [], signal };
  return new Journey("POST", context, readRequestTarget("/"));
}
