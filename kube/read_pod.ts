import type { V1Pod } from "@kubernetes/client-node";
import { ApiError, type KubeClient } from "./client.ts";
import { Refusal } from "./status.ts";

/**
 * The pod as it is now.
 *
 * @returns `undefined` where there is none
 * @throws {Refusal} ServiceUnavailable where it cannot be asked
 */
export async function readPod(
  client: Pick<KubeClient, "get">,
  namespace: string,
  name: string,
  signal?: AbortSignal,
): Promise<V1Pod | undefined> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
  let pod: V1Pod;
  try {
    pod = await client.get<V1Pod>(path, signal);
  } catch (cause) {
    if (cause instanceof ApiError && cause.code === 404) return undefined;
    throw new Refusal("ServiceUnavailable", "the gateway cannot read the pod from the API server", { cause });
  }
  const { metadata } = pod;
  if (!metadata?.uid || metadata.name !== name || metadata.namespace !== namespace) {
    throw new Refusal("InternalError", "the API server answered with another pod");
  }
  return pod;
}
