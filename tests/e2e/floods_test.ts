/**
 * Floods that are long enough for what they might leave behind to show: the second is eight times the first, and takes no more
 * memory. No cluster is needed. What becomes of the sessions is in tests/hostile.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FrameEncoder, synStream } from "../../protocol/spdy/mod.ts";
import { SPDY_FLOODS, WEBSOCKET_FLOODS } from "../hostile/support/floods.ts";
import { flood, SessionScene } from "../hostile/support/session_scene.ts";

const MEBI = 1 << 20;

/** The first flood: after it, memory is what a flood takes. */
const FIRST_BYTES = MEBI;
const SECOND_BYTES = 8 * MEBI;

/** What memory may differ by at two times, in bytes: it is collected when it is, and the least of what is held back is a multiple. */
const MAX_DIFFERENCE_BYTES = 48 * MEBI;

/** What a flood leaves behind it leaves each time; what is garbage that nobody collected yet has its limit. */
const TRIES = 3;

/** By who reads no answer, where there is one. @returns bytes that were sent */
type Flood = (scene: SessionScene, bytes: number) => Promise<number>;

const FLOODS: readonly { kind: string; run: Flood }[] = [
  // Streams that are refused end their session: there is no flood of them.
  ...SPDY_FLOODS.filter(({ isRefused }) => !isRefused).flatMap(({ kind, piece }) => [
    { kind: `a client's ${kind}`, run: fromSpdyClient(piece) },
    { kind: `a kubelet's ${kind}`, run: fromKubelet(piece) },
  ]),
  ...WEBSOCKET_FLOODS.map(({ kind, first, piece }) => ({
    kind: `a WebSocket client's ${kind}`,
    run: fromWebSocketClient(piece, first),
  })),
];

Deno.test("floods leave nothing behind that grows with them", {
  sanitizeOps: true,
  sanitizeResources: true,
}, async (t) => {
  await using scene = await SessionScene.start();
  for (const { kind, run } of FLOODS) {
    await t.step(kind, async () => {
      const first = await run(scene, FIRST_BYTES);
      let grown = Infinity;
      for (let tries = 0; grown >= MAX_DIFFERENCE_BYTES && tries < TRIES; tries++) {
        const before = await scene.residentBytes();
        const second = await run(scene, SECOND_BYTES);
        grown = await scene.residentBytes() - before;
        await Deno.stderr.write(Buffer.from(`${kind}: ${first}, ${second} bytes; ${grown >> 20} MB more\n`));
      }
      assert.ok(grown < MAX_DIFFERENCE_BYTES, `${grown} bytes more`);
      await scene.goodGoesOn();
    });
  }
});

function fromSpdyClient(piece: Uint8Array): Flood {
  return async (scene, bytes) => {
    const pod = scene.pod();
    const connection = await scene.connectSpdy(pod);
    const encoder = new FrameEncoder();
    for (const [index, streamtype] of ["error", "stdin", "stdout"].entries()) {
      await connection.write(encoder.encode(synStream(2 * index + 1, { streamtype })));
    }
    const sent = await flood(connection, piece, bytes);
    connection.close();
    await scene.endOf(pod);
    return sent;
  };
}

function fromKubelet(piece: Uint8Array): Flood {
  return async (scene, bytes) => {
    const flooded = Promise.withResolvers<number>();
    const pod = scene.pod(async (connection) => {
      flooded.resolve(await flood(connection, piece, bytes));
      while (await connection.read().catch(() => null) !== null);
    });
    const connection = await scene.connectSpdy(pod);
    const sent = await flooded.promise;
    connection.close();
    await scene.endOf(pod);
    return sent;
  };
}

function fromWebSocketClient(piece: Uint8Array, first: Uint8Array = new Uint8Array()): Flood {
  return async (scene, bytes) => {
    const pod = scene.pod();
    const client = await scene.openWebSocket(pod);
    await client.sendRaw(first);
    const sent = await flood({ write: (chunk) => client.sendRaw(chunk) }, piece, bytes);
    client.close();
    await scene.endOf(pod);
    return sent;
  };
}
