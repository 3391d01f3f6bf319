import assert from "node:assert/strict";
import { eventually } from "../../e2e/support/wait.ts";
import { asAdmin } from "../../e2e/support/service_account.ts";
import { makeCa } from "../../support/certificates.ts";
import type { Fault } from "../fault.ts";
import { toldAtOnce } from "./api_server.ts";
import type { Scene } from "../support/scene.ts";

const NAMESPACE = ["--namespace", "postern-system"];
/** Credentials are read again after ten seconds, and the API server believes a token for as long after it was taken back. */
const NOTICED_MS = 30_000;

/** Files that are replaced under the running gateway. */
export const ROTATION: readonly Fault[] = [
  {
    title: "Postern's certificate is renewed",
    how: "Its files are replaced; `server.tls.reloadSeconds` is 1 here.",
    arrangement: "behind a proxy",
    live: { outcome: "go on", forMs: 3_000 },
    inject: async (scene) => {
      await scene.gateway.renewCertificate();
      await eventually(
        "the gateway says so",
        async () => (await scene.gateway.log()).includes("the certificate was renewed") || undefined,
      );
    },
    recoversWithinMs: 2_000,
  },
  {
    title: "Postern's service account token is taken back, then renewed",
    how: "The Secret that the token is bound to is deleted; later another token is written to its file.",
    arrangement: "behind a proxy",
    live: { outcome: "go on", forMs: 1_000 },
    inject: async (scene) => {
      await useToken(scene, "postern-faults-a");
      await eventually(
        "the gateway shows the new token",
        async () => await showsOwnToken(scene) || undefined,
        { deadlineMs: NOTICED_MS, everyMs: 500 },
      );
      await asAdmin(scene.cluster, "delete", "secret", "postern-faults-a", ...NAMESPACE);
      return await scene.refused(NOTICED_MS);
    },
    heal: async (scene) => {
      await useToken(scene, "postern-faults-b");
    },
    recoversWithinMs: NOTICED_MS,
  },
  {
    title: "The cluster's CA is rotated, the servers before the bundle",
    how:
      "The API server shows a certificate of an authority that the bundle does not hold yet; then the bundle does.",
    arrangement: "behind a proxy",
    live: { outcome: "go on", forMs: 1_000 },
    inject: async (scene) => {
      next = await makeCa("postern faults, the next authority");
      await scene.proxy.changeAuthority(next);
      return await toldAtOnce(scene);
    },
    heal: async ({ gateway, proxyCa }) => {
      assert.ok(next);
      const bundle = await Deno.readTextFile(gateway.path("ca.crt"));
      await gateway.replace("ca.crt", [bundle.replace(proxyCa.cert, ""), next.cert].join("\n"));
    },
    recoversWithinMs: NOTICED_MS,
  },
];

let next: Awaited<ReturnType<typeof makeCa>> | undefined;
/** The token that was issued last. */
let issued = "";

async function useToken(scene: Scene, secret: string): Promise<void> {
  const { cluster } = scene;
  await asAdmin(cluster, "delete", "secret", secret, "--ignore-not-found", ...NAMESPACE);
  await asAdmin(cluster, "create", "secret", "generic", secret, ...NAMESPACE);
  const bound = ["--bound-object-kind", "Secret", "--bound-object-name", secret];
  issued = await asAdmin(cluster, "create", "token", "postern", ...NAMESPACE, ...bound);
  await scene.gateway.replace("token", issued);
}

async function showsOwnToken(scene: Scene): Promise<boolean> {
  await scene.probe();
  return scene.proxy.lastToken === issued;
}
