import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import type { AuditEvent } from "../../../audit/event.ts";
import type { GivenConfiguration } from "../../../config/gateway_configuration.ts";
import { GatewayProcess } from "../../../demo/gateway_process.ts";
import { kubeconfig } from "../../../demo/kubeconfig.ts";
import { CA, RawClient } from "../../../server/test_front.ts";
import { issue } from "../../support/certificates.ts";
import { MadeUpCluster, TOKEN } from "./made_up_cluster.ts";

/** The header lines of everybody, with a good credential. */
export const ALICE = ["Host: gateway", `Authorization: Bearer ${TOKEN.alice}`];

/** What kubectl sends to open a session by SPDY. */
export const SPDY = [
  "Connection: Upgrade",
  "Upgrade: SPDY/3.1",
  "X-Stream-Protocol-Version: v4.channel.k8s.io",
];

/** What a scene may have besides the usual. */
export interface HostileSceneOptions {
  limits?: NonNullable<GivenConfiguration["server"]>["limits"];
  sessions?: GivenConfiguration["sessions"];
  /** @default {all are written: what is hostile is to be found one by one} */
  strangers?: NonNullable<GivenConfiguration["audit"]>["strangers"];
  upstream?: GivenConfiguration["upstream"];
  admin?: GivenConfiguration["admin"];
  /** What stands before the API server: its URL, by the API server's. */
  before?: (apiServer: string) => string;
}

/** An answer, as far as a test reads it. */
export interface RawAnswer {
  /** 0 where the connection was closed without one. */
  code: number;
  head: string;
  body: string;
}

/** A whole request in Latin-1: each character is a byte. */
export function requestText(start: string, lines: readonly string[], body = ""): string {
  return `${[`${start} HTTP/1.1`, ...lines].join("\r\n")}\r\n\r\n${body}`;
}

/**
 * A gateway as it ships, in a process of its own, in front of a made-up cluster: what hostile clients are let loose on.
 */
export class HostileScene implements AsyncDisposable {
  #wells = 0;
  #events: AuditEvent[] = [];
  /** How much of the audit file was read. */
  #readChars = 0;

  private constructor(
    readonly cluster: MadeUpCluster,
    readonly gateway: GatewayProcess,
    readonly folder: string,
    readonly parts: AsyncDisposableStack,
  ) {}

  static async start(
    { limits = {}, sessions = {}, strangers = { limit: "off" }, upstream = {}, admin, before }:
      HostileSceneOptions = {},
  ): Promise<HostileScene> {
    await using starting = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "postern-hostile-" });
    starting.defer(() => Deno.remove(folder, { recursive: true }));
    const cluster = starting.use(await MadeUpCluster.start());
    const { cert, key } = await issue(CA);
    await Deno.writeTextFile(join(folder, "tls.crt"), cert);
    await Deno.writeTextFile(join(folder, "tls.key"), key);
    const users = [{ name: "postern", token: TOKEN.gateway }];
    const server = before?.(cluster.url) ?? cluster.url;
    await Deno.writeTextFile(
      join(folder, "kubeconfig"),
      kubeconfig({ server, ca: CA.cert, users }),
    );
    const configuration: GivenConfiguration = {
      apiVersion: "postern.dev/v1alpha1",
      kind: "GatewayConfiguration",
      server: {
        address: "127.0.0.1",
        port: 0,
        tls: { certFile: "tls.crt", keyFile: "tls.key" },
        limits,
        drainTimeoutSeconds: 0,
      },
      kubernetes: { kubeconfig: "kubeconfig" },
      upstream: {
        kubelet: { addressTypes: ["InternalIP"], allowedAddresses: ["127.0.0.0/8"] },
        ...upstream,
      },
      audit: { sinks: [{ type: "file", path: "audit.log" }], strangers },
      sessions,
      recording: { mode: "off" },
      ...(admin && { admin }),
    };
    const file = join(folder, "gateway.yaml");
    await Deno.writeTextFile(file, stringify(configuration));
    const gateway = starting.use(await GatewayProcess.start(file, join(folder, "gateway.log")));
    return new HostileScene(cluster, gateway, folder, starting.move());
  }

  async connect(): Promise<RawClient> {
    return await RawClient.connect(this.gateway.port);
  }

  /** Sends these bytes on a connection of their own, and reads one answer, or to the end. */
  async exchange(text: string): Promise<RawAnswer> {
    using client = await this.connect();
    // Who is refused before all was sent cannot send the rest.
    await client.send(text).catch(() => {});
    return await readAnswer(client);
  }

  /** Shows that a client who means well is served: a session opens, and what was checked is what is opened. */
  async isWell(): Promise<void> {
    const pod = `well-${this.#wells++}`;
    const target = `/api/v1/namespaces/default/pods/${pod}/exec?command=id&stdout=1&container=main`;
    const { code, body } = await this.exchange(requestText(`POST ${target}`, [...ALICE, ...SPDY]));
    assert.equal(code, 101, body);
  }

  /** All events that match, once there is one. */
  async eventsOf(matches: (event: AuditEvent) => boolean): Promise<AuditEvent[]> {
    await this.eventOf(matches);
    await this.#readEvents();
    return this.#events.filter(matches);
  }

  /** The first event that `matches`, once it is written. */
  async eventOf(matches: (event: AuditEvent) => boolean): Promise<AuditEvent> {
    for (const deadline = performance.now() + 60_000;;) {
      await this.#readEvents();
      const event = this.#events.find(matches);
      if (event !== undefined) return event;
      assert.ok(
        performance.now() < deadline,
        `no such event; the last is ${JSON.stringify(this.#events.at(-1))}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #readEvents(): Promise<void> {
    const text = await Deno.readTextFile(join(this.folder, "audit.log"));
    const fresh = text.slice(this.#readChars).split("\n").slice(0, -1);
    this.#readChars += fresh.reduce((sum, line) => sum + line.length + 1, 0);
    this.#events.push(...fresh.map((line) => JSON.parse(line)));
  }

  /** The gateway's own log. */
  async log(): Promise<string> {
    return await Deno.readTextFile(join(this.folder, "gateway.log"));
  }

  /** Resident memory of the gateway now, in bytes. */
  async residentBytes(): Promise<number> {
    // By another program: a process without FFI may not read there.
    const cat = new Deno.Command("cat", { args: [`/proc/${this.gateway.pid}/status`] });
    const status = new TextDecoder().decode((await cat.output()).stdout);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.disposeAsync();
  }
}

/** Reads one answer with the body that its length tells. */
export async function readAnswer(client: RawClient): Promise<RawAnswer> {
  let head: string;
  try {
    head = await client.readUntil("\r\n\r\n");
  } catch {
    return { code: 0, head: "", body: "" };
  }
  const code = Number(head.slice(9, 12));
  if (code === 101 || code === 100) return { code, head, body: "" };
  const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
  return { code, head, body: await client.readBytes(length) };
}
