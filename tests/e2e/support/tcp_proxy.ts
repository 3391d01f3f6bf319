import { sleep } from "./wait.ts";

/** Stands between the gateway and a kubelet or API server, to cut the wire where a test wants it cut. */
export class TcpProxy implements Disposable {
  readonly port: number;
  /** Whether whoever connects is let through; else they are hung up on. */
  isOpen = true;
  /** How long whoever connects is kept waiting before, in milliseconds. */
  delayMs = 0;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #serving: Promise<void>;

  constructor(readonly upstreamPort: number) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#serving = this.#serve();
  }

  /** Closes every connection, both sides, with whatever is still under way. */
  cut(): void {
    for (const connection of this.#connections) close(connection);
    this.#connections.clear();
  }

  /** Accepts no more, and cuts what there is. */
  async close(): Promise<void> {
    close(this.#listener);
    this.cut();
    await this.#serving;
  }

  [Symbol.dispose](): void {
    close(this.#listener);
    this.cut();
  }

  async #serve(): Promise<void> {
    const pipes: Promise<void>[] = [];
    try {
      for await (const client of this.#listener) {
        if (this.isOpen) pipes.push(this.#join(client));
        else close(client);
      }
    } catch { /* closed */ }
    await Promise.all(pipes);
  }

  async #join(client: Deno.TcpConn): Promise<void> {
    this.#connections.add(client);
    try {
      if (this.delayMs > 0) await sleep(this.delayMs);
      const upstream = await Deno.connect({ hostname: "127.0.0.1", port: this.upstreamPort });
      this.#connections.add(upstream);
      const both = [client.readable.pipeTo(upstream.writable), upstream.readable.pipeTo(client.writable)];
      await Promise.allSettled(both);
      close(upstream);
    } finally {
      close(client);
    }
  }
}

function close(closable: { close(): void }): void {
  try {
    closable.close();
  } catch { /* it was closed */ }
}
