import assert from "node:assert/strict";
import type { AuditEvent } from "../../../audit/event.ts";
import { type Cluster, runningCluster } from "../../e2e/support/cluster.ts";
import { eventually, sleep } from "../../e2e/support/wait.ts";
import { type Ca, makeCa } from "../../support/certificates.ts";
import { ApiProxy } from "./api_proxy.ts";
import { Crowd } from "./crowd.ts";
import { FaultGateway, type GatewayOptions } from "./gateway.ts";
import { CONTAINER, Pod } from "./pod.ts";

/** What a gateway must have for a fault: gateways of one kind are used again. */
export type Arrangement = "plain" | "behind a proxy" | "own clock" | "patient";

/** What a new session came to. */
export interface Probe {
  works: boolean;
  /** What the client said where it did not. */
  said: string;
  tookMs: number;
}

/** A new session may take so long, before its client is taken to hang. */
const PROBE_MS = 25_000;

/** A pod, a gateway and a crowd of sessions, each put in place again where a fault has taken it away. */
export class Scene implements AsyncDisposable {
  #pod: Pod | undefined;
  #arranged: { as: Arrangement; gateway: FaultGateway; proxy: ApiProxy | undefined } | undefined;
  #crowd: Crowd | undefined;
  /** Recordings of this gateway's that have no end, for it was killed. */
  #lost = 0;

  private constructor(
    readonly cluster: Cluster,
    readonly size: number,
    /** Signs what the gateway sees in place of the API server's certificate. */
    readonly proxyCa: Ca,
  ) {}

  static async open(size: number): Promise<Scene> {
    return new Scene(await runningCluster(), size, await makeCa("postern faults API server"));
  }

  get pod(): Pod {
    return there(this.#pod);
  }

  get gateway(): FaultGateway {
    return there(this.#arranged).gateway;
  }

  get proxy(): ApiProxy {
    return there(there(this.#arranged).proxy);
  }

  get crowd(): Crowd {
    return there(this.#crowd);
  }

  /** Sees to it that all is there, and well. */
  async arrange(as: Arrangement): Promise<void> {
    this.#pod ??= await Pod.create(this.cluster);
    if (this.#arranged?.as !== as) {
      await this.#leaveGateway();
      const proxy = as === "behind a proxy" ? await ApiProxy.start(this.cluster, this.proxyCa) : undefined;
      this.#arranged = {
        as,
        proxy,
        gateway: await FaultGateway.start(this.cluster, this.#options(as, proxy)),
      };
    }
    if (this.#crowd !== undefined) return;
    const { cluster, size, pod, gateway: { kubeconfig } } = this;
    this.#crowd = await Crowd.gather({ cluster, kubeconfig, pod: pod.name, size });
  }

  /** The crowd is no more. */
  async forgetCrowd(): Promise<void> {
    await this.#crowd?.[Symbol.asyncDispose]();
    this.#crowd = undefined;
  }

  /** Another pod takes the place of the one that is gone. */
  async replacePod(): Promise<void> {
    await this.#pod?.delete();
    this.#pod = await Pod.create(this.cluster);
  }

  /** Opens one new session, and ends it. */
  async probe(): Promise<Probe> {
    const { cluster, gateway: { kubeconfig }, pod: { name } } = this;
    const startedMs = performance.now();
    const child = new Deno.Command(cluster.paths.goClient, {
      args: [
        ...["exec", "--kubeconfig", kubeconfig, "--context", "alice", "--transport", "spdy"],
        ...["--pod", name, "--container", CONTAINER, "--", "true"],
      ],
      ...{ stdin: "null", stdout: "null", stderr: "piped" },
    }).spawn();
    const timer = setTimeout(() => child.kill("SIGKILL"), PROBE_MS);
    const { code, stderr } = await child.output();
    clearTimeout(timer);
    const said = new TextDecoder().decode(stderr).trim();
    return { works: code === 0, said, tookMs: performance.now() - startedMs };
  }

  /** Tries until a new session works. @returns how long that took, in milliseconds */
  async recovered(deadlineMs: number): Promise<number> {
    const startedMs = performance.now();
    let last = "";
    for (;;) {
      const { works, said } = await this.probe();
      if (works) return performance.now() - startedMs;
      last = said;
      assert.ok(performance.now() - startedMs < deadlineMs, `no new session works: ${last}`);
      await sleep(100);
    }
  }

  /** Tries until a new session is refused. @returns what its client was told */
  async refused(deadlineMs: number): Promise<string> {
    return await eventually("new sessions are refused", async () => {
      const { works, said } = await this.probe();
      return works ? undefined : said;
    }, { deadlineMs, everyMs: 250 });
  }

  /** Waits until each session that has opened has its one end. @returns all events */
  async settled(deadlineMs: number): Promise<AuditEvent[]> {
    return await eventually("every session has its one last event", async () => {
      const events = await this.gateway.events();
      const ids = (kind: string) =>
        events.filter((event) => kindOf(event) === kind).map(({ auditID }) => auditID).toSorted();
      const ended = ids("end");
      assert.equal(new Set(ended).size, ended.length, "no session ends twice");
      return ended.join() === ids("start").join() ? events : undefined;
    }, { deadlineMs });
  }

  /**
   * Waits until all recordings are what was written, and those of so many live sessions are all that have no end, beside those that a
   * killed gateway left: of these its next start says so, too.
   */
  async recordingsAreWhole(live: number, deadlineMs: number): Promise<void> {
    const expected = [
      ...Array.from({ length: this.#lost }, () => "recording_broke"),
      ...Array.from({ length: this.#lost + live }, () => "tail_missing"),
    ];
    let found: string[] = [];
    try {
      await eventually("what verify finds is what must be", async () => {
        found = await this.gateway.recordingFaults();
        return found.join() === expected.join() || undefined;
      }, { deadlineMs, everyMs: 500 });
    } catch {
      assert.deepEqual(found, expected, "recordings are whole");
    }
  }

  /** The gateway was killed: what its sessions said is there up to then, without an end. */
  loseLive(): void {
    this.#lost += this.size;
  }

  /** Leaves all that a fault may have spoilt: what comes next makes it anew. */
  async startOver(): Promise<void> {
    await this.#leaveGateway();
    await this.#pod?.delete();
    this.#pod = undefined;
  }

  async #leaveGateway(): Promise<void> {
    await this.forgetCrowd();
    const arranged = this.#arranged;
    this.#arranged = undefined;
    this.#lost = 0;
    await arranged?.gateway[Symbol.asyncDispose]();
    await arranged?.proxy?.[Symbol.asyncDispose]();
  }

  #options(as: Arrangement, proxy: ApiProxy | undefined): GatewayOptions {
    if (proxy !== undefined) return { apiServerUrl: proxy.url, moreAuthorities: [this.proxyCa.cert] };
    if (as === "own clock") return { hasOwnClock: true };
    return as === "patient" ? { drainTimeoutSeconds: 300 } : {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leaveGateway();
    await this.#pod?.[Symbol.asyncDispose]();
  }
}

/** Which of its session's events an event is. */
export function kindOf({ annotations }: AuditEvent): string {
  return annotations["postern.dev/event"] ?? "";
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the scene is not arranged");
  return value;
}
