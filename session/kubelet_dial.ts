import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { Refusal } from "../kube/status.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { Deadline } from "./deadline.ts";
import { startGatedTls } from "./gated_tls.ts";
import { StreamConnection } from "./stream_connection.ts";

/** Of one name. */
const MAX_ADDRESSES = 4;

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
  /** Trust whoever answers. */
  insecureSkipTLSVerify?: boolean;
}

/** What the dialler asks of its surroundings. */
export interface DialOptions {
  /** From the first packet to the end of the TLS handshake, in milliseconds. */
  timeoutMs: number;
  /** Whether an IP address may be dialled: asked of the very address, before anything is sent there. */
  isAllowedAddress: (ip: string) => boolean;
  signal: AbortSignal;
  /** The addresses of a name, best first. @default {as the system finds them} */
  lookup?: (name: string) => Promise<readonly string[]>;
}

/** The kubelet could not be reached, or is not whom we asked for. `message` is for the client. */
export class DialError extends Error {
  override readonly name = "DialError";
}

/**
 * Opens a TLS connection to a kubelet.
 *
 * @throws {DialError} in the words in which the API server tells it, as far as the platform says as much
 * @throws {Refusal} Forbidden, where no address may be dialled that it has
 */
export async function dialKubelet(
  endpoint: KubeletEndpoint,
  options: DialOptions,
): Promise<ByteConnection> {
  const { host, port } = endpoint;
  const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const dialling = connect(endpoint, options);
  using deadline = new Deadline(options.timeoutMs, options.signal);
  try {
    return await Promise.race([dialling, deadline.passed]);
  } catch (cause) {
    // A connection that comes up after all is not wanted any more.
    dialling.then((connection) => connection.close(), () => {});
    if (cause instanceof Refusal) throw cause;
    const why = deadline.isLate ? "i/o timeout" : describe(cause);
    throw new DialError(`error dialing backend: dial tcp ${where}: ${why}`, { cause });
  }
}

async function connect(endpoint: KubeletEndpoint, options: DialOptions): Promise<ByteConnection> {
  const { host, port, serverName = host, caCerts, clientCertificate, insecureSkipTLSVerify = false } =
    endpoint;
  const tcp = await connectToAny(await allowedAddresses(host, options), port);
  try {
    tcp.setNoDelay(true);
    // By the system's times, 2 hours on most: the platform sets no others. Pings find out sooner, where they are answered.
    tcp.setKeepAlive(true);
    if (clientCertificate !== undefined || insecureSkipTLSVerify) {
      const certificate = clientCertificate && { clientCertificate };
      return await startGatedTls(tcp, { serverName, caCerts, insecureSkipTLSVerify, ...certificate });
    }
    const tls = { caCerts: [...caCerts], alpnProtocols: ["http/1.1"], hostname: serverName };
    const connection = await Deno.startTls(tcp, tls);
    await connection.handshake();
    return new StreamConnection(connection);
  } catch (thrown) {
    close(tcp);
    throw thrown;
  }
}

/**
 * The addresses to dial, one after the other. A name is looked up once, here, so that what is dialled is what was asked about: a
 * name that answers otherwise a moment later leads nowhere else.
 */
async function allowedAddresses(
  host: string,
  { isAllowedAddress, lookup = systemLookup }: DialOptions,
): Promise<readonly string[]> {
  const addresses = isIP(host) === 0 ? await lookup(host) : [host];
  const allowed = addresses.filter(isAllowedAddress);
  if (allowed.length > 0) return allowed.slice(0, MAX_ADDRESSES);
  const named = addresses[0] === host ? host : `${host} (${addresses.slice(0, MAX_ADDRESSES).join(", ")})`;
  throw new Refusal("Forbidden", `the node's address ${named} is not one that the gateway may dial`, {
    rule: "node-address",
  });
}

async function systemLookup(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address);
}

/** The first that takes a connection; what the last one said where none does. */
async function connectToAny(addresses: readonly string[], port: number): Promise<Deno.TcpConn> {
  let refusal: unknown;
  for (const hostname of addresses) {
    try {
      return await Deno.connect({ hostname, port });
    } catch (thrown) {
      refusal = thrown;
    }
  }
  throw refusal;
}

/** What the platform says, as people read it in Kubernetes; its own words where there are none. */
function describe(cause: unknown): string {
  if (cause instanceof Deno.errors.ConnectionRefused) return "connect: connection refused";
  if (cause instanceof Deno.errors.TimedOut) return "i/o timeout";
  if (cause instanceof Error && "code" in cause && cause.code === "ENOTFOUND") return "lookup: no such host";
  return cause instanceof Error ? cause.message.replace(/\s+/g, " ").slice(0, 300) : "failed";
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // The handshake took it over and closed it.
  }
}
