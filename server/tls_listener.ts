import { expiryOf, type KeyPair, readKeyPair, type TlsFiles } from "./certificate_files.ts";
import { ClientConnection } from "./client_connection.ts";
import type { SocketTuner } from "./no_delay.ts";
import { SourceCounts } from "./source_counts.ts";

/** What the listener needs to know. */
export interface TlsListenerOptions {
  /** IP address and TCP port; port 0 lets the system choose one. */
  address: string;
  port: number;
  tls: TlsFiles;
  handshakeTimeoutMs: number;
  /** Open at once, handshakes included. */
  maxConnections: number;
  /** Of these, from one source. */
  maxConnectionsPerAddress: number;
  /** Turns Nagle's algorithm off, and ends connections that stall; `undefined` where that is not possible. */
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

const NOT_TUNED =
  "the listening socket could not be tuned (is --allow-ffi granted for libc?): small writes may take " +
  "45 ms, and clients that stall cannot be disconnected";

/** How often it is looked for handshakes that take too long: all are then ended in one pass over our sockets. */
const SWEEP_MS = 250;

/** How often the same bound may be told of, in milliseconds: who knocks at it must not fill the log. */
const TELL_EVERY_MS = 60_000;

/** One listening socket with one certificate. */
interface Door {
  listener: Deno.TlsListener;
  isOpen: boolean;
  /** Settled when nothing waits at it any more: only then is a socket closed that was said to be. */
  ended: Promise<void>;
}

/**
 * Accepts TLS connections, and changes the certificate without ever closing the port.
 *
 * The platform fixes the certificate when it begins to listen. So for a new one a second socket is opened on the
 * same port (SO_REUSEPORT), who comes from then on is sent there, who was on the way to the old one is accepted for a
 * moment longer, and then that is closed. Connections that were accepted do not notice.
 *
 * Beyond the bound on connections nobody is accepted: who comes then waits in the kernel's queue, which has a bound of
 * its own. To accept and close would be kinder, but Deno closes a connection only after its handshake. So one source must
 * not take all the room: what it opens beyond its own bound is accepted, and ended by the next sweep.
 */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #hooks: TlsListenerHooks;
  readonly #clients = new Set<ClientConnection>();
  /**
   * Handshakes under way, and when they began, in milliseconds of {@linkcode performance.now}; -Infinity for those that
   * are too many from one source.
   */
  readonly #handshakes = new Map<Deno.TlsConn, number>();
  readonly #sources: SourceCounts;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #pair: KeyPair;
  #door: Door;
  /** The one with the certificate before, while it still takes in who was on the way to it. */
  #oldDoor: Door | undefined;
  #lastFault = "";
  #failedHandshakes = 0;
  #isFull = false;
  #toldFullMs = -Infinity;
  #toldRefusedMs = -Infinity;
  /** Refused since that was last told, and where the last one came from. */
  #refused = { count: 0, address: "" };
  /** Settled while there is room for another connection. */
  #room = Promise.withResolvers<void>();

  private constructor(options: TlsListenerOptions, hooks: TlsListenerHooks, pair: KeyPair) {
    this.#options = options;
    this.#hooks = hooks;
    this.#pair = pair;
    this.#sources = new SourceCounts(options.maxConnectionsPerAddress);
    this.#door = this.#openDoor(options.port, pair);
    this.#room.resolve();
    if (!this.#tune(this.#door)) hooks.report(NOT_TUNED);
    this.#every(options.tls.reloadSeconds * 1000, () => this.reload());
    this.#every(SWEEP_MS, () => this.#endSlowHandshakes());
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
    return this.#clients.size + this.#handshakes.size;
  }

  /** Handshakes so far that clients broke off, or took too long for. */
  get failedHandshakes(): number {
    return this.#failedHandshakes;
  }

  /**
   * Looks at the certificate's files, and listens with what they hold if that is new. What cannot be used is told
   * once, and changes nothing. Never throws.
   */
  async reload(): Promise<void> {
    try {
      const pair = await readKeyPair(this.#options.tls);
      if (pair.cert === this.#pair.cert && pair.key === this.#pair.key) return;
      // One renewal at a time; the end of one looks for the next.
      if (this.#oldDoor !== undefined || !this.#door.isOpen) return;
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

  /** Accepts nobody any more. Connections stay open; handshakes are given up. */
  stop(): void {
    closeDoor(this.#door);
    if (this.#oldDoor !== undefined) closeDoor(this.#oldDoor);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#room.resolve();
    this.#end([...this.#handshakes.keys()]);
  }

  /** Closes every connection, at once. */
  closeConnections(): void {
    for (const client of this.#clients) client.close();
  }

  #renew(pair: KeyPair): void {
    const door = this.#openDoor(this.address.port, pair);
    this.#tune(door);
    // Without a tuner both get new clients, and the few that come to the old one as it closes are refused.
    this.#options.tuner?.preferYounger(this.address);
    const old = this.#oldDoor = this.#door;
    this.#door = door;
    this.#pair = pair;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      closeDoor(old);
      if (this.#isFull) this.#wakeDoors();
      // The kernel gives the place of a socket that closes to the youngest. With a third one there already, it is
      // the second that would get all new connections, and be the next to close.
      void old.ended.then(() => {
        this.#oldDoor = undefined;
        return this.reload();
      });
    }, OVERLAP_MS);
    this.#timers.add(timer);
  }

  #openDoor(port: number, { cert, key }: KeyPair): Door {
    const { address: hostname } = this.#options;
    const alpnProtocols = ["http/1.1"];
    const listener = Deno.listenTls({ hostname, port, cert, key, alpnProtocols, reusePort: true });
    const door: Door = { listener, isOpen: true, ended: Promise.resolve() };
    door.ended = this.#acceptFrom(door);
    return door;
  }

  #tune({ listener }: Door): boolean {
    return this.#options.tuner?.tuneListener(listener.addr) ?? false;
  }

  #every(ms: number, act: () => void): void {
    const timer = setInterval(act, ms);
    Deno.unrefTimer(timer);
    this.#timers.add(timer);
  }

  async #acceptFrom(door: Door): Promise<void> {
    while (door.isOpen) {
      try {
        await this.#room.promise;
        if (!door.isOpen) return;
        if (this.#isFull) continue; // another door was closed meanwhile
        void this.#shakeHands(await door.listener.accept());
      } catch (thrown) {
        if (!door.isOpen) return;
        this.#hooks.report("a connection could not be accepted", thrown);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
      }
    }
  }

  /** Lets every door see that one of them was closed, although there is no room. */
  #wakeDoors(): void {
    const { resolve } = this.#room;
    this.#room = Promise.withResolvers();
    resolve();
  }

  /** Nobody waits for it: a slow handshake holds nobody else up. */
  async #shakeHands(connection: Deno.TlsConn): Promise<void> {
    const { hostname } = connection.remoteAddr;
    const mayStay = this.#sources.enter(hostname);
    if (!mayStay) this.#refused = { count: this.#refused.count + 1, address: hostname };
    const beganMs = mayStay ? performance.now() : -Infinity;
    this.#handshakes.set(connection, beganMs);
    this.#count();
    try {
      await connection.handshake();
      const isLate = performance.now() - beganMs > this.#options.handshakeTimeoutMs;
      if (isLate || !this.#door.isOpen) this.#dismiss(connection);
      else this.#welcome(connection);
    } catch {
      // A scanner, a health check of TCP alone, a client that does not trust us: it knows better than we why.
      this.#dismiss(connection);
    } finally {
      this.#handshakes.delete(connection);
      this.#count();
    }
  }

  #dismiss(connection: Deno.TlsConn): void {
    const { hostname } = connection.remoteAddr;
    this.#failedHandshakes++;
    close(connection);
    this.#sources.leave(hostname);
  }

  #welcome(connection: Deno.TlsConn): void {
    const { hostname } = connection.remoteAddr;
    const client = new ClientConnection(connection, this.#options.tuner);
    this.#clients.add(client);
    void client.closed.then(() => {
      this.#clients.delete(client);
      this.#sources.leave(hostname);
      this.#count();
    });
    this.#hooks.onConnection(client);
  }

  #endSlowHandshakes(): void {
    const before = performance.now() - this.#options.handshakeTimeoutMs;
    const slow = [...this.#handshakes].filter(([, beganMs]) => beganMs < before);
    this.#end(slow.map(([connection]) => connection));
    this.#tellRefused();
  }

  #tellRefused(): void {
    const { count, address } = this.#refused;
    const nowMs = performance.now();
    if (count === 0 || nowMs - this.#toldRefusedMs < TELL_EVERY_MS) return;
    this.#toldRefusedMs = nowMs;
    this.#refused = { count: 0, address: "" };
    const { maxConnectionsPerAddress } = this.#options;
    this.#hooks.report(
      `${count} connections were refused, the last from ${address}: ${maxConnectionsPerAddress} are open from there`,
    );
  }

  /** Without a tuner they go on, and stay counted: the bound on connections holds in any case. */
  #end(connections: readonly Deno.TlsConn[]): void {
    if (connections.length > 0) this.#options.tuner?.abort(connections);
  }

  /** Sees whether there is room for another connection. */
  #count(): void {
    const isFull = this.connections >= this.#options.maxConnections;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    if (!isFull) return this.#room.resolve();
    this.#room = Promise.withResolvers();
    const nowMs = performance.now();
    if (nowMs - this.#toldFullMs < TELL_EVERY_MS) return;
    this.#toldFullMs = nowMs;
    this.#hooks.report(`${this.connections} connections are open: more have to wait`);
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
