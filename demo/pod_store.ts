import type { V1Pod } from "@kubernetes/client-node";

/** A pod as the API serves it: JSON, whose times are strings, where the client library's types have dates. */
export type ServedPod = V1Pod & { metadata: { name: string; namespace: string; uid: string } };

/** What became of a pod, as a watch tells it. */
export interface PodChange {
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: ServedPod;
  version: number;
}

/** Changes that are kept for watches that begin later. */
const MAX_CHANGES = 500;

/** The pods of the embedded cluster. A pod is never changed in place: each change makes a new object with a new version. */
export class PodStore {
  readonly #pods = new Map<string, ServedPod>();
  readonly #changes: PodChange[] = [];
  readonly #followers = new Set<(change: PodChange) => void>();
  #version = 1;

  /** @param pods those that are there from the beginning, at version 1 */
  constructor(pods: readonly ServedPod[] = []) {
    for (const pod of pods) this.#pods.set(keyOf(pod.metadata), at(pod, this.#version));
  }

  /** The version of the last change. */
  get version(): number {
    return this.#version;
  }

  /** In the order of their names, as a store keeps them. */
  list(namespace?: string): readonly ServedPod[] {
    const found = [...this.#pods.values()].filter(({ metadata }) => {
      return namespace === undefined || metadata.namespace === namespace;
    });
    return found.sort((one, other) => keyOf(one.metadata) < keyOf(other.metadata) ? -1 : 1);
  }

  find(namespace: string, name: string): ServedPod | undefined {
    return this.#pods.get(keyOf({ namespace, name }));
  }

  /** Adds a pod, or puts another in its place. @returns it, with its version */
  put(pod: ServedPod): ServedPod {
    const type = this.#pods.has(keyOf(pod.metadata)) ? "MODIFIED" : "ADDED";
    return this.#change(type, pod);
  }

  /** Changes a pod, if that very pod is still there. @returns it, with its version */
  update({ metadata: { namespace, name, uid } }: ServedPod, change: (pod: ServedPod) => ServedPod) {
    const pod = this.find(namespace, name);
    return pod?.metadata.uid === uid ? this.#change("MODIFIED", change(pod)) : undefined;
  }

  remove(pod: ServedPod): void {
    if (this.find(pod.metadata.namespace, pod.metadata.name)?.metadata.uid === pod.metadata.uid) {
      this.#change("DELETED", pod);
    }
  }

  /** What has changed after a version; `undefined` where that is no longer known. */
  since(version: number): readonly PodChange[] | undefined {
    const oldest = this.#changes[0]?.version ?? this.#version + 1;
    if (version < oldest - 1) return undefined;
    return this.#changes.filter((change) => change.version > version);
  }

  /** Tells every change from now on, until the function that it returns is called. */
  follow(onChange: (change: PodChange) => void): () => void {
    this.#followers.add(onChange);
    return () => this.#followers.delete(onChange);
  }

  #change(type: PodChange["type"], pod: ServedPod): ServedPod {
    const object = at(pod, ++this.#version);
    if (type === "DELETED") this.#pods.delete(keyOf(pod.metadata));
    else this.#pods.set(keyOf(pod.metadata), object);
    const change = { type, object, version: this.#version };
    this.#changes.push(change);
    this.#changes.splice(0, this.#changes.length - MAX_CHANGES);
    for (const follower of this.#followers) follower(change);
    return object;
  }
}

function keyOf({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}

function at(pod: ServedPod, version: number): ServedPod {
  return { ...pod, metadata: { ...pod.metadata, resourceVersion: String(version) } };
}
