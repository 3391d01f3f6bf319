/**
 * One candidate in a process of its own: `front_process.ts NAME CERT KEY`. Says on which port it listens.
 *
 * The first byte of a connection, which is sent back, says what is asked: `I` to take all that comes, `O` to send without end, `S` to
 * answer each byte with three writes of 10, `L` to read slowly, 6.4 MB a second.
 */

import type { ByteConnection } from "../../session/byte_connection.ts";
import { CANDIDATES } from "./candidates.ts";

const CHUNK = new Uint8Array(64 * 1024);
const SMALL = new Uint8Array(10);
const SLOW_BYTES_PER_MS = 6_400;

const [name = "", certFile = "", keyFile = ""] = Deno.args;
const [cert, key] = await Promise.all([Deno.readTextFile(certFile), Deno.readTextFile(keyFile)]);
const listen = CANDIDATES[name];
if (listen === undefined) throw new Error(`no such candidate: ${name}`);
const port = await listen(
  { cert, key },
  (connection) => void serve(connection).catch(() => connection.close()),
);
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify({ port }) + "\n"));

async function serve(connection: ByteConnection): Promise<void> {
  const first = await connection.read();
  const task = String.fromCharCode(first?.[0] ?? 0);
  await connection.write(new TextEncoder().encode(task));
  if (task === "O") { for (;;) await connection.write(CHUNK); }
  for (let bytes = await connection.read(); bytes !== null; bytes = await connection.read()) {
    if (task === "S") await Promise.all([SMALL, SMALL, SMALL].map((small) => connection.write(small)));
    if (task === "L") {
      await new Promise((resolve) => setTimeout(resolve, bytes.length / SLOW_BYTES_PER_MS));
    }
  }
  connection.close();
}
