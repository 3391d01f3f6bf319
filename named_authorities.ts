/** What the platform would trust besides: its own list of authorities or the system's, and those that these two name. */
const STORE = "DENO_TLS_CA_STORE";
const MORE = ["DENO_CERT", "NODE_EXTRA_CA_CERTS"] as const;

/**
 * From now on this process trusts nobody in TLS but the authorities that a connection is given.
 *
 * The platform adds those that it is given to a list of public ones: any of some 150 companies could speak for a kubelet or for
 * the API server then. And it copies the whole list for each connection that it opens, for as long as the connection lives: 10 KB
 * of its own, 90 KB where `NODE_EXTRA_CA_CERTS` names a system's. The list is read when the first connection is opened, so
 * this must come before.
 *
 * @returns whether it may: without permission for the three variables all is as the platform has it
 */
export function trustOnlyNamed(): boolean {
  try {
    Deno.env.set(STORE, ""); // a list of stores, with nothing in it
    for (const name of MORE) Deno.env.delete(name);
    return true;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotCapable) return false;
    throw thrown;
  }
}
