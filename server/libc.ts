/**
 * The few calls of libc that the platform does not offer for TLS connections. Linux only.
 *
 * @see getsockname(2), getsockopt(2), shutdown(2), socket(7), tcp(7); numbers as asm-generic/socket.h has them, the same on
 * x86-64 and arm64
 */

/** Where libc lies, by architecture and distribution. A permission may name one of these, and nothing else. */
export const LIBC_PATHS = [
  "/lib/x86_64-linux-gnu/libc.so.6",
  "/lib/aarch64-linux-gnu/libc.so.6",
  "/lib64/libc.so.6",
  "/usr/lib/libc.so.6",
] as const;

const SYMBOLS = {
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  memmove: { parameters: ["buffer", "buffer", "usize"], result: "usize" },
} as const;

const AF_INET = 2;
const AF_INET6 = 10;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const SO_ACCEPTCONN = 30;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SHUT_RDWR = 2;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;

/** TCP_SYN_SENT and TCP_SYN_RECV. */
const CONNECTING: ReadonlySet<number> = new Set([2, 3]);

/** The beginning of `struct tcp_info`, up to and with the last field that is read here, in bytes. */
const TCP_INFO_BYTES = 60;

/** Size of `sockaddr_storage`, which holds an address of any family, in bytes. */
const ADDRESS_BYTES = 128;

/** An option of a socket whose value is an `int`. */
export interface SocketOption {
  level: number;
  name: number;
  value: number;
}

/** libc, as far as it is needed: file descriptors in, numbers out. No call throws. */
export class Libc {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  // Views are made once: tens of thousands of descriptors are looked at in a row.
  readonly #address = new Uint8Array(ADDRESS_BYTES);
  readonly #family = new Uint16Array(this.#address.buffer, 0, 1);
  readonly #portView = new DataView(this.#address.buffer);
  readonly #length = new Uint32Array(1);
  readonly #lengthBytes = bytes(this.#length);
  readonly #int = new Int32Array(1);
  readonly #info = new Uint8Array(TCP_INFO_BYTES);
  readonly #infoWords = new Uint32Array(this.#info.buffer);
  readonly #preference: ConstantFilter;

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#library = library;
    // `Deno.UnsafePointer` wants FFI without a path, which is more than is asked for; memmove returns where it moved to.
    this.#preference = new ConstantFilter(1, (buffer) => library.symbols.memmove(buffer, buffer, 0n));
  }

  /**
   * Opens libc at the first known place where it lies and where opening it is permitted. Never prompts.
   *
   * @returns `undefined` where FFI is not granted, or where this is no Linux with glibc
   */
  static open(): Libc | undefined {
    if (Deno.build.os !== "linux") return undefined;
    for (const path of LIBC_PATHS) {
      if (Deno.permissions.querySync({ name: "ffi", path }).state !== "granted") continue;
      try {
        return new Libc(Deno.dlopen(path, SYMBOLS));
      } catch {
        // Not there, or another libc: the next place may have it.
      }
    }
    return undefined;
  }

  /** The port that a TCP socket is bound to; `undefined` where the descriptor is no such socket. */
  localPort(descriptor: number): number | undefined {
    this.#length[0] = ADDRESS_BYTES;
    return this.#port(this.#library.symbols.getsockname(descriptor, this.#address, this.#lengthBytes));
  }

  /** The port at the other end of a connected TCP socket. */
  peerPort(descriptor: number): number | undefined {
    this.#length[0] = ADDRESS_BYTES;
    return this.#port(this.#library.symbols.getpeername(descriptor, this.#address, this.#lengthBytes));
  }

  /** The IP address at the other end of a connected TCP socket, as {@linkcode canonicalIp} writes it. */
  peerIp(descriptor: number): string | undefined {
    if (this.peerPort(descriptor) === undefined) return undefined;
    if (this.#family[0] === AF_INET) return this.#address.subarray(4, 8).join(".");
    const groups = new DataView(this.#address.buffer, 8, 16);
    const texts = Array.from({ length: 8 }, (_, index) => groups.getUint16(index * 2).toString(16));
    return canonicalIp(texts.join(":"));
  }

  isListening(descriptor: number): boolean {
    return this.getOption(descriptor, SOL_SOCKET, SO_ACCEPTCONN) === 1;
  }

  getOption(descriptor: number, level: number, name: number): number | undefined {
    this.#length[0] = this.#int.byteLength;
    const { getsockopt } = this.#library.symbols;
    const result = getsockopt(descriptor, level, name, bytes(this.#int), this.#lengthBytes);
    return result === 0 ? this.#int[0] : undefined;
  }

  /**
   * How long the other end has acknowledged nothing of what is sent to it again and again, in milliseconds; `undefined` where
   * nothing has to be.
   *
   * A peer that only takes nothing more acknowledges each time that it is asked whether it does: no more than one timeout
   * (`rto`, which doubles each time) goes by without. Of one that is cut off, nearly two do.
   *
   *     struct tcp_info { u8 state, ca_state, retransmits, …; u32 rto (in us), …, unacked at 24, …, last_ack_recv at 56 (in ms) }
   */
  unansweredMs(descriptor: number): number | undefined {
    this.#length[0] = TCP_INFO_BYTES;
    const { getsockopt } = this.#library.symbols;
    const result = getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, this.#info, this.#lengthBytes);
    if (result !== 0 || this.#length[0] < TCP_INFO_BYTES) return undefined;
    const words = this.#infoWords;
    const rtoUs = words[2]!;
    const unacked = words[6]!;
    const silentMs = words[14]!;
    if (this.#info[2] === 0 || unacked === 0) return undefined; // nothing is sent again
    if (CONNECTING.has(this.#info[0]!)) return undefined; // nothing was ever acknowledged, and who dials has a deadline
    return silentMs > 1.25 * rtoUs / 1000 ? silentMs : undefined;
  }

  /** @returns whether the socket took it */
  setOption(descriptor: number, { level, name, value }: SocketOption): boolean {
    this.#int[0] = value;
    const { setsockopt } = this.#library.symbols;
    return setsockopt(descriptor, level, name, bytes(this.#int), this.#int.byteLength) === 0;
  }

  /**
   * Has every new connection go to the second of two sockets that listen on a port together (SO_REUSEPORT). When the
   * first one closes, the other becomes the first, there is no second, and it gets them all the same.
   *
   * @param descriptor any of the two
   */
  preferSecond(descriptor: number): boolean {
    const { program } = this.#preference;
    const { setsockopt } = this.#library.symbols;
    return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program, program.length) === 0;
  }

  /** Ends a connection at once: the peer is told with a reset, and what is still to be sent is dropped. */
  abort(descriptor: number): boolean {
    const { setsockopt, shutdown } = this.#library.symbols;
    const linger = new Int32Array([1, 0]); // on, for 0 seconds: no orphan stays behind in the kernel
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, bytes(linger), linger.byteLength);
    return shutdown(descriptor, SHUT_RDWR) === 0;
  }

  /** `sockaddr_in` and `sockaddr_in6` both begin with the family, and the port in network order. */
  #port(result: number): number | undefined {
    if (result !== 0) return undefined;
    const family = this.#family[0];
    if (family !== AF_INET && family !== AF_INET6) return undefined;
    return this.#portView.getUint16(2);
  }
}

/**
 * The smallest program of the classic packet filter: it returns one number.
 *
 *     struct sock_filter { u16 code; u8 jt; u8 jf; u32 k; }           the one instruction
 *     struct sock_fprog { u16 length; (6 bytes) sock_filter *first; } in the byte order of the machine
 *
 * @see linux/filter.h; socket(7), SO_ATTACH_REUSEPORT_CBPF
 */
class ConstantFilter {
  readonly program = new Uint8Array(16);
  /** Held here, because the program only points to it. */
  readonly #instruction = new Uint8Array(8);

  /** @param addressOf where a buffer lies in memory */
  constructor(value: number, addressOf: (buffer: Uint8Array<ArrayBuffer>) => bigint) {
    const BPF_RET = 6;
    new Uint16Array(this.#instruction.buffer)[0] = BPF_RET;
    new Uint32Array(this.#instruction.buffer)[1] = value;
    new Uint16Array(this.program.buffer)[0] = 1;
    new BigUint64Array(this.program.buffer)[1] = addressOf(this.#instruction);
  }
}

/** One spelling of an IP address, whoever wrote it. */
export function canonicalIp(ip: string): string {
  return ip.includes(":") ? new URL(`http://[${ip.replace(/%.*/, "")}]`).hostname : ip;
}

function bytes(view: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer);
}
