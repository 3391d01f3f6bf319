import type { TlsFiles } from "./certificate_files.ts";

/** Where clients connect, and the bounds that hold before anyone is known. */
export interface ServerOptions {
  /** IP address that is listened on. */
  address: string;
  /** TCP port; 0 lets the system choose one. */
  port: number;
  tls: TlsFiles;
  limits?: Partial<ServerLimits>;
}

/** What a client may cost. */
export interface ServerLimits {
  /** Request line and headers together, in bytes. @default {1048576}, the API server's */
  maxHeaderBytes: number;
  /** Headers of all requests together, beyond the first 16 KiB of each, in bytes. @default {67108864} */
  maxHeldHeaderBytes: number;
  /** From the first byte of a request to the end of its headers. @default {32}, the API server's */
  headerTimeoutSeconds: number;
  /** From accept to the end of the TLS handshake. @default {10} */
  handshakeTimeoutSeconds: number;
  /** Without a request; also without a byte of a body that is waited for. @default {90} */
  idleTimeoutSeconds: number;
  /** How long one write may wait for a client that does not read. Sessions have limits of their own. @default {900} */
  stalledWriteSeconds: number;
  /** After so many a connection is closed. @default {1000} */
  maxRequestsPerConnection: number;
  /** Open at once, handshakes included; whoever comes then has to wait. @default {4096} */
  maxConnections: number;
  /** Of these, from one IPv4 address or IPv6 network of /64; one more is ended at once. @default {1024} */
  maxConnectionsPerAddress: number;
}

/** The bounds, where nothing else is said. */
export const DEFAULT_LIMITS: Readonly<ServerLimits> = {
  maxHeaderBytes: 1 << 20,
  maxHeldHeaderBytes: 64 << 20,
  headerTimeoutSeconds: 32,
  handshakeTimeoutSeconds: 10,
  idleTimeoutSeconds: 90,
  stalledWriteSeconds: 900,
  maxRequestsPerConnection: 1000,
  maxConnections: 4096,
  maxConnectionsPerAddress: 1024,
};
