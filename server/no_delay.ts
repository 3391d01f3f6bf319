import { canonicalIp, Libc, type SocketOption } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;

/**
 * Without TCP_NODELAY a small write waits about 45 ms for a delayed ACK: every key pressed in a shell. Keepalive
 * notices within 60 + 4 × 15 seconds that a peer is gone which said nothing, whether or not it answers pings: the two
 * minutes that sessions give a silent client, so that a laptop may lose its network for a moment.
 */
const OPTIONS: readonly SocketOption[] = [
  { level: IPPROTO_TCP, name: TCP_NODELAY, value: 1 },
  { level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1 },
  { level: IPPROTO_TCP, name: TCP_KEEPIDLE, value: 60 },
  { level: IPPROTO_TCP, name: TCP_KEEPINTVL, value: 15 },
  { level: IPPROTO_TCP, name: TCP_KEEPCNT, value: 4 },
];

/** Descriptors are looked through up to here, in ascending order, as the kernel gives them out. */
const MAX_DESCRIPTORS = 1 << 16;

/** So many descriptors in a row that are no TCP socket, and no more are expected. */
const MAX_GAP = 1024;

/** What a connection is found by. */
export type Addresses = Pick<Deno.TlsConn, "localAddr" | "remoteAddr">;

/** Does to TLS sockets what the platform has no call for. */
export interface SocketTuner {
  /**
   * Tunes a listening socket; what it accepts from now on inherits the options.
   *
   * @returns whether the socket was found and took them all
   */
  tuneListener(address: Deno.NetAddr): boolean;
  /** Tunes an open connection, by its two addresses. @returns whether the socket was found and took them all */
  tuneConnection(connection: Addresses): boolean;
  /**
   * Of two sockets that listen on one port, has all new connections go to the younger one.
   *
   * @returns whether it could be done
   */
  preferYounger(address: Deno.NetAddr): boolean;
  /**
   * Ends connections at once. Deno's `close()` does not where a handshake or a write is under way: the socket stays
   * open until the peer goes on, so that clients which do nothing could pile up.
   */
  abort(connections: readonly Addresses[]): void;
  /**
   * Ends every TCP connection of this process whose other end has acknowledged nothing for so long, although it is sent the
   * same again and again: the way there is cut. By itself the kernel tries for about 15 minutes. Who only reads
   * nothing, and be it for hours, acknowledges that, and is left alone.
   *
   * @returns how many were ended
   */
  abortUnanswered(silenceMs: number): number;
}

/**
 * Opens libc, if FFI is granted, and gives the permission up: from then on nothing in this process can load a
 * library any more, while the tuner goes on working for new listeners and connections.
 *
 * The socket of a TLS connection is not told to us. It is found by its ports among our own descriptors, which needs
 * no permission to read `/proc` (Deno asks for all permissions there). That takes about 1 µs for each descriptor.
 *
 * @returns `undefined` where FFI is not granted: service is possible, but with Nagle's algorithm
 */
export function openSocketTuner(): SocketTuner | undefined {
  const libc = Libc.open();
  Deno.permissions.revokeSync({ name: "ffi" });
  if (libc === undefined) return undefined;
  return {
    tuneListener: (address) => tune(libc, isListeningOn(libc, address)),
    tuneConnection: (connection) => tune(libc, isOneOf(libc, [connection])),
    preferYounger(address) {
      const descriptor = sockets(libc).find(isListeningOn(libc, address));
      return descriptor !== undefined && libc.preferSecond(descriptor);
    },
    abort(connections) {
      const isMeant = isOneOf(libc, connections);
      for (const descriptor of sockets(libc)) {
        if (isMeant(descriptor)) libc.abort(descriptor);
      }
    },
    abortUnanswered(silenceMs) {
      const dead = [...sockets(libc)].filter((each) => (libc.unansweredMs(each) ?? -1) >= silenceMs);
      return dead.filter((each) => libc.abort(each)).length;
    },
  };
}

/** Tunes all sockets that match: two listeners share a port while a certificate is renewed. */
function tune(libc: Libc, matches: (descriptor: number) => boolean): boolean {
  let isTuned = false;
  for (const descriptor of sockets(libc)) {
    if (!matches(descriptor)) continue;
    if (!OPTIONS.every((option) => libc.setOption(descriptor, option))) return false;
    isTuned = true;
  }
  return isTuned;
}

function isListeningOn(libc: Libc, { port }: Deno.NetAddr): (descriptor: number) => boolean {
  return (descriptor) => libc.localPort(descriptor) === port && libc.isListening(descriptor);
}

/** Whether a descriptor is one of these connections. Ports alone could be those of two peers. */
function isOneOf(libc: Libc, connections: readonly Addresses[]): (descriptor: number) => boolean {
  const keys = new Set(
    connections.map(({ localAddr, remoteAddr }) =>
      key(localAddr.port, remoteAddr.port, canonicalIp(remoteAddr.hostname))
    ),
  );
  const ports = new Set(connections.map(({ remoteAddr }) => remoteAddr.port));
  return (descriptor) => {
    const [local, peer] = [libc.localPort(descriptor), libc.peerPort(descriptor)];
    if (local === undefined || peer === undefined || !ports.has(peer)) return false;
    return keys.has(key(local, peer, libc.peerIp(descriptor) ?? ""));
  };
}

function key(localPort: number, peerPort: number, peerIp: string): string {
  return `${localPort} ${peerPort} ${peerIp}`;
}

/** Our own descriptors that are TCP sockets. */
function* sockets(libc: Libc): Generator<number> {
  for (let descriptor = 0, gap = 0; descriptor < MAX_DESCRIPTORS && gap < MAX_GAP; descriptor++, gap++) {
    if (libc.localPort(descriptor) === undefined) continue;
    gap = 0;
    yield descriptor;
  }
}
