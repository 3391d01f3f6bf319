import type { Cluster } from "./cluster.ts";

/**
 * What stands before some API servers: a proxy that ends TLS and lets no upgrade through but WebSocket's. It looks at the first
 * request of each connection, which is all that a session needs.
 */
export class NoSpdyProxy implements AsyncDisposable {
  readonly #listener: Deno.TlsListener;
  readonly #serving: Promise<void>;
  readonly #open = new Set<Deno.TlsConn>();
  readonly #relays = new Set<Promise<void>>();

  private constructor(readonly cluster: Cluster, readonly ca: string, listener: Deno.TlsListener) {
    this.#listener = listener;
    this.#serving = this.#serve();
  }

  static async start(cluster: Cluster): Promise<NoSpdyProxy> {
    const { gatewayCertificate, gatewayKey, caCertificate } = cluster.paths;
    const [cert, key, ca] = await Promise.all(
      [gatewayCertificate, gatewayKey, caCertificate].map((path) => Deno.readTextFile(path)),
    );
    const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: cert!, key: key! });
    return new NoSpdyProxy(cluster, ca!, listener);
  }

  get url(): string {
    return `https://127.0.0.1:${this.#listener.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
    for (const connection of this.#open) close(connection);
    await Promise.all(this.#relays);
  }

  async #serve(): Promise<void> {
    try {
      for await (const client of this.#listener) {
        const relay: Promise<void> = this.#relay(client).catch(() => {}).finally(() =>
          this.#relays.delete(relay)
        );
        this.#relays.add(relay);
      }
    } catch {
      // It was closed.
    }
  }

  async #relay(client: Deno.TlsConn): Promise<void> {
    this.#open.add(client);
    try {
      const first = new Uint8Array(16 * 1024);
      const count = await client.read(first);
      if (count === null) return;
      const head = first.subarray(0, count);
      if (/^upgrade: spdy/im.test(new TextDecoder().decode(head))) {
        const body = "this proxy knows no such protocol\n";
        await send(client, encode(`HTTP/1.1 403 Forbidden\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
        await client.closeWrite();
        return;
      }
      const { hostname, port } = new URL(this.cluster.apiServerUrl);
      const server = await Deno.connectTls({ hostname, port: Number(port), caCerts: [this.ca] });
      this.#open.add(server);
      try {
        await send(server, head);
        await Promise.allSettled([pump(client, server), pump(server, client)]);
      } finally {
        this.#open.delete(server);
        close(server);
      }
    } finally {
      this.#open.delete(client);
      close(client);
    }
  }
}

async function pump(from: Deno.TlsConn, to: Deno.TlsConn): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    await send(to, buffer.subarray(0, count));
  }
  // What was written is on its way then, which it is not after a close alone.
  await to.closeWrite();
}

async function send(to: Deno.TlsConn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await to.write(bytes.subarray(sent));
}

function close(connection: Deno.TlsConn): void {
  try {
    connection.close();
  } catch { /* the other side was faster */ }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
