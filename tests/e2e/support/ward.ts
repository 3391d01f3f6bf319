import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { CHECKS, type Finding } from "../../../cli/doctor/finding.ts";
import { postern } from "../../../cli/postern.ts";
import type { GivenConfiguration } from "../../../config/gateway_configuration.ts";
import { type Cluster, ROOT, runningCluster } from "./cluster.ts";
import { asAdmin } from "./service_account.ts";
import { eventually } from "./wait.ts";

/** A rule of a role. */
export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
}

/** What the chart grants, a rule for each right. */
export const NEEDED: readonly Rule[] = [
  { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
  { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
  { apiGroups: [""], resources: ["nodes"], verbs: ["get"] },
  { apiGroups: [""], resources: ["nodes/proxy"], verbs: ["create"] },
];

const strings = z.array(z.string());

/** What `--output json` writes, as docs/doctor.md has it: these fields and no others. */
const Report = z.strictObject({
  apiVersion: z.literal("postern.dev/v1alpha1"),
  kind: z.literal("DoctorReport"),
  ok: z.boolean(),
  findings: z.array(z.strictObject({
    check: z.enum(CHECKS),
    status: z.enum(["ok", "note", "wrong", "unknown"]),
    message: z.string().min(1),
    remedy: z.string().min(1).optional(),
    grant: z.strictObject({
      subject: z.strictObject({
        kind: z.enum(["User", "Group", "ServiceAccount"]),
        name: z.string(),
        namespace: z.string().optional(),
      }),
      permissions: strings.min(1),
      namespace: z.string().optional(),
      resourceNames: strings.optional(),
      binding: z.strictObject({
        kind: z.enum(["RoleBinding", "ClusterRoleBinding"]),
        name: z.string(),
        namespace: z.string().optional(),
      }),
      role: z.strictObject({ kind: z.enum(["Role", "ClusterRole"]), name: z.string() }),
      aggregatedFrom: strings.optional(),
    }).optional(),
  })),
});

/** What the doctor found. */
export interface Examined {
  code: number;
  findings: Finding[];
  /** `check: message` of each that is wrong. */
  wrong: string[];
}

/** An installation of its own for the doctor to look at: a service account with a role, and a folder with what a gateway reads. */
export class Ward implements AsyncDisposable {
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
    await ward.write("kubeconfig", ward.kubeconfig({ token, ca }));
    const { privateKey } = generateKeyPairSync("ed25519");
    await ward.write("recordings.key", privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    return ward;
  }

  kubeconfig({ token, ca, server = this.cluster.apiServerUrl }: {
    token: string;
    /** PEM. */
    ca: string;
    server?: string;
  }): string {
    const authority = new TextEncoder().encode(ca).toBase64();
    return stringify({
      clusters: [{ name: "c", cluster: { server, "certificate-authority-data": authority } }],
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
    await this.apply([{ kind: "ClusterRole", metadata: { name: this.name }, rules }]);
  }

  /** Puts objects of RBAC into the cluster. */
  async apply(
    objects: readonly { kind: string; metadata: object; [field: string]: unknown }[],
  ): Promise<void> {
    const items = objects.map((object) => ({ apiVersion: "rbac.authorization.k8s.io/v1", ...object }));
    const list = JSON.stringify({ apiVersion: "v1", kind: "List", items });
    await asAdmin(this.cluster, "apply", "-f", await this.write("objects.json", list));
  }

  /** Writes the gateway's configuration: one that is well, but for `sections`. @returns its path */
  async configure(sections: Partial<GivenConfiguration> = {}): Promise<string> {
    const { paths } = this.cluster;
    return await this.write(
      "gateway.yaml",
      stringify({
        apiVersion: "postern.dev/v1alpha1",
        kind: "GatewayConfiguration",
        server: { tls: { certFile: paths.gatewayCertificate, keyFile: paths.gatewayKey } },
        kubernetes: { kubeconfig: "kubeconfig" },
        upstream: { kubelet: KUBELET },
        audit: { sinks: [{ type: "file", path: "audit.log" }] },
        recording: { signingKeyFile: "recordings.key", sink: { type: "folder", path: "recordings" } },
        ...sections,
      }),
    );
  }

  /** As the gateway, with the one node that there is. */
  async asGateway(sections: Partial<GivenConfiguration> = {}, ...args: string[]): Promise<Examined> {
    return await this.#examine(await this.configure(sections), "--node", "node1", ...args);
  }

  /** As the cluster's administrator. */
  async asAdministrator(...args: string[]): Promise<Examined> {
    return await this.#examine(await this.configure(), ...this.administrator(), ...args);
  }

  /** The arguments by which an administrator asks. */
  administrator(): string[] {
    const { kubeconfig } = this.cluster.paths;
    return [
      ...["--kubeconfig", kubeconfig, "--context", "admin"],
      ...["--service-account", `default/${this.name}`],
    ];
  }

  /** Rights come to the API server's authorizer a moment after they are written. */
  async finds(what: string, says: RegExp, ...args: string[]): Promise<void> {
    await eventually(what, async () => {
      const { wrong, code } = await this.asGateway({}, ...args);
      return code === 1 && wrong.some((line) => says.test(line)) ? true : undefined;
    }, { deadlineMs: 60_000 });
  }

  async #examine(config: string, ...args: string[]): Promise<Examined> {
    let [out, error] = ["", ""];
    const output = { out: (text: string) => out += text, error: (text: string) => error += text };
    const code = await postern(["doctor", "--config", config, "--output", "json", ...args], output);
    assert.notEqual(out, "", error);
    return readReport(code, out);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ignore = () => {};
    for (const kind of ["clusterrolebinding", "clusterrole"]) {
      await asAdmin(this.cluster, "delete", kind, this.name, "--ignore-not-found").catch(ignore);
    }
    await asAdmin(this.cluster, "-n", "default", "delete", "serviceaccount", this.name).catch(ignore);
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** How kubelets are reached here. */
export const KUBELET: { addressTypes: ["Hostname"]; allowedAddresses: string[] } = {
  addressTypes: ["Hostname"],
  allowedAddresses: ["127.0.0.0/8"],
};

/** Reads a report, which must be as it is documented: what is wrong is never said without how to mend it. */
export function readReport(code: number, text: string): Examined {
  const { ok, findings } = Report.parse(JSON.parse(text));
  assert.equal(code, ok ? 0 : 1);
  const wrong = findings.flatMap(({ check, status, message, remedy }) => {
    if (status !== "wrong") return [];
    assert.ok(remedy, `it says how to mend: ${message}`);
    return [`${check}: ${message}`];
  });
  assert.equal(ok, wrong.length === 0);
  return { code, findings: JSON.parse(text).findings, wrong };
}

/** Runs `postern` as `deno task postern` does: with those permissions, and no others. */
export async function runPostern(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const { tasks } = Tasks.parse(JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))));
  const [, ...words] = tasks.postern.command.split(" ");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...words, ...args],
    cwd: ROOT,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), error: text(stderr) };
}

const Tasks = z.object({
  tasks: z.object({ postern: z.object({ command: z.string().startsWith("deno run ") }) }),
});
