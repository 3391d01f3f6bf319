import {
  CHANNEL,
  CHANNEL_PROTOCOLS,
  type ChannelProtocol,
  encodeChannel,
  encodeGreeting,
  exitCodeDocument,
  internalErrorDocument,
  parseStatusDocument,
  type RequestedStreams,
  toTextStatus,
} from "../protocol/remote_command/mod.ts";
import { CLOSE_CODE, encodeClose } from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { atMost } from "./lifetime.ts";

/**
 * What stands on a WebSocket client's error channel, in the words of its protocol. Pure.
 *
 * @param document the status document that the kubelet sent, or that was made in its place
 * @param isKubelets whether the kubelet sent it
 * @returns empty where the protocol says nothing
 */
export function errorChannelWords(
  protocol: ChannelProtocol,
  document: Uint8Array,
  isKubelets: boolean,
): Uint8Array {
  const said = parseStatusDocument(document);
  if (!CHANNEL_PROTOCOLS[protocol].statusDocument) return toTextStatus(said);
  if (protocol !== "v5.channel.k8s.io" || !isKubelets) return document;
  // The API server speaks v5 itself, and puts what it read into words of its own.
  switch (said.type) {
    case "exit":
      return exitCodeDocument(said.exitCode);
    case "failure":
    case "malformed":
      return internalErrorDocument(said.message);
    case "success":
      return document;
  }
}

/**
 * Ends a WebSocket session whose upstream never opened, as API servers do over v5: a status, then Close 1000.
 *
 * @param document the status document that the client is told
 */
export async function refuseWebSocket(
  client: ByteConnection,
  options: { protocol: ChannelProtocol; requested: RequestedStreams; lingerMs: number; document: Uint8Array },
): Promise<void> {
  const { protocol, requested, lingerMs, document } = options;
  const telling = async () => {
    await client.write(encodeGreeting(protocol, requested));
    await client.write(encodeChannel(protocol, CHANNEL.ERROR, document));
    await client.write(encodeClose(CLOSE_CODE.NORMAL));
    await client.endWrites?.();
    while (await client.read() !== null);
  };
  await atMost(lingerMs, telling());
  client.close();
}
