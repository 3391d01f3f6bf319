import { expiryOf, type KeyPair, readKeyPair, type TlsFiles } from "./certificate_files.ts";
import { ClientConnection } from "./client_connection.ts";
import type { SocketTuner } from "./no_delay.ts";

/** What the listener needs to know. */
export interface TlsListenerOptions {
  /** IP address and TCP port; port 0 lets the system choose one. */
  address: string;
  port: number;
  tls: TlsFiles;
  handshakeTimeoutMs: number;
  /** Open at once, handshakes included. */
  maxConnections: number;
  /** Turns Nagle's algorithm off, where that is possible. */
  tuner: SocketTuner | undefined;
}

/** Whom the listener tells what. */
export interface TlsListenerHooks {
  /** A client has finished its handshake. */
  onConnection(connection: ClientConnection): void;
  /** Something went wrong that an operator should know of. */
  report(message: string, cause?: unknown): void;
}

/** Pause after a failed accept: what fails at once again, as when descriptors run out, must not spin. */
const ACCEPT_PAUSE_MS = 100;

/** How long the listener with the old certificate still takes in who was already on the way to it. */
const OVERLAP_MS = 1000;

/** One listening socket with one certificate. */
interface Door {
  listener: Deno.TlsListener;
  isOpen: boolean;
}

/**
 * Accepts TLS connections, and changes the certificate without ever closing the port.
 *
 * The platform fixes the certificate when it begins to listen. So for a new one a second socket is opened on the
 * same port (SO_REUSEPORT), both are accepted from for a moment, and then the old one is closed. Connections that
 * were accepted do not notice.
 *
 * A connection beyond the bound is accepted and closed at once, rather than left in the kernel's queue: its client
 * then knows, and can try another replica.
 */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #hooks: TlsListenerHooks;
  readonly #open = new Set<ClientConnection | Deno.TlsConn>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #pair: KeyPair;
  #door: Door;
  #fading: Door[] = [];
  #lastFault = "";
  #isFull = false;

  private constructor(options: TlsListenerOptions, hooks: TlsListenerHooks, pair: KeyPair) {
    this.#options = options;
    this.#hooks = hooks;
    this.#pair = pair;
    this.#door = this.#openDoor(options.port, pair);
    if (!this.#tune(this.#door)) {
      hooks.report(
        "TCP_NODELAY could not be set on the listening socket (is --allow-ffi granted for libc?): " +
          "small writes may take 45 ms",
      );
    }
    const timer = setInterval(() => this.reload(), options.tls.reloadSeconds * 1000);
    Deno.unrefTimer(timer);
    this.#timers.add(timer);
  }

  /** Begins to listen. @throws {Error} if the certificate cannot be used, or the address not be listened on */
  static async open(options: TlsListenerOptions, hooks: TlsListenerHooks): Promise<TlsListener> {
    return new TlsListener(options, hooks, await readKeyPair(options.tls));
  }

  /** Where clients connect. */
  get address(): Deno.NetAddr {
    return this.#door.listener.addr;
  }

  /** Connections open now, handshakes included. */
  get connections(): number {
    return this.#open.size;
  }

  /**
   * Looks at the certificate's files, and listens with what they hold if that is new. What cannot be used is told
   * once, and changes nothing. Never throws.
   */
  async reload(): Promise<void> {
    try {
      const pair = await readKeyPair(this.#options.tls);
      if (pair.cert === this.#pair.cert && pair.key === this.#pair.key) return;
      if (!this.#door.isOpen) return;
      this.#renew(pair);
      this.#lastFault = "";
      this.#hooks.report(`the certificate was renewed; the new one is valid until ${expiryOf(pair)}`);
    } catch (thrown) {
      const fault = thrown instanceof Error ? thrown.message : String(thrown);
      if (fault === this.#lastFault) return;
      this.#lastFault = fault;
      this.#hooks.report("the new certificate cannot be used, the old one is kept", thrown);
    }
  }

  /** Accepts nobody any more. Connections stay open. */
  stop(): void {
    for (const door of [this.#door, ...this.#fading]) closeDoor(door);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Closes every connection, at once. */
  closeConnections(): void {
    for (const connection of this.#open) close(connection);
  }

  #renew(pair: KeyPair): void {
    const door = this.#openDoor(this.address.port, pair);
    this.#tune(door);
    const old = this.#door;
    this.#door = door;
    this.#pair = pair;
    this.#fading.push(old);
    const timer = setTimeout(() => {
      closeDoor(old);
      this.#fading = this.#fading.filter((other) => other !== old);
      this.#timers.delete(timer);
    }, OVERLAP_MS);
    this.#timers.add(timer);
  }

  #openDoor(port: number, { cert, key }: KeyPair): Door {
    const { address: hostname } = this.#options;
    const alpnProtocols = ["http/1.1"];
    const listener = Deno.listenTls({ hostname, port, cert, key, alpnProtocols, reusePort: true });
    const door = { listener, isOpen: true };
    void this.#acceptFrom(door);
    return door;
  }

  #tune({ listener }: Door): boolean {
    return this.#options.tuner?.tuneListener(listener.addr) ?? false;
  }

  async #acceptFrom(door: Door): Promise<void> {
    while (door.isOpen) {
      try {
        this.#admit(await door.listener.accept());
      } catch (thrown) {
        if (!door.isOpen) return;
        this.#hooks.report("a connection could not be accepted", thrown);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
      }
    }
  }

  /** Waits for nothing: a slow handshake holds nobody else up. */
  #admit(connection: Deno.TlsConn): void {
    if (this.#open.size >= this.#options.maxConnections) {
      close(connection);
      if (!this.#isFull) this.#hooks.report(`${this.#open.size} connections are open: more are closed`);
      this.#isFull = true;
      return;
    }
    this.#isFull = false;
    void this.#shakeHands(connection);
  }

  async #shakeHands(connection: Deno.TlsConn): Promise<void> {
    this.#open.add(connection);
    const timer = setTimeout(() => close(connection), this.#options.handshakeTimeoutMs);
    try {
      await connection.handshake();
    } catch {
      // A scanner, a health check of TCP alone, a client that does not trust us: it knows better than we why.
      close(connection);
      return;
    } finally {
      clearTimeout(timer);
      this.#open.delete(connection);
    }
    const client = new ClientConnection(connection);
    this.#open.add(client);
    void client.closed.then(() => this.#open.delete(client));
    this.#hooks.onConnection(client);
  }
}

function closeDoor(door: Door): void {
  if (!door.isOpen) return;
  door.isOpen = false;
  door.listener.close();
}

function close(connection: { close(): void }): void {
  try {
    connection.close();
  } catch {
    // It is closed already.
  }
}
