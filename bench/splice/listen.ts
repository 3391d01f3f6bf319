import { openSocketTuner } from "../../server/no_delay.ts";

/** Where a process of the benchmark finds its certificate. */
export interface CertificateFiles {
  certFile: string;
  keyFile: string;
}

/** Reads `CERT KEY` from the command line's first two words. */
export function certificateArguments(): CertificateFiles {
  const [certFile, keyFile] = Deno.args;
  if (certFile === undefined || keyFile === undefined) throw new Error("usage: CERT KEY …");
  return { certFile, keyFile };
}

/**
 * Listens on loopback, without Nagle's algorithm, as every Go server does, and serves each connection.
 *
 * @returns the port
 */
export async function listen(
  { certFile, keyFile }: CertificateFiles,
  serve: (connection: Deno.TlsConn) => Promise<void>,
): Promise<number> {
  const [cert, key] = await Promise.all([Deno.readTextFile(certFile), Deno.readTextFile(keyFile)]);
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  if (!openSocketTuner()?.tuneListener(listener.addr)) {
    throw new Error("TCP_NODELAY cannot be set: latency would be Nagle's, not the gateway's");
  }
  const acceptAll = async () => {
    for await (const connection of listener) serve(connection);
  };
  acceptAll();
  return listener.addr.port;
}

/** Tells the benchmark, which reads the first line of our output, where we listen. */
export async function announce(ports: Record<string, number>): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(ports) + "\n"));
}
