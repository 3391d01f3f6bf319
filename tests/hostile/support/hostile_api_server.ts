import { Buffer } from "node:buffer";
import { CA } from "../../../server/test_front.ts";
import { acceptKey } from "../../../protocol/websocket/mod.ts";
import { issue } from "../../support/certificates.ts";

/** A session's request at the API server, at the end of its head. */
export interface HostileExchange {
  connection: Deno.TlsConn;
  /** The value of a header of the request; empty where it has none. */
  header(name: string): string;
  /** Sends bytes, or Latin-1. @throws {Error} when the gateway has gone */
  send(bytes: Uint8Array | string): Promise<void>;
  /** Reads and drops what comes, until the gateway has gone. */
  gone(): Promise<void>;
}

/** What is done with a session's request. The connection is closed when it has resolved. */
export type Attack = (exchange: HostileExchange) => Promise<void>;

/**
 * What stands in an API server's place, or before it: requests go on to the API server, sessions are answered by whoever attacks.
 */
export class HostileApiServer implements AsyncDisposable {
  /** By pod. */
  readonly #attacks = new Map<string, Attack>();
  readonly #listener: Deno.TlsListener;
  readonly #open = new Set<Deno.Conn>();
  readonly #serving = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  #behind: URL | undefined;

  private constructor({ cert, key }: { cert: string; key: string }) {
    this.#listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
    this.#accepting = this.#accept();
  }

  static async start(): Promise<HostileApiServer> {
    return new HostileApiServer(await issue(CA));
  }

  /** Puts itself before an API server. @returns its own URL */
  before(apiServer: string): string {
    this.#behind = new URL(apiServer);
    return `https://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** What becomes of sessions in a pod. */
  expect(pod: string, attack: Attack): void {
    this.#attacks.set(pod, attack);
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      this.#open.add(connection);
      const serving = this.#serve(connection).catch(() => {}).finally(() => {
        this.#close(connection);
        this.#serving.delete(serving);
      });
      this.#serving.add(serving);
    }
  }

  async #serve(connection: Deno.TlsConn): Promise<void> {
    let head = Buffer.alloc(0);
    const buffer = new Uint8Array(65_536);
    while (!head.includes("\r\n\r\n")) {
      const count = await connection.read(buffer);
      if (count === null) return;
      head = Buffer.concat([head, buffer.subarray(0, count)]);
    }
    const text = head.toString("latin1");
    const header = (name: string) => new RegExp(`\r\n${name}: ([^\r]*)`, "i").exec(text)?.[1] ?? "";
    if (header("upgrade") === "") return await this.#passOn(connection, head);
    const attack = this.#attacks.get(/\/pods\/([^/]+)\//.exec(text)?.[1] ?? "");
    const send = (bytes: Uint8Array | string) => writeAll(connection, Buffer.from(bytes as string, "latin1"));
    await attack?.({ connection, header, send, gone: () => drained(connection) });
  }

  /** The rest of the connection is the API server's. */
  async #passOn(client: Deno.TlsConn, first: Uint8Array): Promise<void> {
    const { hostname, port } = this.#behind!;
    const server = await Deno.connectTls({ hostname, port: Number(port), caCerts: [CA.cert] });
    this.#open.add(server);
    await writeAll(server, first);
    await Promise.race([copy(client, server), copy(server, client)]);
    this.#close(server);
  }

  #close(connection: Deno.Conn): void {
    if (this.#open.delete(connection)) connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of [...this.#open]) this.#close(connection);
    await this.#accepting.catch(() => {});
    await Promise.all(this.#serving);
  }
}

/** The lines of a switch to WebSocket, as they should be, but for what is `changed`; a header that is to be missing is `""`. */
export function switching(
  { header }: HostileExchange,
  changed: Readonly<Record<string, string>> = {},
): string {
  const lines = {
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Accept": acceptKey(header("sec-websocket-key")),
    "Sec-WebSocket-Protocol": header("sec-websocket-protocol"),
    ...changed,
  };
  const present = Object.entries(lines).filter(([, value]) => value !== "");
  const text = present.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return `HTTP/1.1 101 Switching Protocols\r\n${text}\r\n`;
}

async function copy(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(16_384);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    await writeAll(to, buffer.subarray(0, count));
  }
}

/** Reads and drops what comes, to the end. */
async function drained(connection: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(16_384);
  while (await connection.read(buffer).catch(() => null) !== null);
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await connection.write(rest));
}
