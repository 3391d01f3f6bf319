import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import type { GivenConfiguration } from "../../../config/gateway_configuration.ts";
import type { AuditEvent } from "../../../audit/event.ts";
import { type Cluster, ROOT, runningCluster, writeKubeconfig } from "./cluster.ts";
import type { Endpoint } from "./kubectl.ts";
import { eventually, within } from "./wait.ts";
import { freePort } from "../../support/free_port.ts";

/** What a test may ask of its gateway beyond the usual. */
export interface GatewayOptions {
  /** @default {2} */
  drainTimeoutSeconds?: number;
  /** Where events go instead of {@linkcode Gateway.auditFile}. */
  auditPath?: string;
  /** Sinks instead of that one file. */
  audit?: GivenConfiguration["audit"];
  /** Where kubelets are reached instead of the port that the node names. */
  kubeletPort?: number;
  /** Where the API server is reached instead of where it is. */
  kubernetes?: GivenConfiguration["kubernetes"];
  /** Beside what kubelets need here. */
  upstream?: GivenConfiguration["upstream"];
  authentication?: GivenConfiguration["authentication"];
  authorization?: GivenConfiguration["authorization"];
  policy?: GivenConfiguration["policy"];
  sessions?: GivenConfiguration["sessions"];
  index?: GivenConfiguration["index"];
  admin?: GivenConfiguration["admin"];
  /** Beside ours. */
  env?: Readonly<Record<string, string>>;
  /** Beside the signing key and a folder for recordings. */
  recording?: GivenConfiguration["recording"];
}

/**
 * The real gateway as a child, in front of the running cluster.
 *
 * `POSTERN_E2E_GATEWAY=https://host:port` names one that runs already; tests that need its audit file or its end fail then.
 */
export class Gateway implements Endpoint, AsyncDisposable {
  readonly kubeconfig: string;
  readonly auditFile: string;
  /** Public key that recordings are verified with, in PEM. */
  readonly recordingsKey: string;
  readonly #logFile: string;

  private constructor(
    readonly cluster: Cluster,
    readonly url: string,
    readonly directory: string,
    readonly child: Deno.ChildProcess | undefined,
    /** The folder of the recordings. */
    readonly recordings: string,
  ) {
    this.kubeconfig = join(directory, "kubeconfig");
    this.auditFile = join(directory, "audit.log");
    this.recordingsKey = join(directory, "recordings.pub");
    this.#logFile = join(directory, "gateway.log");
  }

  static async start(options: GatewayOptions = {}): Promise<Gateway> {
    const cluster = await runningCluster();
    const directory = await Deno.makeTempDir({ prefix: "postern-e2e-" });
    const running = Deno.env.get("POSTERN_E2E_GATEWAY");
    const port = freePort();
    const url = running ?? `https://127.0.0.1:${port}`;
    const sink = options.recording?.sink;
    const recordings = (sink?.type === "folder" ? sink.path : undefined) ?? join(directory, "recordings");
    const child = running === undefined ? await spawnGateway(cluster, directory, port, options) : undefined;
    const gateway = new Gateway(cluster, url, directory, child, recordings);
    await writeKubeconfig(cluster, url, gateway.kubeconfig);
    try {
      await gateway.#answers();
    } catch (error) {
      await gateway[Symbol.asyncDispose]();
      throw error;
    }
    return gateway;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** Everything that was written down so far. Each line must be one event; one that is just being written is waited for. */
  async events(): Promise<AuditEvent[]> {
    const text = await eventually("the audit file ends with a whole line", async () => {
      const now = await this.auditText();
      return now === "" || now.endsWith("\n") ? now : undefined;
    }, { deadlineMs: 2_000, everyMs: 10 });
    const lines = text.split("\n").slice(0, -1);
    return lines.map((line) => {
      const event: AuditEvent = JSON.parse(line);
      assert.equal(event.kind, "Event");
      return event;
    });
  }

  async auditText(): Promise<string> {
    return await Deno.readTextFile(this.auditFile);
  }

  /** The gateway's own log. */
  async log(): Promise<string> {
    return await Deno.readTextFile(this.#logFile).catch(() => "");
  }

  /** Asks the gateway to end; what is open has its time to drain. */
  terminate(): void {
    this.#signal("SIGTERM");
  }

  /** Ends the gateway. It must end by itself, with exit code 0. */
  async stop(): Promise<void> {
    if (this.child !== undefined) {
      this.terminate();
      await this.ended();
    }
    await Deno.remove(this.directory, { recursive: true });
  }

  /** Waits for the end, which must be an orderly one. */
  async ended(): Promise<void> {
    if (this.child === undefined) return;
    try {
      const { code } = await within(20_000, "the gateway ends", this.child.status);
      assert.equal(code, 0, `the gateway ended with ${code}:\n${await this.log()}`);
    } catch (error) {
      await this.#kill();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kill();
    await Deno.remove(this.directory, { recursive: true }).catch(() => {});
  }

  async #kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.child?.status;
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.child?.kill(signal);
    } catch { /* it has ended */ }
  }

  /** Any answer will do: it serves. */
  async #answers(): Promise<void> {
    const caCerts = [await Deno.readTextFile(this.cluster.paths.caCertificate)];
    using client = Deno.createHttpClient({ caCerts });
    let isOver = false;
    this.child?.status.then(() => isOver = true);
    await eventually("the gateway answers", async () => {
      if (isOver) throw new Error(`the gateway did not start:\n${await this.log()}`);
      try {
        const response = await fetch(`${this.url}/version`, { client });
        await response.body?.cancel();
        return true;
      } catch (error) {
        if (error instanceof TypeError) return undefined;
        throw error;
      }
    }, { deadlineMs: 20_000 });
  }
}

/**
 * One gateway for all tests of a file, started before the first and ended after the last.
 *
 * @returns gives it, once the tests run
 */
export function sharedGateway(options: GatewayOptions = {}): () => Gateway {
  let gateway: Gateway | undefined;
  Deno.test.beforeAll(async () => {
    gateway = await Gateway.start(options);
  });
  Deno.test.afterAll(() => gateway?.stop());
  return () => {
    if (gateway === undefined) throw new Error("the gateway runs while tests do");
    return gateway;
  };
}

/** Its output goes to a file, so that no pipe of ours is open from one test to the next. */
async function spawnGateway(
  cluster: Cluster,
  directory: string,
  port: number,
  options: GatewayOptions,
): Promise<Deno.ChildProcess> {
  const config = join(directory, "gateway.yaml");
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  await Deno.writeTextFile(
    join(directory, "recordings.key"),
    privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  );
  await Deno.writeTextFile(
    join(directory, "recordings.pub"),
    publicKey.export({ type: "spki", format: "pem" }).toString(),
  );
  await Deno.writeTextFile(config, stringify(configuration(cluster, directory, port, options)));
  const log = join(directory, "gateway.log");
  const redirect = 'log=$1; shift; exec "$@" >"$log" 2>&1';
  const command = [...await startCommand(), "--config", config];
  return new Deno.Command("sh", {
    args: ["-c", redirect, "sh", log, ...command],
    cwd: ROOT,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    env: { ...options.env },
  }).spawn();
}

/** What `deno task start` runs: with those permissions, and no others, the gateway must work. */
export async function startCommand(): Promise<string[]> {
  const { tasks } = Tasks.parse(JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))));
  const [, ...args] = tasks.start.command.split(" ");
  return [Deno.execPath(), ...args];
}

const Tasks = z.object({
  tasks: z.object({ start: z.object({ command: z.string().startsWith("deno run ") }) }),
});

function configuration(
  { paths }: Cluster,
  directory: string,
  port: number,
  {
    drainTimeoutSeconds = 2,
    auditPath = join(directory, "audit.log"),
    kubeletPort,
    upstream,
    recording,
    env: _env,
    ...sections
  }: GatewayOptions,
): GivenConfiguration {
  return {
    apiVersion: "postern.dev/v1alpha1",
    kind: "GatewayConfiguration",
    server: {
      address: "127.0.0.1",
      port,
      tls: { certFile: paths.gatewayCertificate, keyFile: paths.gatewayKey },
      drainTimeoutSeconds,
    },
    kubernetes: { kubeconfig: paths.gatewayKubeconfig },
    upstream: {
      ...upstream,
      kubelet: {
        addressTypes: ["Hostname"],
        allowedAddresses: ["127.0.0.0/8"],
        ...(kubeletPort !== undefined && { port: kubeletPort }),
        ...upstream?.kubelet,
      },
    },
    // Whoever is refused in a test is looked for, however many there are.
    audit: { sinks: [{ type: "file", path: auditPath }], strangers: { limit: "off" } },
    recording: {
      signingKeyFile: join(directory, "recordings.key"),
      sink: { type: "folder", path: join(directory, "recordings") },
      ...recording,
    },
    ...sections,
  };
}
