/** `postern doctor` in front of the real cluster: each fault is made for real, by a gateway's account that is this test's own. */

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Finding } from "../../cli/doctor/finding.ts";
import { postern } from "../../cli/postern.ts";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import { issue, makeCa } from "../support/certificates.ts";
import { type Cluster, runningCluster, tokenOf } from "./support/cluster.ts";
import { asAdmin, issueToken } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** As the chart grants it. */
const NEEDED: readonly Rule[] = [
  { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
  { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
  { apiGroups: [""], resources: ["pods", "nodes"], verbs: ["get"] },
  { apiGroups: [""], resources: ["nodes/proxy"], verbs: ["create"] },
];

/** A service account with a role, and a folder with what a gateway reads. */
class Ward implements AsyncDisposable {
  private constructor(readonly cluster: Cluster, readonly folder: string, readonly name: string) {}

  static async open(rules: readonly Rule[] = NEEDED): Promise<Ward> {
    const cluster = await runningCluster();
    const folder = await Deno.makeTempDir({ prefix: "postern-doctor-" });
    const ward = new Ward(cluster, folder, `doctor-${crypto.randomUUID().slice(0, 8)}`);
    await asAdmin(cluster, "-n", "default", "create", "serviceaccount", ward.name);
    await ward.grant(rules);
    const subject = `--serviceaccount=default:${ward.name}`;
    await asAdmin(cluster, "create", "clusterrolebinding", ward.name, `--clusterrole=${ward.name}`, subject);
    const token = await asAdmin(cluster, "-n", "default", "create", "token", ward.name);
    const ca = await Deno.readTextFile(cluster.paths.caCertificate);
    await ward.write("kubeconfig", ward.kubeconfig(token, ca));
    const { privateKey } = generateKeyPairSync("ed25519");
    await ward.write("recordings.key", privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    return ward;
  }

  kubeconfig(token: string, ca: string): string {
    return stringify({
      clusters: [{
        name: "c",
        cluster: {
          server: this.cluster.apiServerUrl,
          "certificate-authority-data": new TextEncoder().encode(ca).toBase64(),
        },
      }],
      users: [{ name: "u", user: { token } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    });
  }

  async write(name: string, text: string): Promise<string> {
    const path = join(this.folder, name);
    await Deno.writeTextFile(path, text, { mode: 0o600 });
    return path;
  }

  /** Gives the account these rights, and no others. */
  async grant(rules: readonly Rule[]): Promise<void> {
    await this.apply({ kind: "ClusterRole", metadata: { name: this.name }, rules });
  }

  /** Puts an object of RBAC into the cluster. */
  async apply(object: { kind: string; metadata: object; [field: string]: unknown }): Promise<void> {
    const whole = { apiVersion: "rbac.authorization.k8s.io/v1", ...object };
    await asAdmin(this.cluster, "apply", "-f", await this.write("object.json", JSON.stringify(whole)));
  }

  async examine(sections: Partial<GivenConfiguration> = {}, ...args: string[]) {
    const { paths } = this.cluster;
    const config = await this.write(
      "gateway.yaml",
      stringify({
        apiVersion: "postern.dev/v1alpha1",
        kind: "GatewayConfiguration",
        server: { tls: { certFile: paths.gatewayCertificate, keyFile: paths.gatewayKey } },
        kubernetes: { kubeconfig: "kubeconfig" },
        upstream: { kubelet: { addressTypes: ["Hostname"], allowedAddresses: ["127.0.0.0/8"] } },
        audit: { sinks: [{ type: "file", path: "audit.log" }] },
        recording: { signingKeyFile: "recordings.key", sink: { type: "folder", path: "recordings" } },
        ...sections,
      }),
    );
    let [out, error] = ["", ""];
    const output = { out: (text: string) => out += text, error: (text: string) => error += text };
    const words = ["doctor", "--config", config, "--output", "json", ...args];
    const code = await postern(words, output);
    assert.notEqual(out, "", error);
    const findings: Finding[] = JSON.parse(out).findings;
    const wrong = findings.flatMap(({ check, status, message, remedy }) => {
      if (status !== "wrong") return [];
      assert.ok(remedy, `it says how to mend: ${message}`);
      return [`${check}: ${message}`];
    });
    return { code, findings, wrong };
  }

  /** As the gateway, with the one node that there is. */
  asGateway(sections: Partial<GivenConfiguration> = {}, ...args: string[]) {
    return this.examine(sections, "--node", "node1", ...args);
  }

  /** As the cluster's administrator. */
  asAdministrator(...args: string[]) {
    const { kubeconfig } = this.cluster.paths;
    const admin = ["--kubeconfig", kubeconfig, "--context", "admin"];
    return this.examine({}, ...admin, "--service-account", `default/${this.name}`, ...args);
  }

  /** Rights come to the API server's authorizer a moment after they are written. */
  async finds(what: string, says: RegExp, ...args: string[]): Promise<void> {
    await eventually(what, async () => {
      const { wrong, code } = await this.asGateway({}, ...args);
      return code === 1 && wrong.some((line) => says.test(line)) ? true : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ignore = () => {};
    const named = [this.name, `${this.name}-more`, `${this.name}-source`, "--ignore-not-found"];
    await asAdmin(this.cluster, "delete", "clusterrolebinding", ...named).catch(ignore);
    await asAdmin(this.cluster, "delete", "clusterrole", ...named).catch(ignore);
    await asAdmin(this.cluster, "-n", "default", "delete", "serviceaccount", this.name).catch(ignore);
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test({
  name: "postern doctor, on the real cluster",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using ward = await Ward.open();

    await t.step("finds nothing wrong with a gateway that has the rights that the chart grants", async () => {
      // A kubelet remembers a refusal for half a minute: it is asked once the rights are known.
      await eventually("the rights are known", async () => {
        return (await ward.asGateway({}, "--skip", "kubelets")).code === 0 || undefined;
      });
      const { code, wrong, findings } = await ward.asGateway();
      assert.deepEqual([code, wrong], [0, []]);
      const found = findings.filter(({ check }) => check === "kubelets").map(({ status }) => status);
      assert.deepEqual(found, ["ok"]);
    });

    for (const { resources: [resource = ""] } of NEEDED) {
      await t.step(`finds that the right to ${resource} was taken away`, async () => {
        await ward.grant(NEEDED.filter(({ resources }) => !resources.includes(resource)));
        const says = new RegExp(`^rbac: .* may not (create|get) ${resource}`);
        await ward.finds(`the right to ${resource} is gone`, says, "--skip", "kubelets");
      });
    }

    await t.step("finds that the kubelet refuses whom RBAC does", async () => {
      await ward.grant(NEEDED);
      // Another account: a kubelet remembers for minutes whom it has let in.
      await using stranger = await Ward.open(
        NEEDED.filter(({ resources }) => !resources.includes("nodes/proxy")),
      );
      await stranger.finds("it refuses", /^kubelets: the kubelet of node1 .* refuses the gateway$/);
    });

    await t.step("names a right that is not needed, and to an administrator the binding", async () => {
      await ward.grant([...NEEDED, { apiGroups: [""], resources: ["secrets"], verbs: ["list"] }]);
      await ward.finds("secrets are too much", /^rbac-excess: .* may list secrets, which it does not need$/);
      const { wrong } = await ward.asAdministrator("--skip", "bypass");
      const by = new RegExp(
        `may list secrets, by ClusterRoleBinding ${ward.name} \\(ClusterRole ${ward.name}\\)`,
      );
      assert.match(wrong.join("\n"), by);
      await ward.grant(NEEDED);
    });

    await t.step("finds an API server and kubelets that somebody else has signed", async () => {
      const { cert } = await makeCa("somebody else");
      await ward.write("stranger", ward.kubeconfig("none", cert));
      await ward.write("stranger.crt", cert);
      const api = await ward.asGateway({ kubernetes: { kubeconfig: "stranger" } });
      assert.match(api.wrong.join("\n"), /^api-server: .* is not trusted: /m);
      const kubelet = { addressTypes: ["Hostname" as const], allowedAddresses: ["127.0.0.0/8"] };
      const nodes = await ward.asGateway({ upstream: { kubelet: { ...kubelet, caFile: "stranger.crt" } } });
      assert.match(nodes.wrong.join("\n"), /^kubelets: the kubelet of node1 .* is not trusted: /m);
      const away = { upstream: { kubelet: { ...kubelet, allowedAddresses: ["10.0.0.0/8"] } } };
      assert.match((await ward.asGateway(away)).wrong.join("\n"), /^kubelets: .* may not be dialled: /m);
    });

    await t.step(
      "finds an expired certificate, a key that others read, and a sink that takes nothing",
      async () => {
        const day = 86_400_000;
        const times = { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - day) };
        const { cert, key } = await issue(await makeCa(), times);
        const tls = {
          certFile: await ward.write("old.crt", cert),
          keyFile: await ward.write("old.key", key),
        };
        await Deno.chmod(tls.keyFile, 0o644);
        const audit = { sinks: [{ type: "file" as const, path: "old.crt/audit.log" }] };
        const { wrong } = await ward.asGateway({ server: { tls }, audit });
        for (
          const says of [
            /^certificates: .* expired at/m,
            /^keys: .* is open to everybody/m,
            /^sinks: audit file/m,
          ]
        ) {
          assert.match(wrong.join("\n"), says);
        }
      },
    );

    await t.step("tells whether a token is for the audience that the gateway asks for", async () => {
      const meant = await ward.write("meant", await issueToken(ward.cluster, "--audience=postern"));
      const other = await ward.write("other", await tokenOf(ward.cluster, "alice"));
      const authentication = { audiences: ["postern"] };
      const good = await ward.asGateway({ authentication }, "--token-file", meant);
      assert.deepEqual(good.wrong, []);
      const bad = await ward.asGateway({ authentication }, "--token-file", other);
      assert.match(bad.wrong.join("\n"), /^token-review: the token /m);
      const without = await ward.asGateway({}, "--token-file", meant);
      assert.match(without.wrong.join("\n"), /^token-review: the token is nobody's/m);
    });

    await t.step(
      "names who can go around, through aggregation and wildcards, and nobody who cannot",
      async () => {
        const label = { [`${ward.name}.postern.test/aggregate`]: "true" };
        const [more, source] = [`${ward.name}-more`, `${ward.name}-source`];
        const rules = [{ apiGroups: [""], resources: ["*/exec"], verbs: ["get"] }];
        await ward.apply({ kind: "ClusterRole", metadata: { name: source, labels: label }, rules });
        await ward.apply({
          kind: "ClusterRole",
          metadata: { name: more },
          aggregationRule: { clusterRoleSelectors: [{ matchLabels: label }] },
          rules: [],
        });
        await asAdmin(
          ward.cluster,
          "create",
          "clusterrolebinding",
          more,
          `--clusterrole=${more}`,
          `--group=${more}`,
        );
        const { findings } = await ward.asAdministrator();
        const grants = findings.flatMap(({ grant }) => grant === undefined ? [] : [grant]);
        const found = grants.find(({ subject }) => subject.name === more);
        assert.deepEqual([found?.permissions, found?.aggregatedFrom], [["get pods/exec"], [source]]);

        const names = grants.map(({ subject }) => subject.name);
        for (const name of ["alice", "carol", "root", "system:masters"]) {
          assert.ok(names.includes(name), name);
        }
        assert.ok(!names.includes("bob"), "bob may only look");
        // What is named is true: the API server says so, too.
        await eventually("the API server knows the group's right", async () => {
          const args = [
            "auth",
            "can-i",
            "get",
            "pods",
            "--subresource=exec",
            "-A",
            "--as=eve",
            `--as-group=${more}`,
          ];
          return await asAdmin(ward.cluster, ...args).catch(() => "no") === "yes" ? true : undefined;
        });
      },
    );
  },
});
