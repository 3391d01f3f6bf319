/** Frames and messages that no WebSocket client should send in a live session, and what becomes of it and of the others. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { OPCODE } from "../../protocol/websocket/mod.ts";
import type { WebSocketClient } from "../support/websocket_client.ts";
import { binary, hex, masked, WEBSOCKET_FLOODS } from "./support/floods.ts";
import { flood, MAX_GROWTH_BYTES, SessionScene } from "./support/session_scene.ts";

/** What breaks the protocol: it ends the session with this close code, and is named. */
const FATAL: readonly { attack: string; bytes: Uint8Array; close: number; code: string }[] = [
  { attack: "a frame that is not masked", bytes: hex("8202000a"), close: 1002, code: "mask_missing" },
  { attack: "a reserved bit", bytes: hex("c28200000000 0041"), close: 1002, code: "reserved_bits" },
  {
    attack: "a reserved opcode of data",
    bytes: hex("838200000000 0041"),
    close: 1002,
    code: "opcode_unknown",
  },
  { attack: "a reserved opcode of control", bytes: hex("8b8000000000"), close: 1002, code: "opcode_unknown" },
  {
    attack: "a frame of 32 MiB and a byte",
    bytes: hex("82ff0000000002000001 00000000"),
    close: 1009,
    code: "frame_too_large",
  },
  {
    attack: "a frame of 2⁶³ bytes",
    bytes: hex("82ff8000000000000000 00000000"),
    close: 1002,
    code: "length_invalid",
  },
  {
    attack: "a length that is written longer than need be",
    bytes: hex("82fe0005 00000000"),
    close: 1002,
    code: "length_not_minimal",
  },
  { attack: "a ping of 126 bytes", bytes: hex("89fe007e"), close: 1002, code: "control_too_large" },
  { attack: "a ping in fragments", bytes: hex("098000000000"), close: 1002, code: "control_fragmented" },
  {
    attack: "a continuation of nothing",
    bytes: hex("808100000000 41"),
    close: 1002,
    code: "continuation_unexpected",
  },
  {
    attack: "a message in the middle of another",
    bytes: Buffer.concat([masked(OPCODE.BINARY, Uint8Array.of(0, 65), false), binary(0, 66)]),
    close: 1002,
    code: "continuation_missing",
  },
  {
    attack: "a Close of one byte",
    bytes: masked(OPCODE.CLOSE, Uint8Array.of(3)),
    close: 1002,
    code: "close_payload_invalid",
  },
  {
    attack: "a Close of code 1005",
    bytes: masked(OPCODE.CLOSE, hex("03ed")),
    close: 1002,
    code: "close_code_invalid",
  },
  {
    attack: "a Close of code 5000",
    bytes: masked(OPCODE.CLOSE, hex("1388")),
    close: 1002,
    code: "close_code_invalid",
  },
  {
    attack: "a Close whose reason is no UTF-8",
    bytes: masked(OPCODE.CLOSE, hex("03e8ff")),
    close: 1007,
    code: "close_reason_invalid",
  },
  { attack: "an end of no channel", bytes: binary(255), close: 1000, code: "channel_close_invalid" },
  { attack: "an end of channel 9", bytes: binary(255, 9), close: 1000, code: "channel_close_invalid" },
  { attack: "an end of two channels", bytes: binary(255, 0, 0), close: 1000, code: "channel_close_invalid" },
];

/** What says nothing: it is dropped, and the session goes on. */
const HARMLESS: readonly { attack: string; bytes: Uint8Array; protocol?: string }[] = [
  {
    attack: "channels that are none",
    bytes: Buffer.concat(Array.from({ length: 250 }, (_, index) => binary(index + 5, 65)).slice(0, 250)),
    protocol: "v4.channel.k8s.io",
  },
  {
    attack: "channels that are the server's",
    bytes: Buffer.concat([1, 2, 3].map((channel) => binary(channel, 65))),
  },
  { attack: "sizes without a terminal", bytes: masked(OPCODE.BINARY, Buffer.from('\x04{"Width":99999}')) },
  {
    attack: "empty messages",
    bytes: Buffer.concat([masked(OPCODE.BINARY, Buffer.of()), masked(OPCODE.TEXT, Buffer.of())]),
  },
  { attack: "the end of a channel that was not asked for", bytes: binary(255, 4) },
  {
    attack: "a ping between the fragments of a message",
    bytes: Buffer.concat([
      masked(OPCODE.BINARY, Uint8Array.of(7), false),
      masked(OPCODE.PING, Buffer.from("p")),
      masked(OPCODE.CONTINUATION, Uint8Array.of(65), true),
    ]),
  },
  {
    attack: "garbage for Base64",
    bytes: masked(OPCODE.TEXT, Buffer.from("0!!!not base64")),
    protocol: "v4.base64.channel.k8s.io",
  },
];

/** What is typed comes back on stdout. */
async function echoes(client: WebSocketClient, text: string): Promise<void> {
  const isBase64 = client.protocol.includes("base64");
  await client.sendChannel(0, text);
  for (let seen = ""; seen.length < text.length;) {
    const frame = await client.receive();
    assert.ok(frame !== null && frame.opcode !== OPCODE.CLOSE, "the session ended");
    if (frame.opcode > OPCODE.BINARY) continue;
    const payload = Buffer.from(frame.payload);
    assert.equal(payload[0], isBase64 ? 0x31 : 1);
    seen += isBase64 ? Buffer.from(payload.toString().slice(1), "base64") : payload.subarray(1);
    assert.ok(text.startsWith(seen), seen);
  }
}

Deno.test("hostile WebSocket", { sanitizeOps: true, sanitizeResources: true }, async (t) => {
  await using scene = await SessionScene.start();

  for (const { attack, bytes, close, code } of FATAL) {
    await t.step(`${attack} ends the session with Close ${close}, and is written down`, async () => {
      const pod = scene.pod();
      const client = await scene.openWebSocket(pod);
      await echoes(client, "before");
      await client.sendRaw(bytes);
      const { closeCode, channels } = await client.receiveAll();
      client.close();
      assert.equal(closeCode, close);
      const sentence = await scene.endOf(pod);
      assert.match(sentence, new RegExp(`^protocol_error client: .*in its frame [23]: .*\\(${code}\\)$`));
      const told = JSON.parse(Buffer.from(channels.get(3) ?? []).toString());
      assert.ok(told.message.includes(sentence.slice(sentence.indexOf(": ") + 2)), told.message);
    });
  }
  await t.step("a good session beside these goes on", () => scene.goodGoesOn());

  for (const { attack, bytes, protocol = "v5.channel.k8s.io" } of HARMLESS) {
    await t.step(`${attack}: dropped, and the session goes on`, async () => {
      const pod = scene.pod();
      const client = await scene.openWebSocket(pod, protocol);
      await client.sendRaw(bytes);
      await echoes(client, "goes on");
      await client.sendClose();
      await client.receiveAll();
      client.close();
      assert.match(await scene.endOf(pod), /^client_closed client/);
    });
  }

  await t.step("stdin that was ended stays ended, however often and whatever follows", async () => {
    const pod = scene.pod();
    const client = await scene.openWebSocket(pod);
    await client.sendRaw(
      Buffer.concat([binary(0, 65), binary(255, 0), binary(0, 66), binary(255, 0), binary(0, 67)]),
    );
    const { channels, closeCode } = await client.receiveAll();
    client.close();
    assert.equal(closeCode, 1000);
    assert.equal(Buffer.from(channels.get(1) ?? []).toString(), "A");
    assert.match(await scene.endOf(pod), /^command_ended upstream/);
  });

  await t.step("every byte of every frame by itself is the same session", async () => {
    const pod = scene.pod();
    const client = await scene.openWebSocket(pod);
    const fragments = [
      masked(OPCODE.BINARY, Buffer.from("\0cu"), false),
      masked(OPCODE.CONTINUATION, Buffer.from("t")),
    ];
    for (const byte of Buffer.concat([...fragments, binary(255, 0)])) {
      await client.sendRaw(Uint8Array.of(byte));
    }
    const { channels } = await client.receiveAll();
    client.close();
    assert.equal(Buffer.from(channels.get(1) ?? []).toString(), "cut");
    assert.match(await scene.endOf(pod), /^command_ended upstream/);
  });

  for (const { kind, first, piece } of WEBSOCKET_FLOODS) {
    await t.step(`a flood of ${kind} by who reads no answer costs no memory and nobody else`, async () => {
      const before = await scene.residentBytes();
      const pod = scene.pod();
      const client = await scene.openWebSocket(pod);
      if (first) await client.sendRaw(first);
      const sending = flood({ write: (bytes) => client.sendRaw(bytes) }, piece);
      await scene.goodGoesOn();
      assert.ok(await sending > 0);
      const growth = await scene.residentBytes() - before;
      client.close();
      if (Deno.env.has("POSTERN_FLOOD_MB")) {
        await Deno.stderr.write(Buffer.from(`${kind}: ${growth >> 20} MB\n`));
      }
      assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more`);
      assert.match(await scene.endOf(pod), /^client_vanished client/);
    });
  }

  await t.step("a good session beside all of them goes on, and others open", async () => {
    await scene.goodGoesOn();
    await scene.hostile.isWell();
  });
});
