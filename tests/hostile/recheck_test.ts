/** Sessions of a whole gateway in front of a cluster that changes its mind: by a real socket, without a real cluster. */

import assert from "node:assert/strict";
import type { RawClient } from "../../server/test_front.ts";
import { ALICE, HostileScene, readAnswer, requestText, SPDY } from "./support/hostile_scene.ts";
import type { MadeUpCluster } from "./support/made_up_cluster.ts";

const CASES: {
  what: string;
  change: (cluster: MadeUpCluster) => void;
  reason: string;
  message: RegExp;
}[] = [
  {
    what: "a token that is revoked",
    change: (cluster) => cluster.isTokenGood = false,
    reason: "credential_revoked",
    message: /^the credential that opened the session is no longer valid/,
  },
  {
    what: "a permission that is withdrawn",
    change: (cluster) => cluster.isAllowed = false,
    reason: "access_revoked",
    message:
      /^access was withdrawn, so the session ends: pods "web" is forbidden: User "alice" cannot create/,
  },
  {
    what: "an API server that answers with errors for longer than is granted",
    change: (cluster) => cluster.isAnswering = false,
    reason: "access_unconfirmed",
    message: /^for 1s nobody could say/,
  },
];

const EXEC = "/api/v1/namespaces/default/pods/web/exec?command=id&stdin=1&stdout=1&container=main";
const FORWARD = "/api/v1/namespaces/default/pods/web/portforward";

Deno.test({
  name: `attack: no session outlives ${CASES.map(({ what }) => what).join(", or ")}`,
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => void await Promise.all(CASES.map(outlive)), // at once: they wait most of their time
});

async function outlive({ what, change, reason, message }: typeof CASES[number]): Promise<void> {
  await using scene = await HostileScene.start({ sessions: { recheckSeconds: 1, recheckGraceSeconds: 1 } });
  const targets = [EXEC, FORWARD, EXEC.replace("exec", "attach").replace("command=id&", "")];
  const clients = await Promise.all(targets.map((target) => open(scene, target)));
  change(scene.cluster);
  for (const { client, auditId } of clients) {
    await client.readBytes(1); // the end is told to a client; one that goes then is not waited for
    client[Symbol.dispose]();
    const end = await scene.eventOf(({ auditID, annotations }) =>
      auditID === auditId && annotations["postern.dev/event"] === "end"
    );
    assert.equal(end.annotations["postern.dev/end-reason"], reason, what);
    assert.match(end.annotations["postern.dev/message"] ?? "", message);
    assert.equal(end.responseStatus?.status, "Failure");
  }
  if (reason !== "credential_revoked") return;
  // What was remembered of the token when it was good is forgotten with its sessions.
  const again = await scene.exchange(requestText(`POST ${EXEC}`, [...ALICE, ...SPDY]));
  assert.equal(again.code, 401, again.body);
}

Deno.test({
  name:
    "sessions outlive an API server that answers with errors for a while, and are asked about no more than promised",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using scene = await HostileScene.start({
      sessions: { recheckSeconds: 1, recheckGraceSeconds: 60 },
    });
    const { cluster } = scene;
    const clients = await Promise.all(Array.from({ length: 20 }, () => open(scene, EXEC)));
    cluster.forget();
    const beganMs = performance.now();
    cluster.isAnswering = false;
    const state = (wanted: string) =>
      scene.eventOf(({ annotations }) => annotations["postern.dev/recheck"] === wanted);
    await state("unanswered");
    cluster.isAnswering = true;
    await state("answered");
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    // Twenty sessions of one user in one pod: what was answered is not asked again for a quarter of the period.
    const most = Math.floor((performance.now() - beganMs) / 250) + 1;
    assert.ok(
      cluster.reviewed.length > 0 && cluster.reviewed.length <= most,
      `${cluster.reviewed.length} of ${most}`,
    );
    assert.ok(
      cluster.access.length > 0 && cluster.access.length <= most,
      `${cluster.access.length} of ${most}`,
    );
    for (const { client } of clients) client[Symbol.dispose]();
  },
});

async function open(scene: HostileScene, target: string): Promise<{ client: RawClient; auditId: string }> {
  const client = await scene.connect();
  const lines = target === FORWARD
    ? SPDY.map((line) => line.replace("v4.channel.k8s.io", "portforward.k8s.io"))
    : SPDY;
  await client.send(requestText(`POST ${target}`, [...ALICE, ...lines]));
  const { code, head, body } = await readAnswer(client);
  assert.equal(code, 101, body);
  return { client, auditId: /^audit-id: (\S+)/im.exec(head)?.[1] ?? "" };
}
