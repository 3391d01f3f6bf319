import { join } from "node:path";
import type { V1Container } from "@kubernetes/client-node";
import { podStatus } from "../pod_status.ts";
import type { PodStore, ServedPod } from "../pod_store.ts";
import { Container, type RunningContainer } from "./container.ts";
import { ContainerLog } from "./container_log.ts";

/** What pods are run with. */
export interface PodRunnerOptions {
  /** The pods of this node; their statuses are kept here. */
  pods: PodStore;
  /** Holds `<namespace>/<pod>/<container>/`, each a container's home. */
  podsFolder: string;
  /** Where commands are found. */
  path: string;
  /** Where Deno keeps what it compiled. */
  cacheFolder: string;
}

/** What is known of the containers of this node. */
export interface Containers {
  /** A container that runs. */
  find(pod: ServedPod, container: string): RunningContainer | undefined;
  /** What stands for a port of a pod on this machine; `undefined`: nobody listens. */
  findPort(pod: ServedPod, port: number): number | undefined;
}

/** How long a container that has ended waits to be started again, in milliseconds: twice as long each time. */
const RESTART_MS = 1_000;
const MAX_RESTART_MS = 60_000;

/** Runs the pods of the embedded node: containers are processes of this machine, their homes are folders. */
export class PodRunner implements Containers, AsyncDisposable {
  readonly #options: PodRunnerOptions;
  readonly #running = new Map<string, PodRun>();
  readonly #ending = new Set<Promise<void>>();
  readonly #unfollow: () => void;

  private constructor(options: PodRunnerOptions) {
    this.#options = options;
    this.#unfollow = options.pods.follow(({ type, object }) => {
      const run = this.#running.get(object.metadata.uid);
      const isOver = type === "DELETED" || object.metadata.deletionTimestamp !== undefined;
      if (isOver && run !== undefined) this.#end(run);
      else if (type === "ADDED") this.#begin(object);
      else run?.add(object.spec?.ephemeralContainers ?? []);
    });
  }

  /** Starts every pod there is, and from now on what is added. When this returns, what can start has started. */
  static async start(options: PodRunnerOptions): Promise<PodRunner> {
    const runner = new PodRunner(options);
    await Promise.all(options.pods.list().map((pod) => runner.#begin(pod).started));
    return runner;
  }

  find({ metadata: { uid } }: ServedPod, container: string): RunningContainer | undefined {
    return this.#running.get(uid)?.containers.get(container)?.running;
  }

  findPort({ metadata: { uid } }: ServedPod, port: number): number | undefined {
    for (const { running } of this.#running.get(uid)?.containers.values() ?? []) {
      const found = running?.ports.get(port);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** What a container has printed. */
  logOf({ metadata: { uid } }: ServedPod, container: string): ContainerLog {
    return this.#running.get(uid)?.containers.get(container)?.log ?? new ContainerLog();
  }

  /** Ends everything that runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#unfollow();
    for (const run of this.#running.values()) this.#end(run);
    await Promise.all(this.#ending);
  }

  #begin(pod: ServedPod): PodRun {
    const run = new PodRun(pod, this.#options);
    this.#running.set(pod.metadata.uid, run);
    return run;
  }

  #end(run: PodRun): void {
    const ending = run[Symbol.asyncDispose]().finally(() => {
      this.#running.delete(run.pod.metadata.uid);
      this.#options.pods.remove(run.pod);
      this.#ending.delete(ending);
    });
    this.#ending.add(ending);
  }
}

/** When a container that has ended is started again. */
type RestartPolicy = "Always" | "OnFailure" | "Never";

/** One pod while it runs. */
class PodRun implements AsyncDisposable {
  readonly containers = new Map<string, Container>();
  /** The first of its containers have started, or could not. */
  readonly started: Promise<unknown>;
  readonly #options: PodRunnerOptions;
  readonly #ended = new AbortController();
  readonly #running: Promise<unknown>[] = [];

  constructor(readonly pod: ServedPod, options: PodRunnerOptions) {
    this.#options = options;
    const { initContainers = [], containers = [], ephemeralContainers = [], restartPolicy } = pod.spec ?? {};
    const policy = restartPolicy === "OnFailure" || restartPolicy === "Never" ? restartPolicy : "Always";
    const first = initContainers.length > 0 ? initContainers.slice(0, 1) : containers;
    const waits = new Map(first.map(({ name }) => [name, Promise.withResolvers<void>()]));
    this.started = Promise.all([...waits.values()].map(({ promise }) => promise));
    const onStarted = (name: string) => waits.get(name)?.resolve();
    this.#running.push(this.#run(initContainers, containers, policy, onStarted));
    this.add(ephemeralContainers);
  }

  /** Starts the ephemeral containers that are not there yet. */
  add(ephemeral: readonly V1Container[]): void {
    for (const spec of ephemeral) {
      if (!this.containers.has(spec.name)) this.#running.push(this.#keep(spec, "Never", () => {}));
    }
  }

  /** Ends all of its processes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await Promise.all(this.#running);
  }

  async #run(
    init: readonly V1Container[],
    containers: readonly V1Container[],
    policy: RestartPolicy,
    onStarted: (name: string) => void,
  ): Promise<void> {
    for (const spec of init) {
      const isDone = await this.#keep(spec, policy === "Never" ? "Never" : "OnFailure", onStarted);
      if (!isDone) return;
    }
    await Promise.all(containers.map((spec) => this.#keep(spec, policy, onStarted)));
  }

  /** Runs a container, as often as it takes. @returns whether it has done what it is for */
  async #keep(spec: V1Container, policy: RestartPolicy, onStarted: (name: string) => void): Promise<boolean> {
    const { podsFolder, path, cacheFolder } = this.#options;
    const { namespace, name } = this.pod.metadata;
    const folder = join(podsFolder, namespace, name, spec.name);
    const onChange = () => this.#report();
    const container = new Container(this.pod, spec, { folder, path, cacheFolder, onChange });
    this.containers.set(spec.name, container);
    for (let delayMs = RESTART_MS;; delayMs = Math.min(2 * delayMs, MAX_RESTART_MS)) {
      const code = await container.run(this.#ended.signal, () => onStarted(spec.name));
      if (this.#ended.signal.aborted) return false;
      if (policy === "Never" || (policy === "OnFailure" && code === 0)) return code === 0;
      container.backOff();
      await pause(delayMs, this.#ended.signal);
      if (this.#ended.signal.aborted) return false;
    }
  }

  #report(): void {
    if (this.#ended.signal.aborted) return;
    const facts = new Map([...this.containers].map(([name, { facts }]) => [name, facts]));
    this.#options.pods.update(this.pod, (pod) => ({ ...pod, status: podStatus(pod, facts) }));
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
