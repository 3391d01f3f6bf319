import assert from "node:assert/strict";
import { join } from "node:path";
import { z } from "zod";
import { issue, makeCa } from "./tests/support/certificates.ts";

/** Opens a TLS connection without naming an authority, and says whether it trusts who answers. */
const CLIENT = `
import { trustOnlyNamed } from ${JSON.stringify(import.meta.resolve("./named_authorities.ts"))};
const [port, isAsked] = Deno.args;
const isDone = isAsked === "asked" && trustOnlyNamed();
const tcp = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
const tls = await Deno.startTls(tcp, { hostname: "127.0.0.1" });
const trusts = await tls.handshake().then(() => true, () => false);
console.log(JSON.stringify({ isDone, trusts }));
Deno.exit();
`;
const Said = z.object({ isDone: z.boolean(), trusts: z.boolean() });

for (
  const { when, isAsked, grants, said } of [
    {
      when: "nobody has asked for less (or the tests below would show nothing)",
      isAsked: false,
      grants: true,
      said: { isDone: false, trusts: true },
    },
    {
      when: "only named ones were asked for",
      isAsked: true,
      grants: true,
      said: { isDone: true, trusts: false },
    },
    {
      when: "that may not be asked for, which is told",
      isAsked: true,
      grants: false,
      said: { isDone: false, trusts: true },
    },
  ]
) {
  Deno.test({
    name: `an authority that only the environment names is ${said.trusts ? "trusted" : "none"}: ${when}`,
    sanitizeOps: true,
    sanitizeResources: true,
    async fn() {
      const folder = await Deno.makeTempDir();
      const ca = await makeCa();
      using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...await issue(ca) });
      const accepting = listener.accept().then(async (connection) => {
        await connection.handshake().catch(() => {}); // the client breaks it off
        connection.close();
      });
      try {
        const [authority, program] = [join(folder, "ca.crt"), join(folder, "client.ts")];
        await Deno.writeTextFile(authority, ca.cert);
        await Deno.writeTextFile(program, CLIENT);
        const env = "--allow-env=DENO_TLS_CA_STORE,DENO_CERT,NODE_EXTRA_CA_CERTS";
        const flags = ["--no-prompt", "--no-config", "--no-lock", "--allow-net", ...(grants ? [env] : [])];
        const { stdout } = await new Deno.Command(Deno.execPath(), {
          args: ["run", ...flags, program, String(listener.addr.port), isAsked ? "asked" : "not"],
          env: { NODE_EXTRA_CA_CERTS: authority },
        }).output();
        assert.deepEqual(Said.parse(JSON.parse(new TextDecoder().decode(stdout))), said);
        await accepting;
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
