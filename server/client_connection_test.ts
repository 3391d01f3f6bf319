import assert from "node:assert/strict";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { ClientConnection } from "./client_connection.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const ca = await makeCa();
const leaf = await issue(ca);
const text = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);
const bytes = (data: string) => new TextEncoder().encode(data);

/** Two ends of one connection; both are closed at the end, if they are not by then. */
async function connected(
  act: (ours: ClientConnection, peer: Deno.TlsConn, aborted: number[]) => Promise<void>,
): Promise<void> {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...leaf });
  const { port } = listener.addr;
  const connecting = Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca.cert] });
  const [accepted, peer] = await Promise.all([listener.accept(), connecting]);
  await Promise.all([accepted.handshake(), peer.handshake()]);
  const aborted: number[] = [];
  const ours = new ClientConnection(accepted, {
    abort: (connections) => aborted.push(...connections.map(({ remoteAddr }) => remoteAddr.port)),
  });
  try {
    await act(ours, peer, aborted);
  } finally {
    ours.close();
    try {
      peer.close();
    } catch {
      // The test closed it.
    }
    listener.close();
  }
}

Deno.test(
  "ClientConnection reads what was given back before what comes in",
  suite,
  () =>
    connected(async (ours, peer) => {
      await peer.write(bytes("later"));
      ours.unread(bytes("head"));
      assert.equal(text(await ours.read()), "head");
      assert.equal(text(await ours.read()), "later");
    }),
);

Deno.test(
  "ClientConnection hands a read that one owner began to the next one",
  suite,
  () =>
    connected(async (ours, peer) => {
      const begun = ours.begin();
      const next = ours.read();
      await peer.write(bytes("once"));
      assert.equal(text(await begun), "once");
      assert.equal(text(await next), "once");
      await peer.write(bytes("then"));
      assert.equal(text(await ours.read()), "then");
    }),
);

Deno.test(
  "ClientConnection gives given back bytes first, even with a read under way",
  suite,
  () =>
    connected(async (ours, peer) => {
      void ours.begin();
      ours.unread(bytes("head"));
      await peer.write(bytes("in flight"));
      assert.equal(text(await ours.read()), "head");
      assert.equal(text(await ours.read()), "in flight");
    }),
);

Deno.test(
  "ClientConnection notices a client that leaves without taking its bytes",
  suite,
  () =>
    connected(async (ours, peer) => {
      const leaving = ours.isLeaving();
      await peer.write(bytes("still here"));
      assert.equal(await leaving, false);
      assert.equal(text(await ours.read()), "still here");
      const gone = ours.isLeaving();
      peer.close();
      assert.equal(await gone, true);
    }),
);

Deno.test("ClientConnection writes in the order of the calls", suite, () =>
  connected(async (ours, peer) => {
    const large = bytes("a".repeat(300_000));
    await Promise.all([ours.write(large), ours.write(bytes("b")), readExactly(peer, 300_001)])
      .then(([, , got]) => assert.equal(text(got)?.slice(-2), "ab"));
  }));

Deno.test(
  "ClientConnection may be closed again, and a pending read ends",
  suite,
  () =>
    connected(async (ours) => {
      const reading = ours.read().catch(() => null);
      ours.close();
      ours.close();
      assert.equal(await reading, null);
      assert.equal(await ours.read(), null);
      await ours.closed;
    }),
);

Deno.test(
  "endWrites is read at once as the end, and what the client still sends is read",
  suite,
  () =>
    connected(async (ours, peer) => {
      await ours.write(bytes("last"));
      await ours.endWrites();
      const buffer = new Uint8Array(10);
      assert.equal(await peer.read(buffer), 4);
      assert.equal(await peer.read(buffer), null);
      await peer.write(bytes("still"));
      assert.equal(text(await ours.read()), "still");
    }),
);

Deno.test(
  "close has the connection of a client aborted that takes nothing, and no other",
  suite,
  () =>
    connected(async (ours, peer, aborted) => {
      await ours.write(bytes("taken"));
      const writing = (async () => {
        for (;;) await ours.write(new Uint8Array(65536));
      })().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 100));
      ours.close();
      assert.deepEqual(aborted, [ours.remotePort]);
      peer.close();
      await writing;
    }),
);

Deno.test(
  "close aborts no connection whose bytes were taken",
  suite,
  () =>
    connected(async (ours, _peer, aborted) => {
      await ours.write(bytes("taken"));
      ours.close();
      assert.deepEqual(aborted, []);
    }),
);

Deno.test(
  "closeGracefully delivers the last bytes to a client that has not stopped sending",
  suite,
  () =>
    connected(async (ours, peer) => {
      await peer.write(new Uint8Array(16_000));
      void ours.write(bytes("x".repeat(100_000)));
      const closing = ours.closeGracefully({ lingerMs: 200, lingerBytes: 1 << 20 });
      assert.equal((await readExactly(peer, 100_000)).length, 100_000);
      assert.equal(await peer.read(new Uint8Array(1)), null);
      await closing;
      assert.equal(ours.isClosed, true);
    }),
);

Deno.test(
  "closeGracefully waits no longer than it is told for a client that stays",
  suite,
  () =>
    connected(async (ours) => {
      const start = performance.now();
      await ours.closeGracefully({ lingerMs: 50, lingerBytes: 1 << 20 });
      assert.ok(performance.now() - start < 2000);
    }),
);

Deno.test(
  "closeGracefully gives a client up that sends more than it is told",
  suite,
  () =>
    connected(async (ours, peer) => {
      const closing = ours.closeGracefully({ lingerMs: 60_000, lingerBytes: 100_000 });
      const chunk = new Uint8Array(64 * 1024);
      await assert.rejects(async () => {
        for (;;) await peer.write(chunk);
      });
      await closing;
    }),
);

async function readExactly(peer: Deno.TlsConn, length: number): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  for (let offset = 0; offset < length;) {
    const count = await peer.read(all.subarray(offset));
    if (count === null) throw new Error(`closed after ${offset} bytes`);
    offset += count;
  }
  return all;
}
