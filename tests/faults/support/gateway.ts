import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import type { AuditEvent } from "../../../audit/event.ts";
import { postern } from "../../../cli/postern.ts";
import type { GivenConfiguration } from "../../../config/gateway_configuration.ts";
import { type Cluster, ROOT, writeKubeconfig } from "../../e2e/support/cluster.ts";
import { startCommand } from "../../e2e/support/gateway.ts";
import { eventually, within } from "../../e2e/support/wait.ts";
import { type Ca, issue, makeCa } from "../../support/certificates.ts";
import { freePort } from "../../support/free_port.ts";

/** What a gateway is told beyond the usual. */
export interface GatewayOptions {
  /** Where the API server is taken to be. @default the API server itself */
  apiServerUrl?: string;
  /** Authorities beside the cluster's. */
  moreAuthorities?: readonly string[];
  /** @default {5} */
  drainTimeoutSeconds?: number;
  /** Lets the gateway's clock be stepped, by {@linkcode FaultGateway.stepClock}. */
  hasOwnClock?: boolean;
  sessions?: GivenConfiguration["sessions"];
  /** How long the API server and the kubelet may take to answer. @default {3} */
  patienceSeconds?: number;
  /** Flags of the platform's beside those of `deno task start`. */
  flags?: readonly string[];
}

/** Where Debian's package libfaketime has it. */
const FAKETIME = `/usr/lib/${Deno.build.arch}-linux-gnu/faketime/libfaketime.so.1`;

/** A line of `postern verify --output json`. */
const Verified = z.object({ ok: z.boolean(), fault: z.object({ code: z.string() }).optional() });

/** How long a gateway may take to serve, or to end. */
const START_MS = 60_000;

/**
 * The real gateway as a child whose every file may be replaced: certificate, token, authorities; which may be killed,
 * and started again in the same place; and whose clock may be another.
 */
export class FaultGateway implements AsyncDisposable {
  readonly kubeconfig: string;
  readonly #options: GatewayOptions;
  #child: Deno.ChildProcess | undefined;
  #starts = 0;

  private constructor(
    readonly cluster: Cluster,
    readonly directory: string,
    readonly port: number,
    readonly ca: Ca,
    options: GatewayOptions,
  ) {
    this.kubeconfig = join(directory, "users.kubeconfig");
    this.#options = options;
  }

  static async start(cluster: Cluster, options: GatewayOptions = {}): Promise<FaultGateway> {
    const directory = await Deno.makeTempDir({ prefix: "postern-faults-" });
    const ca = await makeCa("postern faults front");
    const gateway = new FaultGateway(cluster, directory, freePort(), ca, options);
    await gateway.#prepare();
    try {
      await gateway.spawn();
    } catch (thrown) {
      await gateway[Symbol.asyncDispose]();
      throw thrown;
    }
    return gateway;
  }

  /** A file of the gateway's, by its name. */
  path(name: string): string {
    return join(this.directory, name);
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error("the gateway does not run");
    return this.#child.pid;
  }

  /** Starts the process, in place of one that may still run, and waits until it is ready. @returns how long that took, in milliseconds */
  async spawn(): Promise<number> {
    await this.#kill();
    const startedMs = performance.now();
    const redirect = 'log=$1; shift; exec "$@" >"$log" 2>&1';
    const [binary = "", run = "", ...args] = await startCommand();
    const flags = this.#options.flags ?? [];
    const command = [binary, run, ...flags, ...args, "--config", this.path("gateway.yaml")];
    const log = this.path(`gateway-${++this.#starts}.log`);
    const child = new Deno.Command("sh", {
      args: ["-c", redirect, "sh", log, ...command],
      cwd: ROOT,
      env: this.#options.hasOwnClock === true ? ownClock(this.path("clock")) : {},
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#child = child;
    let isOver = false;
    void child.status.then(() => isOver = true);
    await eventually("the gateway is ready", async () => {
      if (isOver) throw new Error(`the gateway did not start:\n${await this.log()}`);
      return (await this.ready()).status === 200 || undefined;
    }, { deadlineMs: START_MS });
    return performance.now() - startedMs;
  }

  /** What `/readyz` says; status 0 where nobody answers. */
  async ready(): Promise<{ status: number; retryAfter: string | null }> {
    const caCerts = [this.ca.cert];
    using client = Deno.createHttpClient({ caCerts, poolMaxIdlePerHost: 0 });
    try {
      const signal = AbortSignal.timeout(5000);
      const answer = await fetch(`https://127.0.0.1:${this.port}/readyz`, { client, signal });
      await answer.body?.cancel();
      return { status: answer.status, retryAfter: answer.headers.get("Retry-After") };
    } catch (thrown) {
      if (thrown instanceof TypeError) return { status: 0, retryAfter: null };
      throw thrown;
    }
  }

  signal(signal: Deno.Signal): void {
    this.#child?.kill(signal);
  }

  /** Waits for the process to end. @returns its exit code; of a signal, 128 and its number */
  async ended(deadlineMs = START_MS): Promise<number> {
    if (this.#child === undefined) throw new Error("the gateway does not run");
    const { code } = await within(deadlineMs, "the gateway ends", this.#child.status);
    return code;
  }

  /** Sets the gateway's clock off by this many seconds, from now on. Its monotonic clock goes on as it did. */
  async stepClock(seconds: number): Promise<void> {
    const sign = seconds < 0 ? "-" : "+";
    await Deno.writeTextFile(this.path("clock.new"), `${sign}${Math.abs(seconds)}s\n`);
    await Deno.rename(this.path("clock.new"), this.path("clock"));
  }

  /** Replaces a file at once, as the kubelet does with what it mounts. */
  async replace(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(this.path(`${name}.new`), text, { mode: 0o600 });
    await Deno.rename(this.path(`${name}.new`), this.path(name));
  }

  /** A new certificate for the front. */
  async renewCertificate(): Promise<void> {
    const { cert, key } = await issue(this.ca);
    await this.replace("tls.key", key);
    await this.replace("tls.crt", cert);
  }

  /** Every event that was written down. */
  async events(): Promise<AuditEvent[]> {
    const text = await Deno.readTextFile(this.path("audit.log")).catch(() => "");
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  async log(): Promise<string> {
    return await Deno.readTextFile(this.path(`gateway-${this.#starts}.log`)).catch(() => "");
  }

  /** What `postern verify` finds wrong with the recordings and the chains that name them: its codes, sorted. */
  async recordingFaults(): Promise<string[]> {
    let said = "";
    const output = { out: (text: string) => said += text, error: (text: string) => said += text };
    await postern(
      ["verify", this.path("recordings"), "--key", this.path("recordings.pub"), "--output", "json"],
      output,
    );
    const lines = said.split("\n").filter((line) => line !== "").map((line) =>
      Verified.parse(JSON.parse(line))
    );
    return lines.flatMap(({ ok, fault }) => ok ? [] : [fault?.code ?? "unknown"]).toSorted();
  }

  async #kill(): Promise<void> {
    try {
      this.#child?.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#child?.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kill();
    await Deno.remove(this.directory, { recursive: true }).catch(() => {});
  }

  async #prepare(): Promise<void> {
    const { paths } = this.cluster;
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    await this.replace("recordings.key", privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    await this.replace("recordings.pub", publicKey.export({ type: "spki", format: "pem" }).toString());
    await this.renewCertificate();
    await this.stepClock(0);
    const authorities = [
      await Deno.readTextFile(paths.caCertificate),
      ...this.#options.moreAuthorities ?? [],
    ];
    await this.replace("ca.crt", authorities.join("\n"));
    await this.replace("token", await Deno.readTextFile(paths.gatewayToken));
    await this.replace("cluster.kubeconfig", stringify(this.#connection()));
    await this.replace("gateway.yaml", stringify(this.#configuration()));
    await writeKubeconfig(this.cluster, `https://127.0.0.1:${this.port}`, this.kubeconfig);
    // Users trust the front's own authority.
    const config = JSON.parse(await Deno.readTextFile(this.kubeconfig));
    config.clusters[0].cluster["certificate-authority-data"] = btoa(this.ca.cert);
    await this.replace("users.kubeconfig", JSON.stringify(config));
  }

  /** How the gateway comes to the API server: all by files, as in a pod. */
  #connection(): unknown {
    const server = this.#options.apiServerUrl ?? this.cluster.apiServerUrl;
    return {
      ...{ apiVersion: "v1", kind: "Config", "current-context": "faults" },
      clusters: [{ name: "faults", cluster: { server, "certificate-authority": this.path("ca.crt") } }],
      users: [{ name: "faults", user: { tokenFile: this.path("token") } }],
      contexts: [{ name: "faults", context: { cluster: "faults", user: "faults" } }],
    };
  }

  #configuration(): GivenConfiguration {
    const { drainTimeoutSeconds = 5, patienceSeconds = 3, sessions } = this.#options;
    return {
      ...{ apiVersion: "postern.dev/v1alpha1", kind: "GatewayConfiguration" },
      server: {
        ...{ address: "127.0.0.1", port: this.port, drainTimeoutSeconds },
        tls: { certFile: this.path("tls.crt"), keyFile: this.path("tls.key"), reloadSeconds: 1 },
      },
      kubernetes: { kubeconfig: this.path("cluster.kubeconfig"), requestTimeoutSeconds: patienceSeconds },
      upstream: {
        kubelet: {
          ...{ addressTypes: ["Hostname"], allowedAddresses: ["127.0.0.0/8"] },
          dialTimeoutSeconds: patienceSeconds,
        },
      },
      // Who is lost without a word is found out by these.
      sessions: { pingSeconds: 2, silenceTimeoutSeconds: 6, ...sessions },
      audit: { sinks: [{ type: "file", path: this.path("audit.log") }] },
      recording: {
        signingKeyFile: this.path("recordings.key"),
        mode: "required",
        sink: { type: "folder", path: this.path("recordings") },
      },
    };
  }
}

/** Only the clock of the day is another: what waits, and what counts time, goes by the monotonic one. */
function ownClock(file: string): Record<string, string> {
  return {
    LD_PRELOAD: FAKETIME,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_DONT_RESET: "1",
  };
}
