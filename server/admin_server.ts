import { ClientConnection } from "./client_connection.ts";
import { HttpBridge } from "./http_bridge.ts";
import { DEFAULT_LIMITS, type ServerLimits } from "./server_options.ts";
import { SourceCounts } from "./source_counts.ts";

/** Where the admin port is. */
export interface AdminOptions {
  /** IP address that is listened on. */
  address: string;
  /** TCP port; 0 lets the system choose one. */
  port: number;
}

/** Answers what is asked on the admin port; no more than method and path are looked at. */
export type AdminHandler = (method: string, path: string, query: URLSearchParams) => Promise<Response>;

/**
 * Who asks here are probes and a scraper or two: whoever asks for more is sent away, and costs little. Nobody has so many of the
 * places that a probe finds none: whoever could keep it out would have the gateway ended for being dead.
 */
const LIMITS: ServerLimits = {
  ...DEFAULT_LIMITS,
  maxHeaderBytes: 16 << 10,
  maxHeldHeaderBytes: 1 << 20,
  headerTimeoutSeconds: 5,
  idleTimeoutSeconds: 30,
  stalledWriteSeconds: 10,
  maxConnections: 256,
  maxConnectionsPerAddress: 16,
};

/** Pause after a failed accept, in milliseconds. */
const ACCEPT_PAUSE_MS = 100;

/**
 * The admin port: plain HTTP, apart from the port that clients use, with bounds of its own. It is the last thing that a gateway
 * closes, so that it can be seen draining.
 */
export class AdminServer {
  readonly #listener: Deno.TcpListener;
  readonly #bridge: HttpBridge;
  readonly #clients = new Set<ClientConnection>();
  readonly #sources = new SourceCounts(LIMITS.maxConnectionsPerAddress);
  readonly #report: (message: string, cause?: unknown) => void;
  readonly #accepting: Promise<void>;
  #isOpen = true;

  /** Begins to listen. @throws {Error} where the address cannot be listened on */
  constructor(
    { address: hostname, port }: AdminOptions,
    handler: AdminHandler,
    report: (message: string, cause?: unknown) => void,
  ) {
    this.#report = report;
    this.#bridge = new HttpBridge(
      async (request, { rawTarget }) => {
        const [path = "", query = ""] = rawTarget.split("?", 2);
        return await handler(request.method, path, new URLSearchParams(query));
      },
      LIMITS,
      { onBadRequest: () => {}, report },
    );
    this.#listener = Deno.listen({ hostname, port });
    this.#accepting = this.#accept();
  }

  /** Where it listens. */
  get address(): Deno.NetAddr {
    return this.#listener.addr;
  }

  /** Closes everything at once. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#listener.close();
    this.#bridge.closeWhenIdle();
    this.#bridge.abortAll();
    for (const client of this.#clients) client.close();
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    while (this.#isOpen) {
      try {
        this.#welcome(await this.#listener.accept());
      } catch (thrown) {
        if (!this.#isOpen) return;
        this.#report("a connection to the admin port could not be accepted", thrown);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
      }
    }
  }

  #welcome(connection: Deno.TcpConn): void {
    const { hostname } = connection.remoteAddr;
    const isOfFew = this.#sources.enter(hostname);
    if (!isOfFew || this.#clients.size >= LIMITS.maxConnections) {
      this.#sources.leave(hostname);
      return connection.close();
    }
    connection.setNoDelay(true);
    const client = new ClientConnection(connection);
    this.#clients.add(client);
    void client.closed.then(() => {
      this.#clients.delete(client);
      this.#sources.leave(hostname);
    });
    this.#bridge.serve(client);
  }
}
