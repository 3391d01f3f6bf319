import type { V1Container } from "@kubernetes/client-node";
import { type ContainerFacts, now, running, waiting } from "../pod_status.ts";
import type { ServedPod } from "../pod_store.ts";
import { ContainerLog } from "./container_log.ts";
import { entrypoint, listeningPort } from "./host_image.ts";
import { MainProcess } from "./main_process.ts";

/** A container that runs. */
export interface RunningContainer {
  readonly process: MainProcess;
  /** Its home. */
  readonly folder: string;
  /** What its processes know of the world: nothing of the demo's own environment but where commands are. */
  readonly env: Readonly<Record<string, string>>;
  /** Ports of its pod on which it listens, and what stands for each on this machine. */
  readonly ports: ReadonlyMap<number, number>;
  /** Aborted when its main process has ended. */
  readonly signal: AbortSignal;
}

/** What a container is run with. */
export interface ContainerOptions {
  folder: string;
  /** Where commands are found. */
  path: string;
  /** Where Deno keeps what it compiled. */
  cacheFolder: string;
  /** Called when its facts have changed. */
  onChange(): void;
}

/** Exit code of a command that could not be started, as containerd tells it. */
const START_ERROR_CODE = 128;

/** A container of a pod, from one start to the next. */
export class Container {
  readonly log = new ContainerLog();
  readonly #pod: ServedPod;
  readonly #spec: V1Container;
  readonly #options: ContainerOptions;
  #facts = waiting("ContainerCreating");
  #running: RunningContainer | undefined;

  constructor(pod: ServedPod, spec: V1Container, options: ContainerOptions) {
    this.#pod = pod;
    this.#spec = spec;
    this.#options = options;
  }

  get facts(): ContainerFacts {
    return this.#facts;
  }

  /** `undefined` while it does not run. */
  get running(): RunningContainer | undefined {
    return this.#running;
  }

  /** Runs it once. @param onStarted called when it has started, or could not. @returns its exit code */
  async run(signal: AbortSignal, onStarted: () => void): Promise<number> {
    const startedAt = now();
    let code = START_ERROR_CODE;
    let reason = "StartError";
    try {
      await Deno.mkdir(this.#options.folder, { recursive: true });
      await using process = await this.#start();
      this.#set(running(startedAt, this.#facts));
      onStarted();
      code = await Promise.race([process.ended, aborted(signal)]) ?? 137;
      reason = code === 0 ? "Completed" : "Error";
    } catch (cause) {
      this.log.append(cause instanceof Error ? cause.message : String(cause));
    } finally {
      onStarted();
    }
    const finishedAt = now();
    const { containerID } = this.#facts;
    this.#set({
      ...this.#facts,
      state: { terminated: { exitCode: code, reason, startedAt, finishedAt, containerID } },
    });
    return code;
  }

  /** It has ended and will be started again, in a while. */
  backOff(): void {
    const { state, restartCount } = this.#facts;
    this.#set({
      ...this.#facts,
      restartCount: restartCount + 1,
      state: { waiting: { reason: "CrashLoopBackOff" } },
      lastState: state,
    });
  }

  /** Starts the main process; what is said of it stands here until it has ended. */
  async #start(): Promise<MainProcess> {
    const { folder, path, cacheFolder } = this.#options;
    const { stdin = false, stdinOnce = false, tty = false } = this.#spec;
    const { argv, env: more, isServer } = entrypoint(this.#spec, cacheFolder);
    const own = Object.fromEntries((this.#spec.env ?? []).map(({ name, value = "" }) => [name, value]));
    const env = { PATH: path, HOSTNAME: this.#pod.metadata.name, HOME: folder, LANG: "C.UTF-8", ...own };
    const process = new MainProcess({
      ...{ argv, folder, env: { ...env, ...more }, stdin, stdinOnce, tty, log: this.log },
    });
    const port = isServer ? await listeningPort(this.log, process.ended) : undefined;
    const ended = new AbortController();
    const isKnown = port !== undefined;
    const ports = new Map(isKnown ? this.#spec.ports?.map(({ containerPort }) => [containerPort, port]) : []);
    this.#running = {
      ...{ process, folder, ports, signal: ended.signal },
      env: { ...env, ...(isKnown && { PORT: String(port) }) },
    };
    void process.ended.then(() => {
      this.#running = undefined;
      ended.abort();
    });
    return process;
  }

  #set(facts: ContainerFacts): void {
    this.#facts = facts;
    this.#options.onChange();
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
