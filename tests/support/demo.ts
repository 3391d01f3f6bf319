import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { headerValues, readResponseHead, type ResponseHead } from "../../protocol/http/response_head.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { PrefixedConnection } from "../../session/prefixed_connection.ts";
import { StreamConnection } from "../../session/stream_connection.ts";

const DEMO = fileURLToPath(new URL("../../demo/demo.ts", import.meta.url));

/** An audit event, as far as tests read it. */
export interface WrittenEvent {
  auditID: string;
  stage: string;
  objectRef?: { subresource?: string };
  user: { username?: string };
  impersonatedUser?: { username?: string };
  responseStatus?: { code: number; message?: string };
  annotations: Record<string, string>;
}

/** The demo, as `npm run demo` starts it, in a folder of its own. */
export class Demo implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly folder: string;
  readonly port: number;
  readonly ca: string;
  readonly #tokens: ReadonlyMap<string, string>;

  private constructor(child: Deno.ChildProcess, folder: string, config: Kubeconfig) {
    this.#child = child;
    this.folder = folder;
    this.port = Number(new URL(config.clusters[0]!.cluster.server).port);
    this.ca = atob(config.clusters[0]!.cluster["certificate-authority-data"]);
    this.#tokens = new Map(config.users.map(({ name, user }) => [name, user.token]));
  }

  static async start(): Promise<Demo> {
    const folder = await Deno.makeTempDir({ prefix: "postern-demo-" });
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", DEMO, folder],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      if (text.includes("Ctrl-C ends everything")) break;
    }
    const config = parse(await Deno.readTextFile(join(folder, "kubeconfig"))) as Kubeconfig;
    return new Demo(child, folder, config);
  }

  get kubeconfig(): string {
    return join(this.folder, "kubeconfig");
  }

  token(user: string): string {
    return this.#tokens.get(user)!;
  }

  /** A TLS connection to the gateway. */
  async connect(): Promise<Deno.TlsConn> {
    return await Deno.connectTls({ hostname: "127.0.0.1", port: this.port, caCerts: [this.ca] });
  }

  /** A plain request, whose answer is read whole. */
  async request(
    user: string,
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
  ): Promise<Answer> {
    using client = Deno.createHttpClient({ caCerts: [this.ca] });
    const answer = await fetch(`https://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.token(user)}`, ...headers },
      client,
      ...(body !== undefined && { body }),
    });
    return { status: answer.status, headers: answer.headers, body: await answer.text() };
  }

  /** Asks for SPDY. @returns the connection at its first SPDY byte, where the answer is 101 */
  async upgrade(user: string, path: string, protocols: readonly string[]): Promise<SpdyAnswer> {
    const connection = new StreamConnection(await this.connect());
    const lines = [
      `POST ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${this.port}`,
      `Authorization: Bearer ${this.token(user)}`,
      "Connection: Upgrade",
      "Upgrade: SPDY/3.1",
      ...protocols.map((name) => `X-Stream-Protocol-Version: ${name}`),
      "Content-Length: 0",
    ];
    await connection.write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
    let held = new Uint8Array();
    for (;;) {
      const chunk = await connection.read();
      if (chunk === null) throw new Error("the gateway closed without an answer");
      held = new Uint8Array([...held, ...chunk]);
      const head = readResponseHead(held, 65_536);
      if (head === undefined) continue;
      let body: Uint8Array = held.subarray(head.headBytes);
      const length = Number(headerValues(head.headers, "content-length")[0] ?? 0);
      while (head.status !== 101 && body.length < length) {
        const more = await connection.read();
        if (more === null) break;
        body = new Uint8Array([...body, ...more]);
      }
      return {
        head,
        body: new TextDecoder().decode(body),
        connection: new PrefixedConnection(body, connection),
      };
    }
  }

  /** All events that were written so far. */
  async events(): Promise<WrittenEvent[]> {
    const text = await Deno.readTextFile(join(this.folder, "audit.log"));
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** Waits until an event is written that `matches`, and returns all of its request. */
  async eventsOf(matches: (event: WrittenEvent) => boolean): Promise<WrittenEvent[]> {
    for (let attempt = 0; attempt < 200; attempt++) {
      const events = await this.events();
      const found = events.findLast(matches);
      if (found !== undefined) return events.filter(({ auditID }) => auditID === found.auditID);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error("no such event was written");
  }

  /** Ends it as Ctrl-C does. */
  async stop(signal: Deno.Signal = "SIGINT"): Promise<Deno.CommandStatus> {
    this.#child.kill(signal);
    return await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => {});
    await Deno.remove(this.folder, { recursive: true });
  }
}

export interface Answer {
  status: number;
  headers: Headers;
  body: string;
}

export interface SpdyAnswer {
  head: ResponseHead;
  body: string;
  connection: ByteConnection;
}

interface Kubeconfig {
  clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  users: { name: string; user: { token: string } }[];
}
