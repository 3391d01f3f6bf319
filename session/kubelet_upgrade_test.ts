import assert from "node:assert/strict";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { DialError } from "./kubelet_dial.ts";
import { upgradeUpstream, UpstreamRefusal } from "./kubelet_upgrade.ts";

const CA = await makeCa();
const LEAF = await issue(CA);
const OPTIONS = { timeoutMs: 2_000, isAllowedAddress: () => true, signal: new AbortController().signal };
const V4 = "v4.channel.k8s.io";
const SWITCHED =
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${V4}\r\n\r\n`;

/** Asks a kubelet that answers with exactly these bytes, and returns what it was sent. */
async function ask(
  answer: string,
  then: (asking: ReturnType<typeof upgradeUpstream>) => Promise<void>,
): Promise<string> {
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: LEAF.cert, key: LEAF.key });
  const endpoint = { host: "127.0.0.1", port: listener.addr.port, caCerts: [CA.cert], token: "tok" };
  const asking = upgradeUpstream(endpoint, "/exec/ns/p/u/c?output=1", V4, OPTIONS);
  asking.catch(() => {});
  using connection = await listener.accept();
  const buffer = new Uint8Array(4096);
  const count = await connection.read(buffer);
  await connection.write(new TextEncoder().encode(answer));
  await connection.closeWrite();
  await then(asking);
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}

Deno.test("E-23 bytes behind the kubelet's 101 are the first of the stream; the request offers one protocol", async () => {
  const sent = await ask(`${SWITCHED}first`, async (asking) => {
    const { connection } = await asking;
    assert.equal(new TextDecoder().decode(await connection.read() ?? new Uint8Array()), "first");
    connection.close();
  });
  assert.match(sent, /^POST \/exec\/ns\/p\/u\/c\?output=1 HTTP\/1\.1\r\n/);
  assert.match(sent, /\r\nAuthorization: Bearer tok\r\n/);
  assert.equal(sent.match(/X-Stream-Protocol-Version/g)?.length, 1);
});

Deno.test("a kubelet's refusal is kept: status, headers and words", async () => {
  await ask(
    "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\npod does not exist",
    async (asking) => {
      await assert.rejects(asking, (thrown) => {
        assert.ok(thrown instanceof UpstreamRefusal);
        assert.deepEqual([thrown.status, new TextDecoder().decode(thrown.body)], [404, "pod does not exist"]);
        return true;
      });
    },
  );
});

const NONSENSE = [
  { name: "no HTTP", answer: "SSH-2.0-x\r\n\r\n", why: /no HTTP\/1\.1 status line/ },
  { name: "nothing", answer: "", why: /connection closed/ },
  {
    name: "another protocol",
    answer: SWITCHED.replace("SPDY/3.1", "h2c"),
    why: /switched to another protocol/,
  },
  { name: "a version that was not offered", answer: SWITCHED.replace(V4, "v9"), why: /not offered/ },
  { name: "no version", answer: SWITCHED.replace(/X-Stream.*\r\n/, ""), why: /not offered/ },
];
for (const { name, answer, why } of NONSENSE) {
  Deno.test(`a kubelet that answers with ${name} opens nothing`, async () => {
    await ask(answer, async (asking) => {
      await assert.rejects(asking, (thrown) => thrown instanceof DialError && why.test(thrown.message));
    });
  });
}

for (
  const { name, token, headers } of [
    { name: "a token", token: "a\r\nX-Evil: 1", headers: [] },
    { name: "an impersonated name", token: "a", headers: [["Impersonate-User", "jane\nX-Evil: 1"]] },
  ] as const
) {
  Deno.test(`${name} with a line break never becomes a header: nobody is even dialled`, async () => {
    const endpoint = { host: "127.0.0.1", port: 1, caCerts: [CA.cert], token };
    const asking = upgradeUpstream(endpoint, "/exec", V4, OPTIONS, headers);
    await assert.rejects(
      asking,
      (thrown) => thrown instanceof DialError && /line break/.test(thrown.message),
    );
  });
}
