import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { acceptKey } from "../../protocol/websocket/mod.ts";
import { upgrade, type UpgradeOptions, type WebSocketClient } from "./websocket_client.ts";

const OPTIONS: UpgradeOptions = {
  path: "/x?y=1",
  host: "h",
  protocols: ["v5.channel.k8s.io"],
  timeoutMs: 2000,
};

/** A connection to a server that answers the head of a request with these bytes, and closes. */
async function withServer(
  answer: (requestHead: string) => string | Uint8Array,
  use: (conn: Deno.Conn) => Promise<void>,
): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = (async () => {
    using conn = await listener.accept();
    const chunk = new Uint8Array(4096);
    const count = await conn.read(chunk);
    const bytes = Buffer.from(answer(new TextDecoder().decode(chunk.subarray(0, count ?? 0))));
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    await conn.closeWrite();
    while (await conn.read(chunk) !== null);
  })();
  try {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    await use(conn);
  } finally {
    listener.close();
  }
  await served;
}

function accepted(requestHead: string, frames: string): Uint8Array {
  const key = /Sec-WebSocket-Key: (\S+)/.exec(requestHead)![1]!;
  const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${acceptKey(key)}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(frames.replace(/\s/g, ""), "hex")]);
}

Deno.test({
  name: "upgrade returns a client that reads frames, channels and the close code",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: () =>
    withServer(
      (head) => accepted(head, "820101 8203016869 890170 8203016a6b 880203e8 820101"),
      async (conn) => {
        const client: WebSocketClient | undefined = (await upgrade(conn, OPTIONS)).client;
        const { frames, channels, closeCode } = await client!.receiveAll();
        assert.deepEqual(frames.map(({ opcode, payload }) => [opcode, ...payload]), [
          [2, 1],
          [2, 1, 0x68, 0x69],
          [9, 0x70],
          [2, 1, 0x6a, 0x6b],
        ]);
        assert.equal(Buffer.from(channels.get(1)!).toString(), "hijk");
        assert.equal(closeCode, 1000);
      },
    ),
});

Deno.test({
  name: "receiveAll says 1006 where the connection ends without a Close",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: () =>
    withServer((head) => accepted(head, "820101 8205"), async (conn) => {
      const { client } = await upgrade(conn, OPTIONS);
      assert.equal((await client!.receiveAll()).closeCode, 1006);
    }),
});

Deno.test({
  name: "upgrade returns a refusal as it stood on the wire",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: () =>
    withServer(() => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-A: b\r\n\r\nno", async (conn) => {
      const { answer, client } = await upgrade(conn, OPTIONS);
      assert.deepEqual(answer, { status: 403, headers: [["Content-Length", "2"], ["X-A", "b"]], body: "no" });
      assert.equal(client, undefined);
    }),
});
