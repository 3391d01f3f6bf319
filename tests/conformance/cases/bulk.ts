/** Large streams there and back by each transport: not a byte may be lost, doubled or swapped. */

import { Digest, pattern } from "../../e2e/support/digest.ts";
import { copied, type KubectlClient } from "../clients/kubectl.ts";
import { podTarget, webSocketUpgrade } from "../clients/request.ts";
import { WebSocketSession } from "../clients/websocket_session.ts";
import type { Column } from "../columns.ts";
import type { Row, Seen } from "../matrix.ts";
import { ECHO_PORT } from "../pods.ts";
import { execTarget, V4 } from "./sessions.ts";

/** The rows of one kubectl: a command's stdin and stdout, and a forwarded port. */
export function bulkRows(client: KubectlClient, bytes: number): Row[] {
  return (["exec", "port-forward"] as const).map((way) => ({
    client: client.name,
    command: `${way}: ${sizeOf(bytes)} there and back`,
    protocol: client.protocol,
    observe: (at) => client.copy(at, way, bytes),
    directly: { checksums: /^equal$/ },
    isHeavy: true,
  }));
}

/** The same over channels, which no Go client speaks. */
export function channelBulkRows(bytes: number): Row[] {
  const targets = {
    exec: {
      target: execTarget(["head", "-c", `${bytes}`], { flags: ["stdin", "stdout"] }),
      output: 1,
      greetings: 1,
    },
    "port-forward": {
      target: podTarget("ports", "portforward", { ports: `${ECHO_PORT}` }),
      output: 0,
      greetings: 2,
    },
  };
  return Object.entries(targets).map(([way, { target, output, greetings }]) => ({
    client: "raw",
    command: `${way}: ${sizeOf(bytes)} there and back`,
    protocol: "WebSocket v4",
    observe: (at) => copyByChannels(at, { target, output, greetings, bytes }),
    directly: { checksums: /^equal$/ },
    isHeavy: true,
  }));
}

interface Copy {
  target: string;
  /** The channel on which it comes back. */
  output: number;
  /** Messages that come before: an empty one, or a port's number on each of its channels. */
  greetings: number;
  bytes: number;
}

async function copyByChannels(at: Column, { target, output, greetings, bytes }: Copy): Promise<Seen> {
  using session = await WebSocketSession.open(at, { target, headers: webSocketUpgrade(V4) });
  const [sent, received] = [new Digest(), new Digest()];
  await session.until(() => session.messages.length >= greetings);
  session.keepsMessages = false;
  session.onMessage = ({ payload }) => {
    if (payload[0] === output) received.take(payload.subarray(1));
  };
  for await (const chunk of pattern(bytes, sent)) await session.channel(0, chunk);
  // As long as something comes, the rest may come too.
  while (received.bytes < bytes && session.wire.ended === undefined) {
    const before = received.bytes;
    if (!await session.until(() => received.bytes > before, 60_000)) break;
  }
  return copied(sent, received);
}

function sizeOf(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`;
}
