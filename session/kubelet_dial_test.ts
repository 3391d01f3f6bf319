import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { addressFilter } from "../kube/node_address.ts";
import { Refusal } from "../kube/status.ts";
import { DialError, dialKubelet, type DialOptions, type KubeletEndpoint } from "./kubelet_dial.ts";

const CA = await makeCa();
const LEAF = await issue(CA, { sans: ["127.0.0.1", "node1"] });
const OPTIONS: DialOptions = {
  timeoutMs: 2_000,
  isAllowedAddress: () => true,
  signal: new AbortController().signal,
};

/** A kubelet that sends back what it gets. */
async function withEcho(then: (endpoint: KubeletEndpoint) => Promise<void>): Promise<void> {
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: LEAF.cert, key: LEAF.key });
  const accepting = (async () => {
    for await (const connection of listener) connection.readable.pipeTo(connection.writable).catch(() => {});
  })().catch(() => {});
  await then({ host: "127.0.0.1", port: listener.addr.port, caCerts: [CA.cert] });
  listener.close();
  await accepting;
}

const DIALLED: { name: string; change: Partial<KubeletEndpoint> }[] = [
  { name: "by an address that the certificate names", change: {} },
  { name: "by another name that it bears", change: { serverName: "node1" } },
  {
    name: "with a client certificate",
    change: { clientCertificate: await issue(CA, { commonName: "postern" }) },
  },
  {
    name: "with a client certificate, by another name",
    change: { clientCertificate: await issue(CA), serverName: "node1" },
  },
  { name: "without verification", change: { insecureSkipTLSVerify: true, caCerts: [], serverName: "other" } },
];
for (const { name, change } of DIALLED) {
  Deno.test(`dialKubelet reaches a kubelet ${name}, and bytes pass both ways`, async () => {
    await withEcho(async (endpoint) => {
      const connection = await dialKubelet({ ...endpoint, ...change }, OPTIONS);
      const sent = new Uint8Array(300_000).map((_, index) => index);
      let got = Buffer.alloc(0);
      const reading = (async () => {
        while (got.length < sent.length) {
          got = Buffer.concat([got, await connection.read() ?? assert.fail("it ended early")]);
        }
      })();
      await connection.write(sent);
      await reading;
      assert.deepEqual(new Uint8Array(got), sent);
      connection.close();
    });
  });
}

const REFUSED: { name: string; change: Partial<KubeletEndpoint>; message: RegExp }[] = [
  {
    name: "signed by nobody we trust",
    change: { caCerts: [(await makeCa()).cert] },
    message: /BadSignature|UnknownIssuer/,
  },
  { name: "of another name", change: { serverName: "node2" }, message: /not valid for name/ },
  {
    name: "of another name, where a client certificate is shown",
    change: { serverName: "node2", clientCertificate: await issue(CA) },
    message: /does not match certificate/,
  },
];
for (const { name, change, message } of REFUSED) {
  Deno.test(`dialKubelet refuses a kubelet whose certificate is ${name}`, async () => {
    await withEcho(async (endpoint) => {
      await assert.rejects(dialKubelet({ ...endpoint, ...change }, OPTIONS), (thrown) => {
        assert.ok(thrown instanceof DialError);
        assert.match(thrown.message, message);
        return true;
      });
    });
  });
}

for (const host of ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "::ffff:127.0.0.1"]) {
  Deno.test(`attack: a node's address ${host} that is not allowed is not even connected to`, async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const endpoint = { host, port: listener.addr.port, caCerts: [CA.cert], token: "secret" };
    const accepting = listener.accept();
    await assert.rejects(
      dialKubelet(endpoint, { ...OPTIONS, isAllowedAddress: addressFilter([]) }),
      (thrown) => {
        assert.ok(thrown instanceof Refusal);
        assert.deepEqual([thrown.reason, thrown.rule], ["Forbidden", "node-address"]);
        assert.match(
          thrown.message,
          /^the node's address .*127\.0\.0\.1.* is not one that the gateway may dial$/,
        );
        return true;
      },
    );
    // Whoever connects now is the first.
    const [own, accepted] = await Promise.all([Deno.connect({ port: listener.addr.port }), accepting]);
    assert.equal(accepted.remoteAddr.port, own.localAddr.port);
    own.close();
    accepted.close();
  });
}

Deno.test("attack: a name that answers otherwise a moment later leads nowhere else", async () => {
  await withEcho(async (endpoint) => {
    using internal = Deno.listen({ hostname: "127.0.0.2", port: endpoint.port });
    const reached = internal.accept().then(() => assert.fail("it was reached"), () => {});
    const answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]];
    const lookup = () => Promise.resolve(answers.shift() ?? assert.fail("it was asked again and again"));
    const isAllowedAddress = (ip: string) => ip === "127.0.0.1";
    const options = { ...OPTIONS, isAllowedAddress, lookup };
    const connection = await dialKubelet({ ...endpoint, host: "node1" }, options);
    connection.close();
    assert.equal(answers.length, 2, "it is asked once for each session");
    await assert.rejects(dialKubelet({ ...endpoint, host: "node1" }, options), {
      name: "Refusal",
      message: "the node's address node1 (127.0.0.2) is not one that the gateway may dial",
    });
    internal.close();
    await reached;
  });
});

Deno.test("of the addresses of a name, those that are allowed are tried, one after the other", async () => {
  await withEcho(async (endpoint) => {
    const asked: string[] = [];
    const isAllowedAddress = (ip: string) => {
      asked.push(ip);
      return ip !== "127.0.0.2";
    };
    const lookup = () => Promise.resolve(["127.0.0.2", "127.0.0.3", "127.0.0.1"]); // nobody listens at the second
    const options = { ...OPTIONS, isAllowedAddress, lookup };
    const connection = await dialKubelet({ ...endpoint, host: "node1" }, options);
    connection.close();
    assert.deepEqual(asked, ["127.0.0.2", "127.0.0.3", "127.0.0.1"]);
  });
});

Deno.test("a name that nobody can look up is told as such", async () => {
  const endpoint = { host: "a..b", port: 1, caCerts: [CA.cert] }; // without asking a name server: tests have no network
  const message = "error dialing backend: dial tcp a..b:1: lookup: no such host";
  await assert.rejects(dialKubelet(endpoint, OPTIONS), { name: "DialError", message });
});

Deno.test("dialKubelet gives up on who never shakes hands, and says where and why", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const endpoint = { host: "127.0.0.1", port: listener.addr.port, caCerts: [CA.cert] };
  const dialling = dialKubelet(endpoint, { ...OPTIONS, timeoutMs: 50 });
  using connection = await listener.accept();
  await assert.rejects(dialling, {
    message: `error dialing backend: dial tcp 127.0.0.1:${listener.addr.port}: i/o timeout`,
  });
  await connection.read(new Uint8Array(1000)).catch(() => null);
});

Deno.test("dialKubelet says as the API server does that nobody listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await assert.rejects(dialKubelet({ host: "127.0.0.1", port, caCerts: [CA.cert] }, OPTIONS), {
    message: `error dialing backend: dial tcp 127.0.0.1:${port}: connect: connection refused`,
  });
});

Deno.test("a kubelet that sends at full speed to a gated connection that nobody reads fills no memory", async () => {
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: LEAF.cert, key: LEAF.key });
  const endpoint = {
    host: "127.0.0.1",
    port: listener.addr.port,
    caCerts: [CA.cert],
    insecureSkipTLSVerify: true,
  };
  const [connection, kubelet] = await Promise.all([dialKubelet(endpoint, OPTIONS), listener.accept()]);
  let sent = 0;
  const flood = (async () => {
    for (const block = new Uint8Array(65_536);;) sent += await kubelet.write(block);
  })().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were taken`); // what the kernel's socket buffers hold
  connection.close();
  kubelet.close();
  await flood;
});
