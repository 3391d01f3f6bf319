import { StreamConnection } from "./stream_connection.ts";

/** How to reach a kubelet and whom to trust there. */
export interface KubeletEndpoint {
  /** An address of the node, or a name of it. */
  host: string;
  port: number;
  /** Name that the kubelet's certificate must bear. @default {host} */
  serverName?: string;
  /** PEM certificates of the authorities trusted to name kubelets. */
  caCerts: readonly string[];
  /** Shown to the kubelet in the TLS handshake, PEM. */
  clientCertificate?: { cert: string; key: string };
  /** Told in `Authorization`, if there is no client certificate. */
  token?: string;
}

/**
 * The name of kubelets whose certificates nobody verifies. Deno skips verification for whole names, and only for those that
 * it was started with: `--unsafely-ignore-certificate-errors=unverified.postern.dev`.
 */
export const UNVERIFIED_SERVER_NAME = "unverified.postern.dev";

/** What the dialler asks of its surroundings. */
export interface DialOptions {
  /** From the first packet to the end of the TLS handshake, in milliseconds. */
  timeoutMs: number;
  /** Whether an IP address may be dialled: checked on the address that the connection really has. */
  isAllowedAddress: (ip: string) => boolean;
  /** Turns Nagle's algorithm off on a connection that the platform opened with TLS, if that can be done. */
  setNoDelay: (connection: Deno.TlsConn) => void;
  signal: AbortSignal;
}

/** The kubelet could not be reached, or is not whom we asked for. `message` is for the client. */
export class DialError extends Error {
  override readonly name = "DialError";
}

/**
 * Opens a TLS connection to a kubelet.
 *
 * @throws {DialError} in the words in which the API server tells it, as far as the platform says as much
 */
export async function dialKubelet(
  endpoint: KubeletEndpoint,
  options: DialOptions,
): Promise<StreamConnection> {
  const { host, port } = endpoint;
  const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const dialling = connect(endpoint, options);
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const stop = AbortSignal.any([timeout, options.signal]);
  try {
    return new StreamConnection(await unlessAborted(dialling, stop));
  } catch (cause) {
    // A connection that comes up after all is not wanted any more.
    dialling.then((connection) => connection.close(), () => {});
    if (cause instanceof DialError) throw cause;
    const why = timeout.aborted ? "i/o timeout" : describe(cause);
    throw new DialError(`error dialing backend: dial tcp ${where}: ${why}`, { cause });
  }
}

async function connect(endpoint: KubeletEndpoint, options: DialOptions): Promise<Deno.TlsConn> {
  const { host, port, serverName = host, caCerts, clientCertificate } = endpoint;
  const tls = { caCerts: [...caCerts], alpnProtocols: ["http/1.1"] };
  if (clientCertificate !== undefined) return await connectWithCertificate(endpoint, options, tls);
  const tcp = await Deno.connect({ hostname: host, port });
  try {
    refuseAddress(tcp.remoteAddr, options);
    tcp.setNoDelay(true);
    tcp.setKeepAlive(true);
    const connection = await Deno.startTls(tcp, { ...tls, hostname: serverName });
    await connection.handshake();
    return connection;
  } catch (thrown) {
    close(tcp);
    throw thrown;
  }
}

/** `startTls` cannot show a certificate; `connectTls` can, but resolves the name itself and leaves Nagle on. */
async function connectWithCertificate(
  { host, port, clientCertificate }: KubeletEndpoint,
  options: DialOptions,
  tls: { caCerts: string[]; alpnProtocols: string[] },
): Promise<Deno.TlsConn> {
  const connection = await Deno.connectTls({ ...tls, ...clientCertificate, hostname: host, port });
  try {
    refuseAddress(connection.remoteAddr, options);
    options.setNoDelay(connection);
    await connection.handshake();
    return connection;
  } catch (thrown) {
    close(connection);
    throw thrown;
  }
}

function refuseAddress(address: Deno.NetAddr, options: DialOptions): void {
  if (!options.isAllowedAddress(address.hostname)) throw new DialError("address not allowed");
}

/** What the platform says, as people read it in Kubernetes; its own words where there are none. */
function describe(cause: unknown): string {
  if (cause instanceof Deno.errors.ConnectionRefused) return "connect: connection refused";
  if (cause instanceof Deno.errors.TimedOut) return "i/o timeout";
  return cause instanceof Error ? cause.message.replace(/\s+/g, " ").slice(0, 300) : "failed";
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // The handshake took it over and closed it.
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
