import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { issue } from "../tests/support/certificates.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { CA, TestFront } from "./test_front.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const GET = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const ok = () => Promise.resolve(new Response("ok"));

/** Common name of the certificate that the front shows now. */
function shownName(front: TestFront): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      host: "127.0.0.1",
      port: front.server.address.port,
      ca: CA.cert,
      servername: "localhost",
    };
    const socket = connectTls(options, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

Deno.test(
  "TlsListener shows a renewed certificate to new clients, and keeps sessions that are open",
  suite,
  async () => {
    await using front = await TestFront.start((_request, { upgrade }) =>
      Promise.resolve(upgrade!.accept([["Upgrade", "x"]], echo))
    );
    using session = await front.connect();
    await session.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    await session.readUntil("\r\n\r\n");
    const { port } = front.server.address;

    const renewed = await issue(CA, { commonName: "renewed" });
    await front.writeCertificate(renewed);
    await front.server.reloadCertificate();

    // The listener with the old certificate takes in late comers for a second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.equal(await shownName(front), "renewed");
    assert.equal(front.server.address.port, port);
    await session.send("still here");
    await session.readUntil("still here");
    const until = new Date(new X509Certificate(renewed.cert).validTo).toISOString();
    assert.deepEqual(front.reports, [`the certificate was renewed; the new one is valid until ${until}`]);
  },
);

Deno.test("TlsListener refuses nobody while certificates are renewed", suite, async () => {
  await using front = await TestFront.start(ok);
  let isOver = false;
  let served = 0;
  const clients = Array.from({ length: 3 }, async () => {
    for (; !isOver; served++) assert.match(await front.exchange(GET), /ok$/);
  });
  // The second one comes while the first is being made: its turn is after it.
  for (const _ of [1, 2]) {
    await front.writeCertificate(await issue(CA));
    await front.server.reloadCertificate();
  }
  while (front.reports.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  await new Promise((resolve) => setTimeout(resolve, 1100));
  isOver = true;
  await Promise.all(clients);
  assert.ok(served > 10, `${served} were served`);
});

Deno.test(
  "TlsListener renews certificates while there is no room for another connection",
  suite,
  async () => {
    await using front = await TestFront.start(ok, { maxConnections: 1 });
    using _only = await front.connect();
    for (const number of [1, 2]) {
      await front.writeCertificate(await issue(CA));
      await front.server.reloadCertificate();
      const renewed = () => front.reports.filter((report) => report.includes("was renewed")).length;
      while (renewed() < number) await new Promise((resolve) => setTimeout(resolve, 10));
    }
  },
);

const UNFIT = [
  {
    name: "a key of another certificate",
    change: async (front: TestFront) => Deno.writeTextFile(front.path("tls.key"), (await issue(CA)).key),
  },
  { name: "no certificate", change: (front: TestFront) => Deno.writeTextFile(front.path("tls.crt"), "junk") },
  {
    name: "half a key",
    change: (front: TestFront) => Deno.writeTextFile(front.path("tls.key"), "-----BEGIN"),
  },
  { name: "a missing file", change: (front: TestFront) => Deno.remove(front.path("tls.key")) },
];
for (const { name, change } of UNFIT) {
  Deno.test(
    `TlsListener keeps the old certificate and says so once when it finds ${name}`,
    suite,
    async () => {
      await using front = await TestFront.start(ok);
      await change(front);
      await front.server.reloadCertificate();
      await front.server.reloadCertificate();
      assert.match(await front.exchange(GET), /ok$/);
      assert.deepEqual(front.reports, ["the new certificate cannot be used, the old one is kept"]);
      await front.writeCertificate(await issue(CA, { commonName: "repaired" }));
      await front.server.reloadCertificate();
      assert.match(front.reports[1] ?? "", /was renewed/);
    },
  );
}

Deno.test("TlsListener does not begin with a certificate that cannot be used", suite, async () => {
  await assert.rejects(
    TestFront.start(ok, {}, { certificate: { cert: "junk", key: "junk" } }),
    /holds no certificate in PEM/,
  );
});

Deno.test("TlsListener accepts nobody beyond the bound, and goes on below it", suite, async () => {
  await using front = await TestFront.start(ok, { maxConnections: 2 });
  const [first, second] = [await front.connect(), await front.connect()];
  let isIn = false;
  const third = front.exchange(GET).then((answer) => (isIn = true, answer));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(isIn, false);
  first[Symbol.dispose]();
  assert.match(await third, /ok$/);
  second[Symbol.dispose]();
  assert.deepEqual(front.reports.slice(0, 1), ["2 connections are open: more have to wait"]);
});

Deno.test(
  "TlsListener disconnects clients that do not shake hands, and meanwhile serves others",
  suite,
  async () => {
    await using front = await TestFront.start(ok, { handshakeTimeoutSeconds: 0.2 });
    const { port } = front.server.address;
    const silent = await Promise.all([1, 2, 3].map(() => Deno.connect({ hostname: "127.0.0.1", port })));
    await silent[0]?.write(Uint8Array.of(22, 3, 1)); // the first bytes of a ClientHello, and no more
    assert.match(await front.exchange(GET), /ok$/);
    for (const connection of silent) {
      assert.equal(await connection.read(new Uint8Array(1)).catch(() => null), null);
      connection.close();
    }
    while (front.server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  },
);

Deno.test("TlsListener gives one source no more than its share, and others theirs", suite, async () => {
  await using front = await TestFront.start(ok, { maxConnections: 100, maxConnectionsPerAddress: 20 });
  const flood = Array.from({ length: 300 }, () => silentFrom("127.0.0.2", front.server.address.port));
  const ended = Array.from(flood, (socket) => new Promise<void>((resolve) => socket.once("close", resolve)));
  try {
    let alive = flood.length;
    for (const end of ended) void end.then(() => alive--);
    while (alive > 20) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.match(await front.exchange(GET), /ok$/);
    assert.equal(alive, 20);
    while (front.server.connections > 20) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(front.reports.filter((report) => report.includes("were refused")).length, 1);
    assert.match(front.reports.join(), /the last from 127\.0\.0\.2: 20 are open from there/);
  } finally {
    for (const socket of flood) socket.destroy();
    await Promise.all(ended);
  }
  while (front.server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const again = silentFrom("127.0.0.2", front.server.address.port);
  while (front.server.connections < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  again.destroy();
  await new Promise((resolve) => again.once("close", resolve));
});

/** A connection from another address of this machine, on which nothing is said. */
function silentFrom(localAddress: string, port: number): Socket {
  const socket = connectTcp({ host: "127.0.0.1", port, localAddress });
  socket.on("error", () => {}); // it is ended with a reset
  return socket;
}

Deno.test("TlsListener survives what is no TLS", suite, async () => {
  await using front = await TestFront.start(ok);
  const { port } = front.server.address;
  const plain = await Deno.connect({ hostname: "127.0.0.1", port });
  await plain.write(new TextEncoder().encode(GET));
  await plain.read(new Uint8Array(100)).catch(() => {});
  plain.close();
  assert.match(await front.exchange(GET), /ok$/);
  assert.deepEqual(front.reports, []);
});

Deno.test("TlsListener speaks nothing but HTTP/1.1: no upgrade of ours exists in HTTP/2", suite, async () => {
  await using front = await TestFront.start(ok);
  const { port } = front.server.address;
  const shake = async (alpnProtocols: string[]) => {
    const connection = await Deno.connectTls({
      hostname: "127.0.0.1",
      port,
      caCerts: [CA.cert],
      alpnProtocols,
    });
    try {
      return (await connection.handshake()).alpnProtocol;
    } finally {
      connection.close();
    }
  };
  assert.equal(await shake(["h2", "http/1.1"]), "http/1.1");
  await assert.rejects(shake(["h2"]));
});

async function echo(client: ByteConnection): Promise<void> {
  for (let bytes = await client.read(); bytes !== null; bytes = await client.read()) {
    await client.write(bytes);
  }
}

Deno.test(
  "TlsListener serves, renews and warns where the kernel's options cannot be set",
  suite,
  async () => {
    await using front = await TestFront.start(ok, {}, { isTuned: false });
    assert.match(front.reports[0] ?? "", /is --allow-ffi granted.*45 ms/);
    assert.match(await front.exchange(GET), /ok$/);
    await front.writeCertificate(await issue(CA));
    await front.server.reloadCertificate();
    assert.match(await front.exchange(GET), /ok$/);
  },
);
