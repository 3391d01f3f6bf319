/** Frames that no SPDY peer should send, from either side of a live session, and what becomes of it and of the others. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TUNNEL_PROTOCOL } from "../../protocol/port_forward/mod.ts";
import { dataFrame, FrameEncoder, RST_STATUS, synStream } from "../../protocol/spdy/mod.ts";
import { encodeFrame, upgradeRequestHeaders } from "../../protocol/websocket/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { StreamConnection } from "../../session/stream_connection.ts";
import { TunnelConnection } from "../../session/tunnel_connection.ts";
import { within } from "../e2e/support/wait.ts";
import { echo, ForwardingKubelet } from "../support/forwarding_kubelet.ts";
import { SpdyMux } from "../support/spdy_mux.ts";
import { SpdyPeer } from "../support/spdy_peer.ts";
import { hex, named, SPDY_FLOODS, syn } from "./support/floods.ts";
import { ALICE, requestText } from "./support/hostile_scene.ts";
import {
  flood,
  ID,
  MAX_GROWTH_BYTES,
  PATIENCE_MS,
  saying,
  SessionScene,
  type SpdyCommand,
} from "./support/session_scene.ts";

/** A megabyte and a bit of zeros: 1,100 bytes on the wire. */
const BOMB = syn(ID.next, new Uint8Array(1 << 20));

/** What cannot be understood in one way only: it ends the session, and is named. */
const FATAL: readonly { attack: string; bytes: Uint8Array; code: string; ofClients?: boolean }[] = [
  { attack: "a header block that inflates to a megabyte", bytes: BOMB, code: "header_block_too_large" },
  {
    attack: "65 streams in vain",
    bytes: Buffer.concat(Array.from({ length: 65 }, () => named(ID.stdin, { streamtype: "x" }))),
    code: "streams_refused",
  },
  {
    attack: "a header block of 4,097 bytes",
    bytes: named(ID.next, { streamtype: "x".repeat(4_097 - 4 - 4 - 10 - 4) }),
    code: "header_block_too_large",
  },
  { attack: "4 billion headers", bytes: syn(ID.next, hex("ffffffff")), code: "header_block_truncated" },
  {
    attack: "a header name of 4 GB",
    bytes: syn(ID.next, hex("00000001 ffffffff")),
    code: "header_block_truncated",
  },
  {
    attack: "a header block that goes on in the next frame",
    bytes: hex("80030001 0000000e 00000007 00000000 0000 62600000"),
    code: "header_block_(unfinished|corrupt)",
  },
  {
    attack: "a header block that is none",
    bytes: hex("80030001 00000010 00000007 00000000 0000 ffffffffffff"),
    code: "header_block_corrupt",
  },
  {
    attack: "a header that stands twice",
    bytes: syn(ID.next, hex("00000002 00000001 61 00000000 00000001 61 00000000")),
    code: "header_twice",
  },
  {
    attack: "a header name with a capital",
    bytes: named(ID.next, { streamType: "stdin" }),
    code: "header_name_invalid",
  },
  { attack: "the header `host`", bytes: named(ID.next, { host: "x" }), code: "header_forbidden" },
  {
    attack: "a stream of two types",
    bytes: named(ID.next, { streamtype: "stdin\0stdout" }),
    code: "header_ambiguous",
    ofClients: true,
  },
  { attack: "a control frame of 16 MB", bytes: hex("80030001 00ffffff 00000007"), code: "frame_too_large" },
  {
    attack: "a SYN_STREAM of 9 bytes",
    bytes: hex("80030001 00000009 00000007 00000000 00"),
    code: "length_wrong",
  },
  { attack: "SYN_STREAM on stream 0", bytes: named(0, {}), code: "stream_id_zero" },
  { attack: "DATA on stream 0", bytes: hex("00000000 00000001 61"), code: "stream_id_zero" },
  { attack: "DATA with unknown flags", bytes: hex("00000003 02000001 61"), code: "flags_unknown" },
  { attack: "NOOP", bytes: hex("80030005 00000000"), code: "frame_unknown" },
  { attack: "CREDENTIAL", bytes: hex("8003000a 00000004 00000000"), code: "frame_unknown" },
  { attack: "a frame of type 65535", bytes: hex("8003ffff 00000004 00000000"), code: "frame_unknown" },
  { attack: "a frame of SPDY/2", bytes: hex("80020006 00000004 00000001"), code: "version_unknown" },
  {
    attack: "RST_STREAM with status 0",
    bytes: hex("80030003 00000008 00000003 00000000"),
    code: "status_zero",
  },
  { attack: "PING 0", bytes: hex("80030006 00000004 00000000"), code: "ping_id_zero" },
  { attack: "PING with flags", bytes: hex("80030006 01000004 00000001"), code: "flags_unknown" },
  {
    attack: "SETTINGS that count more than there are",
    bytes: hex("80030004 00000004 1fffffff"),
    code: "length_wrong",
  },
  { attack: "GOAWAY of 4 bytes", bytes: hex("80030007 00000004 00000001"), code: "length_wrong" },
  { attack: "WINDOW_UPDATE of 4 bytes", bytes: hex("80030009 00000004 00000003"), code: "length_wrong" },
];

const MAX_DATA = Buffer.concat([hex("00000063 00ffffff"), new Uint8Array(0xff_ffff)]);

/** What is nonsense and understood: it goes no further, and the session goes on. */
const HARMLESS: readonly { attack: string; bytes: Uint8Array }[] = [
  { attack: "DATA of 16 MB on a stream that is none", bytes: MAX_DATA },
  { attack: "RST_STREAM of a stream that is none", bytes: hex("80030003 00000008 00000063 00000001") },
  {
    attack: "WINDOW_UPDATE of all there is",
    bytes: hex("80030009 00000008 00000003 7fffffff 80030009 00000008 00000000 ffffffff"),
  },
  {
    attack: "2,047 SETTINGS",
    bytes: Buffer.concat([hex("80030004 00003ffc 000007ff"), new Uint8Array(8 * 2047)]),
  },
  {
    attack: "4,000 PINGs",
    bytes: Buffer.concat(Array.from({ length: 4_000 }, () => hex("80030006 00000004 00000001"))),
  },
];

/** Streams that are refused one by one; the session goes on. */
const REFUSED: readonly { attack: string; ids: readonly number[]; status: number }[] = [
  { attack: "stream number again", ids: [ID.stdin], status: RST_STATUS.PROTOCOL_ERROR },
  { attack: "stream number that goes back", ids: [ID.next + 4, ID.next], status: RST_STATUS.PROTOCOL_ERROR },
  {
    attack: "stream behind the last of all numbers",
    ids: [0x7fff_ffff, ID.next],
    status: RST_STATUS.PROTOCOL_ERROR,
  },
  {
    attack: "33rd stream",
    ids: Array.from({ length: 30 }, (_, index) => ID.next + 2 * index),
    status: RST_STATUS.REFUSED_STREAM,
  },
];

const REFUSED_FLOOD = /^protocol_error client: .*\((streams_refused|headers_too_many|replies_too_many)\)$/;

Deno.test("hostile SPDY", { sanitizeOps: true, sanitizeResources: true }, async (t) => {
  await using scene = await SessionScene.start();

  for (const { attack, bytes, code } of FATAL) {
    await t.step(`a client's ${attack} ends its session with GOAWAY 1, and is written down`, async () => {
      const pod = scene.pod();
      const { mux, connection } = await scene.openSpdy(pod);
      await mux.write(bytes);
      await within(PATIENCE_MS, "the end", mux.ended);
      connection.close();
      assert.equal(mux.goaway, 1);
      assert.match(
        await scene.endOf(pod),
        new RegExp(
          `^protocol_error client: .*(in its frame 4|of stream 7|streams were refused).*\\(${code}\\)$`,
        ),
      );
    });
  }
  await t.step("a good session beside these goes on", () => scene.goodGoesOn());

  for (const { attack, bytes, code } of FATAL.filter(({ ofClients }) => !ofClients)) {
    await t.step(`a kubelet's ${attack} ends the session, and its client is told`, async () => {
      // Its encoder has written three blocks before: the attack's is not its first either.
      const pod = scene.pod(saying(bytes));
      const { mux, streams, connection } = await scene.openSpdy(pod);
      await streams.stdin.write("go");
      const told = await within(PATIENCE_MS, "what the client is told", streams.error.text());
      await mux.ended;
      connection.close();
      assert.equal(mux.goaway, 1);
      const sentence = await scene.endOf(pod);
      assert.match(
        sentence,
        new RegExp(`^protocol_error upstream: .*(in its frame 4|streams were refused).*\\(${code}\\)$`),
      );
      assert.ok(JSON.parse(told).message.includes(sentence.slice(sentence.indexOf(": ") + 2)), told);
    });
  }
  await t.step("a good session beside those goes on", () => scene.goodGoesOn());

  for (const { attack, bytes } of HARMLESS) {
    await t.step(`a client's ${attack} goes no further, and its session goes on`, async () => {
      const pod = scene.pod();
      const command = await scene.openSpdy(pod);
      await command.mux.write(bytes);
      await finishes(command);
      assert.match(await scene.endOf(pod), /^command_ended upstream/);
    });
    await t.step(`a kubelet's ${attack} goes no further, and its session goes on`, async () => {
      const pod = scene.pod(saying(Buffer.concat([bytes, dataFrame(ID.stdout, Buffer.from("goes on"))])));
      const { streams, mux } = await scene.openSpdy(pod);
      await streams.stdin.write("go");
      const said = await within(PATIENCE_MS, "stdout", streams.stdout.read());
      assert.equal(Buffer.from(said ?? []).toString(), "goes on");
      await mux.close();
      assert.match(await scene.endOf(pod), /^client_closed client/);
    });
  }

  for (const { attack, ids, status } of REFUSED) {
    await t.step(`a client's ${attack} is refused, and its session goes on`, async () => {
      const pod = scene.pod();
      const command = await scene.openSpdy(pod);
      const last = ids.map((id) => command.mux.open({ streamtype: "x" }, { id })).at(-1)!;
      assert.equal(await within(PATIENCE_MS, "an answer", last.answered), "refused");
      assert.equal(last.resetStatus, status);
      await finishes(command);
      assert.match(await scene.endOf(pod), /^command_ended upstream/);
    });
  }

  await t.step("what a client sends before any SYN_REPLY, glued to its request, is not lost", async () => {
    const pod = scene.pod();
    const encoder = new FrameEncoder();
    const opening = ["error", "stdin", "stdout"].map((streamtype, index) =>
      encoder.encode(synStream(2 * index + 1, { streamtype }))
    );
    const glued = Buffer.concat([...opening, dataFrame(ID.stdin, Buffer.from("early"), true)]);
    const peer = new SpdyPeer(await scene.connectSpdy(pod, { glued }));
    const frames = await within(PATIENCE_MS, "the end", peer.rest());
    peer.close();
    const echoed = frames.flatMap((frame) =>
      frame.type === "data" && frame.id === ID.stdout ? [frame.text] : []
    );
    assert.equal(echoed.join(""), "early");
    assert.match(await scene.endOf(pod), /^command_ended upstream/);
  });

  await t.step("what follows a client's GOAWAY goes nowhere, another GOAWAY too", async () => {
    const pod = scene.pod();
    const { mux, streams, connection } = await scene.openSpdy(pod);
    const goaway = (lastGoodId: number) =>
      new FrameEncoder().encode({ type: "goaway", lastGoodId, status: 0 });
    await mux.write(
      Buffer.concat([goaway(0x7fff_ffff), dataFrame(ID.stdin, Buffer.from("late")), goaway(0)]),
    );
    const echoed = await within(PATIENCE_MS, "the end", streams.stdout.text());
    connection.close();
    assert.equal(echoed, "");
    assert.match(await scene.endOf(pod), /^client_closed client/);
  });

  await t.step("a kubelet's GOAWAY in the middle is no exit code 0", async () => {
    const goaway = new FrameEncoder().encode({ type: "goaway", lastGoodId: 0x7fff_ffff, status: 0 });
    const pod = scene.pod(saying(Buffer.concat([goaway, dataFrame(ID.stdout, Buffer.from("late")), goaway])));
    const { mux, streams, connection } = await scene.openSpdy(pod);
    await streams.stdin.write("go");
    const told = await within(PATIENCE_MS, "what the client is told", streams.error.text());
    assert.equal(await streams.stdout.text(), "");
    await mux.ended;
    connection.close();
    assert.equal(JSON.parse(told).status, "Failure");
    assert.match(await scene.endOf(pod), /^upstream_closed upstream/);
  });

  await t.step("a stream that a kubelet opens is refused, and the session goes on", async () => {
    const opened = named(2, { streamtype: "stdin" });
    const pod = scene.pod(
      saying(
        Buffer.concat([opened, dataFrame(2, Buffer.from("x")), dataFrame(ID.stdout, Buffer.from("goes on"))]),
      ),
    );
    const { streams, mux } = await scene.openSpdy(pod);
    await streams.stdin.write("go");
    assert.equal(
      Buffer.from(await within(PATIENCE_MS, "stdout", streams.stdout.read()) ?? []).toString(),
      "goes on",
    );
    await mux.close();
    assert.match(await scene.endOf(pod), /^client_closed client/);
  });

  await t.step("a client that leaves in the middle of a frame has vanished", async () => {
    const pod = scene.pod();
    const { mux, connection } = await scene.openSpdy(pod);
    await mux.write(hex("80030001 00000028 000000"));
    connection.close();
    await mux.ended;
    assert.match(await scene.endOf(pod), /^client_vanished client/);
  });

  for (const { kind, piece, isRefused } of SPDY_FLOODS) {
    await t.step(
      `a client's flood of ${kind} that reads no answer costs no memory and nobody else`,
      async () => {
        const before = await scene.residentBytes();
        const pod = scene.pod();
        const connection = await scene.connectSpdy(pod);
        const encoder = new FrameEncoder();
        for (const [index, streamtype] of ["error", "stdin", "stdout"].entries()) {
          await connection.write(encoder.encode(synStream(2 * index + 1, { streamtype })));
        }
        const sending = flood(connection, piece);
        await scene.goodGoesOn();
        assert.ok(await sending > 0);
        const growth = await scene.residentBytes() - before;
        connection.close();
        assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more`);
        // Of what nobody reads, and costs more to read than to write, there is an end.
        assert.match(await scene.endOf(pod), isRefused ? REFUSED_FLOOD : /^client_vanished client/);
      },
    );

    await t.step(`a kubelet's flood of ${kind} costs no memory and nobody else`, async () => {
      const before = await scene.residentBytes();
      const flooded = Promise.withResolvers<number>();
      const pod = scene.pod(async (connection) => {
        // Streams are accepted by whoever reads, and the flood comes at once.
        flooded.resolve(await flood(connection, piece));
        while (await connection.read().catch(() => null) !== null);
      });
      const connection = await scene.connectSpdy(pod);
      await scene.goodGoesOn();
      assert.ok(await flooded.promise > 0);
      const growth = await scene.residentBytes() - before;
      connection.close();
      if (Deno.env.has("POSTERN_FLOOD_MB")) {
        await Deno.stderr.write(Buffer.from(`kubelet ${kind}: ${growth >> 20} MB\n`));
      }
      assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more`);
      assert.match(await scene.endOf(pod), /^(client_vanished client|protocol_error upstream)/);
    });
  }

  await t.step(
    "SPDY in a tunnel may be cut anywhere: a message for each byte, a TLS record for each of its bytes",
    async () => {
      const pod = scene.pod((connection) => new ForwardingKubelet(connection, { 80: echo }).mux.ended);
      const { connection } = await scene.hostile.connect();
      const tls = new StreamConnection(connection);
      const lines = upgradeRequestHeaders("dGhlIHNhbXBsZSBub25jZQ==", [TUNNEL_PROTOCOL]).map((line) =>
        line.join(": ")
      );
      await tls.write(
        Buffer.from(
          requestText(`GET /api/v1/namespaces/default/pods/${pod}/portforward`, [...ALICE, ...lines]),
        ),
      );
      assert.match(Buffer.from(await tls.read() ?? []).toString(), /^HTTP\/1\.1 101 [^]*\r\n\r\n$/);
      const mux = new SpdyMux(cutting(tls));
      const headers = { port: "80", requestid: "0" };
      mux.open({ ...headers, streamtype: "error" }, { fin: true });
      const data = mux.open({ ...headers, streamtype: "data" });
      await data.write("cut anywhere", true);
      assert.equal(await within(PATIENCE_MS, "the echo", data.text()), "cut anywhere");
      tls.close();
      await mux.ended;
      assert.match(await scene.endOf(pod), /^client_vanished client/);
    },
  );

  await t.step("a good session beside all of them goes on, and others open", async () => {
    await scene.goodGoesOn();
    await scene.hostile.isWell();
  });
});

async function finishes(command: SpdyCommand): Promise<void> {
  await command.echoes("goes on");
  await command.streams.stdin.end();
  await within(PATIENCE_MS, "the end", command.mux.ended);
  command.connection.close();
}

/** A tunnel whose client sends each byte as a message of its own, and each byte of that by itself. */
function cutting(tls: StreamConnection): ByteConnection {
  const tunnel = new TunnelConnection(tls, { role: "client", lingerMs: 100 });
  let last = Promise.resolve();
  const send = async (bytes: Uint8Array) => {
    for (const byte of bytes) {
      const message = encodeFrame(2, Uint8Array.of(byte), { key: Uint8Array.of(1, 2, 3, 4) });
      for (let at = 0; at < message.length; at++) await tls.write(message.subarray(at, at + 1));
    }
  };
  return {
    read: () => tunnel.read(),
    write: (bytes) => last = last.then(() => send(bytes)),
    close: () => tls.close(),
  };
}
