import type { Cluster } from "./cluster.ts";
import { asAdmin } from "./service_account.ts";

/** What comes and goes by itself, and is nobody's. */
const FLEETING = /^(events(\.|$)|leases\.|componentstatuses$)/;

/**
 * Every object there is of any kind: in a namespace, and of the cluster itself.
 *
 * @returns `Kind name`, sorted
 */
export async function inventory(cluster: Cluster, namespace: string): Promise<string[]> {
  const own = await list(cluster, await kinds(cluster, true), "--namespace", namespace);
  const everybodys = await list(cluster, await kinds(cluster, false));
  return [...own, ...everybodys].sort();
}

/** The kinds that can be listed. */
async function kinds(cluster: Cluster, namespaced: boolean): Promise<string[]> {
  const args = ["api-resources", "--verbs=list", `--namespaced=${namespaced}`, "--output=name"];
  return (await asAdmin(cluster, ...args)).split("\n").filter((name) => !FLEETING.test(name));
}

async function list(cluster: Cluster, kinds: readonly string[], ...where: string[]): Promise<string[]> {
  const columns = "custom-columns=KIND:.kind,NAME:.metadata.name";
  const text = await asAdmin(cluster, "get", kinds.join(), ...where, "--no-headers", "--output", columns);
  return text.split("\n").filter((line) => line !== "").map((line) => line.replace(/ +/, " ").trim());
}
