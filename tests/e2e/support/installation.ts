import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { buildImage } from "../../../deploy/image/build.ts";
import { CHART, findHelm, helm, type Said } from "../../../deploy/helm/helm.ts";
import { ownPlatform } from "../../../deploy/image/platform.ts";
import { importImage } from "../../cluster/containerd.ts";
import { layout } from "../../cluster/layout.ts";
import { type Cluster, ROOT, runningCluster, type User, writeKubeconfig } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";
import { asAdmin } from "./service_account.ts";

/** How long Helm waits for what it has made, as it takes it. */
const WAIT = ["--wait", "--timeout=120s"];

/** In docs/doctor.md: what the image's entry point is, for `kubectl exec`, which does not know it. */
const ENTRY_POINT = / exec deploy\/postern -- (.+ \/app\/postern\.js) /;

const Pods = z.object({
  items: z.array(z.object({
    metadata: z.object({
      name: z.string(),
      uid: z.string(),
      deletionTimestamp: z.iso.datetime().optional(),
      deletionGracePeriodSeconds: z.int().optional(),
    }),
    status: z.object({
      podIP: z.string().optional(),
      conditions: z.array(z.object({ type: z.string(), status: z.string() })).optional(),
    }),
  })),
});

/** A gateway's pod. */
export interface Replica {
  name: string;
  uid: string;
  /** Absent until the pod has one. */
  address: string | undefined;
  isReady: boolean;
  /** When it was asked to end at the earliest, in Unix milliseconds: what Kubernetes says of it has whole seconds. */
  askedToEndAtMs: number | undefined;
}

/**
 * The chart in the test cluster, in a namespace that admits only what Pod Security `restricted` does, with a volume of its
 * own for evidence. There is no storage class here: the volume is a folder of this machine.
 */
export class Installation implements AsyncDisposable {
  /** Of the evidence, on this machine. */
  readonly evidence: string;

  private constructor(
    readonly cluster: Cluster,
    readonly helmBinary: string,
    readonly namespace: string,
    readonly folder: string,
  ) {
    this.evidence = join(folder, "evidence");
  }

  /** Builds Helm and the image where that was not done, and makes the namespace and the volume: nothing is installed. */
  static async prepare(namespace: string): Promise<Installation> {
    const cluster = await runningCluster();
    const binary = await findHelm();
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-helm-" });
    await Deno.chmod(folder, 0o755);
    const { archive } = await buildImage([ownPlatform()], folder);
    await importImage(layout(cluster.directory), archive);
    await Deno.remove(archive);
    const installation = new Installation(cluster, binary, namespace, folder);
    await Deno.mkdir(installation.evidence);
    await installation.#removeWhatIsThere();
    await installation.apply([
      {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
      },
      installation.#volume(),
    ]);
    return installation;
  }

  /** Of this kind of values nothing is said that anybody else would not have to say as well. */
  get values(): Record<string, unknown> {
    return {
      image: { pullPolicy: "Never" },
      evidence: { volume: { storageClassName: this.namespace, size: "1Gi" } },
      networkPolicy: { dns: false },
    };
  }

  /** @param values beside {@linkcode values}, as the chart takes them */
  async install(values: Record<string, unknown>): Promise<string> {
    const files = [...await this.#valuesFile("base", this.values), ...await this.#valuesFile("more", values)];
    const said = await this.helm("install", "postern", CHART, ...WAIT, ...files);
    assert.ok(said.success, `${said.error}\n${await this.#whatIsWrong()}`);
    return said.out;
  }

  /** Changes the values that are given, and keeps all others. */
  async upgrade(values: Record<string, unknown>, ...args: string[]): Promise<Said> {
    const given = await this.#valuesFile("changed", values);
    return await this.helm("upgrade", "postern", CHART, "--reuse-values", ...WAIT, ...given, ...args);
  }

  async rollback(revision: number): Promise<void> {
    const said = await this.helm("rollback", "postern", String(revision), ...WAIT);
    assert.ok(said.success, said.error);
  }

  async uninstall(): Promise<string> {
    const said = await this.helm("uninstall", "postern", ...WAIT);
    assert.ok(said.success, said.error);
    return said.out;
  }

  /** Helm as the cluster's administrator, in the namespace. */
  async helm(...args: string[]): Promise<Said> {
    const { paths: { kubeconfig } } = this.cluster;
    return await helm(
      this.helmBinary,
      ...args,
      `--namespace=${this.namespace}`,
      `--kubeconfig=${kubeconfig}`,
      "--kube-context=admin",
    );
  }

  /** kubectl as the cluster's administrator, straight at the API server, in the namespace. */
  async kubectl(...args: string[]): Promise<string> {
    return await asAdmin(this.cluster, "--namespace", this.namespace, ...args);
  }

  /** The gateways' pods, those that end among them. */
  async replicas(): Promise<Replica[]> {
    const selector = "--selector=app.kubernetes.io/component=gateway";
    const { items } = Pods.parse(JSON.parse(await this.kubectl("get", "pods", selector, "-o", "json")));
    return items.map(({ metadata: { name, uid, ...end }, status }) => ({
      ...{ name, uid, address: status.podIP },
      isReady: status.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false,
      askedToEndAtMs: end.deletionTimestamp === undefined
        ? undefined
        : Date.parse(end.deletionTimestamp) - (end.deletionGracePeriodSeconds ?? 0) * 1000,
    }));
  }

  /** The `postern` command in a gateway's pod. @returns what it wrote */
  async postern(replica: Pick<Replica, "name">, ...args: string[]): Promise<string> {
    const [, entryPoint] = ENTRY_POINT.exec(await Deno.readTextFile(join(ROOT, "docs", "doctor.md"))) ?? [];
    assert.ok(entryPoint !== undefined);
    return await this.kubectl("exec", replica.name, "--", ...entryPoint.split(" "), ...args);
  }

  /** A value of a Secret, decoded. */
  async secret(name: string, key: string): Promise<string> {
    const path = `jsonpath={.data.${key.replaceAll(".", "\\.")}}`;
    return atob(await this.kubectl("get", "secret", name, "-o", path));
  }

  /** What the certificate says. */
  get serviceName(): string {
    return `postern.${this.namespace}.svc`;
  }

  /** Where the Service is, within the cluster. */
  async serviceUrl(): Promise<string> {
    return `https://${await this.kubectl("get", "service", "postern", "-o", "jsonpath={.spec.clusterIP}")}`;
  }

  /**
   * Writes a kubeconfig whose users come to the gateway at `url`, whose certificate must be of the installation's authority
   * and for the Service's name. @returns its path
   */
  async kubeconfig(url: string, name: string): Promise<string> {
    const path = join(this.folder, `${name}.kubeconfig`);
    const tls = {
      "certificate-authority-data": btoa(await this.secret("postern-tls", "ca.crt")),
      "tls-server-name": this.serviceName,
    };
    await writeKubeconfig(this.cluster, url, path);
    const Config = z.looseObject({ clusters: z.array(z.looseObject({ cluster: z.looseObject({}) })) });
    const config = Config.parse(JSON.parse(await Deno.readTextFile(path)));
    for (const each of config.clusters) {
      delete each.cluster["certificate-authority"];
      Object.assign(each.cluster, tls);
    }
    await Deno.writeTextFile(path, JSON.stringify(config));
    return path;
  }

  /** Runs kubectl by a kubeconfig, as somebody. */
  async as(user: User, kubeconfig: string, ...args: string[]) {
    const { code, stdout, stderr } = await kubectl({
      cluster: this.cluster,
      endpoint: { kubeconfig },
      user,
      args,
    });
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  async apply(objects: readonly unknown[]): Promise<void> {
    const file = join(this.folder, "objects.json");
    await Deno.writeTextFile(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
    await asAdmin(this.cluster, "apply", "-f", file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#removeWhatIsThere();
    await Deno.remove(this.folder, { recursive: true });
  }

  /** What a run before this one has left, or this one. */
  async #removeWhatIsThere(): Promise<void> {
    await this.helm("uninstall", "postern", "--ignore-not-found");
    await asAdmin(this.cluster, "delete", "namespace", this.namespace, "--ignore-not-found", "--timeout=90s");
    await asAdmin(this.cluster, "delete", "persistentvolume", this.namespace, "--ignore-not-found");
  }

  /** As of a class that has a name and no provisioner. It is `local` because Kubernetes gives such to the pod's group. */
  #volume() {
    const hostname = { key: "kubernetes.io/hostname", operator: "Exists" };
    return {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: this.namespace },
      spec: {
        accessModes: ["ReadWriteMany"],
        capacity: { storage: "1Gi" },
        storageClassName: this.namespace,
        persistentVolumeReclaimPolicy: "Retain",
        local: { path: this.evidence },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } },
      },
    };
  }

  async #valuesFile(name: string, values: Record<string, unknown>): Promise<string[]> {
    const file = join(this.folder, `${name}-values.yaml`);
    await Deno.writeTextFile(file, stringify(values));
    return ["--values", file];
  }

  /** For who reads that the gateways did not come up. */
  async #whatIsWrong(): Promise<string> {
    const events = await this.kubectl("get", "events", "--field-selector=type=Warning");
    const log = await this.kubectl("logs", "--selector=app.kubernetes.io/component=gateway", "--tail=20")
      .catch(String);
    return `${events}\n${log}`;
  }
}
