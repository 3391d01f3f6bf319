import { encodeChannel } from "../remote_command/channels.ts";
import type { PortForwardChannelProtocol } from "./protocols.ts";
import { parseUint16, quote } from "./uint16.ts";

/** A channel number is one byte, and each port has two. */
const MAX_CHANNEL_PORTS = 128;

/** The ports that a WebSocket is asked to forward, or how to refuse it with 400. */
export type PortsReading =
  | { ok: true; ports: readonly number[] }
  /** `isStatus`: the API server's own refusal, a Status of reason BadRequest. Otherwise the kubelet's: this text and no more. */
  | { ok: false; isStatus: boolean; message: string };

/**
 * Reads the `ports` of an API server's path, which it hands to the kubelet as one list.
 *
 * @param values of each `ports` in the query, in order; each may be a comma list, e.g. `["80,443", "8080"]`
 * @see k8s.io/apimachinery pkg/apis/meta/v1/conversion.go, Convert_Slice_string_To_Slice_int32
 */
export function readApiPorts(values: readonly string[]): PortsReading {
  const ports: number[] = [];
  for (const text of values.flatMap((value) => value.split(","))) {
    const port = parseUint16(text);
    if (!port.ok) return { ok: false, isStatus: true, message: `cannot convert to []int32: ${port.error}` };
    ports.push(port.value);
  }
  return readKubeletPorts(ports.length === 0 ? [] : [ports.join(",")]);
}

/**
 * Reads the `port` of a kubelet's path.
 *
 * @param values of each `port` in the query, in order; each may be a comma list
 * @see k8s.io/kubelet pkg/cri/streaming/portforward/websocket.go, NewV4Options
 */
export function readKubeletPorts(values: readonly string[]): PortsReading {
  const refuse = (message: string): PortsReading => ({ ok: false, isStatus: false, message });
  if (values.length === 0) return refuse('query parameter "port" is required');
  const ports: number[] = [];
  for (const value of values) {
    if (value === "") return refuse('query parameter "port" cannot be empty');
    for (const text of value.split(",")) {
      const port = parseUint16(text);
      if (!port.ok) return refuse(`unable to parse ${quote(value)} as a port: ${port.error}`);
      if (port.value < 1) return refuse(`port ${quote(value)} must be > 0`);
      ports.push(port.value);
    }
  }
  // A kubelet takes more, and mixes up their channels.
  if (ports.length > MAX_CHANNEL_PORTS) {
    return refuse(`at most ${MAX_CHANNEL_PORTS} ports can be forwarded over one WebSocket`);
  }
  return { ok: true, ports };
}

/** The channels of a port: both ways, and what went wrong as text to the client. */
export function channelsOf(index: number): { data: number; error: number } {
  return { data: 2 * index, error: 2 * index + 1 };
}

/**
 * What a server sends first: on both channels of each port its number, little endian (E-108).
 *
 *     [2i, low, high] [2i+1, low, high]
 *
 * @returns one whole frame each, in order
 */
export function encodePortMessages(
  protocol: PortForwardChannelProtocol,
  ports: readonly number[],
): Uint8Array[] {
  return ports.flatMap((port, index) => {
    const { data, error } = channelsOf(index);
    const bytes = Uint8Array.of(port & 0xff, port >> 8);
    return [encodeChannel(protocol, data, bytes), encodeChannel(protocol, error, bytes)];
  });
}
