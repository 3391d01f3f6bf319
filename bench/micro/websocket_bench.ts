/** `deno task bench:micro`: what translating a session costs by itself, without sockets. */

import {
  CHANNEL,
  ChannelReader,
  encodeChannel,
  encodeChannelPieces,
} from "../../protocol/remote_command/mod.ts";
import { FrameDecoder } from "../../protocol/websocket/mod.ts";

/** A TLS record: what one read of the platform gives. */
const RECORD_BYTES = 16 * 1024;
const MEBIBYTE = 1024 * 1024;
const PROTOCOL = "v5.channel.k8s.io";

const key = Uint8Array.of(1, 2, 3, 4);
const message = encodeChannel(PROTOCOL, CHANNEL.STDIN, new Uint8Array(32 * 1024), { key });
const stdin = new Uint8Array(message.length * 32);
for (let at = 0; at < stdin.length; at += message.length) stdin.set(message, at);

Deno.bench("decode and unmask 1 MiB of stdin, a record at a time", { group: "translate" }, () => {
  const decoder = new FrameDecoder({ role: "server" });
  const channels = new ChannelReader(PROTOCOL, { stdin: true, tty: false });
  for (let at = 0; at < stdin.length; at += RECORD_BYTES) {
    for (const event of decoder.push(stdin.subarray(at, at + RECORD_BYTES))) {
      if (event.type === "data") channels.read(event);
    }
  }
});

const record = new Uint8Array(RECORD_BYTES);

Deno.bench("encode 1 MiB of stdout, a record at a time", { group: "translate" }, () => {
  for (let sent = 0; sent < MEBIBYTE; sent += record.length) {
    for (const piece of encodeChannelPieces(PROTOCOL, CHANNEL.STDOUT, record)) void piece;
  }
});
