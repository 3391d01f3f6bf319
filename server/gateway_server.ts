import type { Handler } from "../routes/handler.ts";
import { HttpBridge, type HttpBridgeHooks } from "./http_bridge.ts";
import type { SocketTuner } from "./no_delay.ts";
import { DEFAULT_LIMITS, type ServerOptions } from "./server_options.ts";
import { TlsListener } from "./tls_listener.ts";

/** What the server asks of its surroundings. */
export interface GatewayServerHooks extends HttpBridgeHooks {
  /** Turns Nagle's algorithm off; absent where FFI is not granted. */
  tuner?: SocketTuner | undefined;
}

/** How long sessions that were told to end may take to tell their clients, in milliseconds. */
const FAREWELL_MS = 2000;
/** How often it is looked whether all is done. */
const POLL_MS = 20;

/**
 * The front: TLS connections in, requests to the handler, upgraded connections to whom the handler says.
 *
 * It knows bytes and requests, nothing of Kubernetes but the shape of a refusal.
 */
export class GatewayServer {
  readonly #listener: TlsListener;
  readonly #bridge: HttpBridge;

  private constructor(listener: TlsListener, bridge: HttpBridge) {
    this.#listener = listener;
    this.#bridge = bridge;
  }

  /** Begins to listen and to serve. @throws {Error} if the certificate or the address cannot be used */
  static async listen(
    { limits: given, ...options }: ServerOptions,
    handler: Handler,
    { tuner, ...hooks }: GatewayServerHooks,
  ): Promise<GatewayServer> {
    const limits = { ...DEFAULT_LIMITS, ...given };
    const bridge = new HttpBridge(handler, limits, hooks);
    const { maxConnections, handshakeTimeoutSeconds } = limits;
    const listener = await TlsListener.open(
      { ...options, maxConnections, handshakeTimeoutMs: handshakeTimeoutSeconds * 1000, tuner },
      { onConnection: (connection) => bridge.serve(connection), report: hooks.report },
    );
    return new GatewayServer(listener, bridge);
  }

  /** Where clients connect. */
  get address(): Deno.NetAddr {
    return this.#listener.address;
  }

  /** Connections open now, handshakes included. */
  get connections(): number {
    return this.#listener.connections;
  }

  /** Looks at the certificate's files now, instead of when the time has come. Never throws. */
  reloadCertificate(): Promise<void> {
    return this.#listener.reload();
  }

  /**
   * Stops accepting, closes what is idle, and lets requests and sessions go on until the deadline; then their
   * signals are aborted, and after a moment to say so all is closed. Resolves when everything is closed.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#listener.stop();
    this.#bridge.closeWhenIdle();
    await this.#settled(deadlineMs);
    this.#bridge.abortAll();
    await this.#settled(FAREWELL_MS);
    this.#listener.closeConnections();
  }

  /** Closes everything at once. */
  async close(): Promise<void> {
    this.#listener.stop();
    this.#bridge.closeWhenIdle();
    this.#bridge.abortAll();
    this.#listener.closeConnections();
    await this.#settled(FAREWELL_MS);
  }

  async #settled(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.#listener.connections + this.#bridge.running > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
