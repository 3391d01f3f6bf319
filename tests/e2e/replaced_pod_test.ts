/** A pod that was put in the place of another, which still ends: a kubelet looks for a name, and would open the other. */

import assert from "node:assert/strict";
import { tokenOf } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { createPod, deletePod, IMAGE } from "./support/pods.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

const POD = "e2e-replaced";
const PODS = "/api/v1/namespaces/default/pods";

/** What alice may here beside what she may always: what an editor of a namespace may. */
const ROLE = "e2e-replaced-alice";

Deno.test({
  name:
    "escape: who replaces a privileged pod by a plain one of its name does not come out in the one that still ends",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const { cluster, url } = gateway();
    const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
    using client = Deno.createHttpClient({ caCerts });
    const headers = {
      "Authorization": `Bearer ${await tokenOf(cluster, "alice")}`,
      "Content-Type": "application/json",
    };
    const ask = async (method: string, target: string, body?: unknown) => {
      const sent = { client, method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
      const response = await fetch(target, sent);
      return { code: response.status, text: await response.text() };
    };
    const whoIsIt = () => ask("POST", `${url}/proxy/nodes/node1/run/default/${POD}/main?cmd=env`);
    const pods = cluster.apiServerUrl + PODS;
    try {
      await createPod(cluster, POD, { containers: { main: containerOf("privileged") } });
      await asAdmin(cluster, "create", "role", ROLE, "--verb=create,delete", "--resource=pods");
      await asAdmin(cluster, "create", "rolebinding", ROLE, `--role=${ROLE}`, "--user=alice");
      await eventually("alice may replace pods", async () => {
        return (await ask("DELETE", `${pods}/${POD}-none`)).code === 404 || undefined;
      });
      const before = await whoIsIt();
      assert.deepEqual([before.code, /only cluster-admins/.test(before.text)], [403, true], before.text);

      // It gets a minute to end, and then its name is taken from it.
      const slowly = await ask("DELETE", `${pods}/${POD}?gracePeriodSeconds=60`);
      assert.equal(slowly.code, 200, slowly.text);
      const atOnce = await ask("DELETE", `${pods}/${POD}?gracePeriodSeconds=0`);
      assert.equal(atOnce.code, 200, atOnce.text);
      const created = await ask("POST", pods, plainPod());
      assert.equal(created.code, 201, created.text);

      let last = "";
      await eventually("the plain pod is opened", async () => {
        const { code, text } = await whoIsIt();
        last = `${code} ${/^WHO=(.*)$/m.exec(text)?.[1] ?? text}`;
        assert.notEqual(last, "200 privileged", "the pod that still ended was opened");
        return last === "200 plain" || undefined;
      }, { deadlineMs: 60_000, everyMs: 10 }).catch((cause) => assert.fail(`${cause.message}: ${last}`));
    } finally {
      await asAdmin(cluster, "delete", "role,rolebinding", ROLE, "--ignore-not-found");
      await deletePod(cluster, POD);
    }
  },
});

/** Ends when it must, and not before. */
function containerOf(who: "privileged" | "plain") {
  return {
    command: ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
    env: [{ name: "WHO", value: who }],
    securityContext: { privileged: who === "privileged" },
  };
}

function plainPod(): unknown {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: POD },
    spec: {
      nodeName: "node1",
      automountServiceAccountToken: false,
      dnsPolicy: "Default",
      terminationGracePeriodSeconds: 0,
      restartPolicy: "Never",
      containers: [{ name: "main", image: IMAGE, imagePullPolicy: "Never", ...containerOf("plain") }],
    },
  };
}
