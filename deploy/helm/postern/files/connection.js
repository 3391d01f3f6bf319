// deno-lint-ignore-file no-console -- what `kubectl logs` shows of the test
/**
 * What `helm test` runs in the gateway's own image: a client as any other, that comes through the Service.
 *
 * TLS_NAME is what the certificate must say, SERVICE how the variables of the Service begin. The gateway's authority is
 * in ca.crt beside this file; without one, those count that everybody trusts.
 */

const here = new URL(".", import.meta.url);
const tokenFile = Deno.env.get("TOKEN_FILE") ?? "/var/run/secrets/kubernetes.io/serviceaccount/token";
const service = Deno.env.get("SERVICE");
const hostname = Deno.env.get(`${service}_SERVICE_HOST`);
const port = Number(Deno.env.get(`${service}_SERVICE_PORT`));
const tlsName = Deno.env.get("TLS_NAME");
const caCerts = await Deno.readTextFile(new URL("ca.crt", here)).then((pem) => [pem], () => undefined);

/** Asks, and returns the answer's first line and its last, which is the body of what is short. */
async function get(path, token) {
  const connection = await Deno.connect({ hostname, port });
  const tls = await Deno.startTls(connection, { hostname: tlsName, ...(caCerts && { caCerts }) });
  try {
    const credential = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
    const request = `GET ${path} HTTP/1.1\r\nHost: ${tlsName}\r\n${credential}Connection: close\r\n\r\n`;
    await tls.write(new TextEncoder().encode(request));
    const answer = await new Response(tls.readable).text();
    return { status: Number(answer.split(" ")[1]), answer };
  } finally {
    try {
      tls.close();
    } catch {
      // The stream has closed it.
    }
  }
}

/** What is tried, and what must come of it. Who has no credential may ask the API server for its version: not the gateway. */
const tries = [
  ["who has no credential is refused", "/postern/v1/openapi.json", undefined, 401],
  ["who has a wrong one is refused", "/version", "wrong", 401],
  [
    "who has a good one is let through to the API server",
    "/version",
    await Deno.readTextFile(tokenFile),
    200,
  ],
];

let failed = 0;
for (const [name, path, token, expected] of tries) {
  try {
    const { status, answer } = await get(path, token);
    if (status !== expected) throw new Error(`answered ${status}, not ${expected}: ${answer.slice(-300)}`);
    console.log(`ok: ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED: ${name}: ${error.message}`);
  }
}
Deno.exit(failed === 0 ? 0 : 1);
