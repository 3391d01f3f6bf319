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

/** What {@linkcode GatewayServer.drain} may be told. */
export interface DrainOptions {
  leastMs?: number;
  hurry?: AbortSignal;
}

/** How long sessions that were told to end may take to tell their clients, in milliseconds. */
const FAREWELL_MS = 2000;
/** How long may be waited for what sessions write down, once all is closed. */
const LAST_WORDS_MS = 10_000;
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
    const { maxConnections, maxConnectionsPerAddress, handshakeTimeoutSeconds } = limits;
    const handshakeTimeoutMs = handshakeTimeoutSeconds * 1000;
    const listener = await TlsListener.open(
      { ...options, maxConnections, maxConnectionsPerAddress, handshakeTimeoutMs, tuner },
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

  /** TLS handshakes so far that came to nothing. */
  get failedHandshakes(): number {
    return this.#listener.failedHandshakes;
  }

  /** Looks at the certificate's files now, instead of when the time has come. Never throws. */
  reloadCertificate(): Promise<void> {
    return this.#listener.reload();
  }

  /**
   * Closes what is idle, and lets requests and sessions go on until the deadline; then their signals are aborted, and
   * after a moment to say so all is closed. Meanwhile it still answers who comes, so that nobody is left to guess why:
   * what to answer is for the handler to say. Resolves when everything is closed and nothing runs any more.
   *
   * @param leastMs how long to go on answering where nothing is left to wait for: who balances may not know yet
   * @param hurry aborted when nothing is to be waited for any more
   */
  async drain(deadlineMs: number, { leastMs = 0, hurry }: DrainOptions = {}): Promise<void> {
    this.#bridge.closeWhenIdle();
    const least = performance.now() + Math.min(leastMs, deadlineMs);
    await this.#until(
      () => this.#bridge.running === 0 && performance.now() >= least || hurry?.aborted === true,
      deadlineMs,
    );
    this.#listener.stop();
    this.#bridge.abortAll();
    await this.#until(() => this.#listener.connections + this.#bridge.running === 0, FAREWELL_MS);
    this.#listener.closeConnections();
    // What ends only now still has its end to write down.
    await this.#until(() => this.#bridge.running === 0, LAST_WORDS_MS);
  }

  /** Closes everything at once. */
  async close(): Promise<void> {
    this.#listener.stop();
    this.#bridge.closeWhenIdle();
    this.#bridge.abortAll();
    this.#listener.closeConnections();
    await this.#until(() => this.#listener.connections + this.#bridge.running === 0, FAREWELL_MS);
  }

  /** Waits until something is so, but no longer than `timeoutMs`. */
  async #until(isSo: () => boolean, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!isSo() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
