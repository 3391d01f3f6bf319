import type { V1Node } from "@kubernetes/client-node";
import type { KubeClient } from "./client.ts";

/** Nodes that are remembered: more than a cluster may have. */
const MAX_NODES = 16_384;

/**
 * The nodes that sessions went to lately, so that not each of them asks where its node is.
 *
 * What may be old here leads nowhere else: another node's kubelet does not know the pod, and the address is checked when it is
 * dialled. A node that could not be reached is asked for anew by the next session
 * ({@linkcode forget}). What is kept is what sessions need, for a Node names every image that it has.
 */
export class NodeCache {
  readonly #client: Pick<KubeClient, "get">;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** The oldest first. */
  readonly #nodes = new Map<string, { node: V1Node; untilMs: number }>();

  /** How often a node was remembered, and how often it was asked for. */
  readonly counts: { hits: number; misses: number } = { hits: 0, misses: 0 };

  /**
   * @param ttlMs how long a node is remembered; 0: each session asks
   * @param now the time in milliseconds; for tests
   */
  constructor(
    client: Pick<KubeClient, "get">,
    ttlMs: number,
    now: () => number = () => performance.now(),
  ) {
    this.#client = client;
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  /**
   * A node: its name, its addresses and its kubelet's port.
   *
   * @param name a DNS subdomain
   * @throws as {@linkcode KubeClient.get}
   */
  async get(name: string, signal?: AbortSignal): Promise<V1Node> {
    const known = this.#nodes.get(name);
    if (known !== undefined && known.untilMs > this.#now()) {
      this.counts.hits++;
      return known.node;
    }
    this.counts.misses++;
    // Counted from the question: the answer is of a moment between it and now.
    const untilMs = this.#now() + this.#ttlMs;
    const node = essence(await this.#client.get<V1Node>(`/api/v1/nodes/${name}`, signal));
    this.#nodes.delete(name);
    if (this.#ttlMs > 0) this.#nodes.set(name, { node, untilMs });
    if (this.#nodes.size > MAX_NODES) this.#forgetOldest();
    return node;
  }

  /** Asks for a node anew next time. */
  forget(name: string): void {
    this.#nodes.delete(name);
  }

  #forgetOldest(): void {
    for (const name of this.#nodes.keys()) {
      this.#nodes.delete(name);
      return;
    }
  }
}

function essence({ metadata, status }: V1Node): V1Node {
  const { name, uid } = metadata ?? {};
  const { addresses, daemonEndpoints } = status ?? {};
  return {
    metadata: { ...(name !== undefined && { name }), ...(uid !== undefined && { uid }) },
    status: { ...(addresses && { addresses }), ...(daemonEndpoints && { daemonEndpoints }) },
  };
}
