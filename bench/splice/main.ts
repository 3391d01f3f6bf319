/**
 * A process: the physical limit. TLS in, TLS out, bytes as they are, nothing looked at, nothing written down.
 * `splice.ts CERT KEY CA PORT`
 */

import { announce, certificateArguments, listen } from "./listen.ts";
import { PlainConnection } from "./plain_connection.ts";

const [, , caFile = "", port = ""] = Deno.args;
const caCerts = [await Deno.readTextFile(caFile)];

async function splice(accepted: Deno.TlsConn): Promise<void> {
  const client = new PlainConnection(accepted);
  let upstream: PlainConnection | undefined;
  try {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    tcp.setNoDelay(true);
    upstream = new PlainConnection(await Deno.startTls(tcp, { hostname: "127.0.0.1", caCerts }));
    await Promise.race([pump(client, upstream), pump(upstream, client)]);
  } catch {
    // One side left: the other is closed, too.
  } finally {
    client.close();
    upstream?.close();
  }
}

async function pump(from: PlainConnection, to: PlainConnection): Promise<void> {
  for (let chunk = await from.read(); chunk !== null; chunk = await from.read()) await to.write(chunk);
}

await announce({ splice: await listen(certificateArguments(), splice) });
