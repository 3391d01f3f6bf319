/**
 * A TLS client by OpenSSL, run by Node: it can do what rustls, which Deno uses, cannot.
 *
 *     node tls_client.mjs PORT '{"maxVersion": "TLSv1.2", …}' [renegotiate]      prints how it ended, in one line
 */
import { connect } from "node:tls";

const [port, options, renegotiate] = process.argv.slice(2);

function end(text) {
  process.stdout.write(`${text}\n`, () => process.exit(0));
}

const socket = connect({
  host: "127.0.0.1",
  port: Number(port),
  rejectUnauthorized: false,
  ...JSON.parse(options),
});
socket.on("error", ({ code }) => end(`refused: ${code}`));
socket.on("close", () => end("closed"));
socket.once("secureConnect", () => {
  const ask = () => socket.write("GET /version HTTP/1.1\r\nHost: gateway\r\n\r\n");
  socket.once("data", (bytes) => end(bytes.toString("latin1").split("\r\n")[0]));
  if (renegotiate === undefined) return ask();
  socket.renegotiate({}, (error) => error ? end(`refused: ${error.code}`) : ask());
});
