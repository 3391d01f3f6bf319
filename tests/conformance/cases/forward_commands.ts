/** Port-forwards by every client, and many connections at once. */

import type { Client } from "../clients/client.ts";
import type { GoClient } from "../clients/go_client.ts";
import type { KubectlClient } from "../clients/kubectl.ts";
import type { Row } from "../matrix.ts";
import { ECHO_PORT, NOBODYS_PORT, OTHER_ECHO_PORT } from "../pods.ts";
import { digestOf } from "../transcript.ts";

const pod = "ports";
const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => (index * 13 + (index >> 7)) & 0xff);

/** The rows of one client. The library for JavaScript takes one port. */
export function forwardRows(client: Client): Row[] {
  if (client.forward === undefined) return [];
  const isEcho = client.name === "client-go"
    ? /"echoed":[12],"reset":0,"failed":\[\]/
    : new RegExp(digestOf(bytes));
  const rows = [[ECHO_PORT], [ECHO_PORT, OTHER_ECHO_PORT]].map((ports): Row => ({
    client: client.name,
    command: `port-forward: ${ports.length === 1 ? "one port" : "two ports"}, both ways`,
    protocol: client.protocol,
    observe: (at) => client.forward!(at, { pod, ports, bytes }),
    directly: client.name === "client-go" ? { stdout: isEcho } : { [`port ${ECHO_PORT}`]: isEcho },
  }));
  return client.name === "@kubernetes/client-node" ? rows.slice(0, 1) : rows;
}

/** A port at which nobody listens, by kubectl. */
export function nobodyRow(client: KubectlClient): Row {
  return {
    client: client.name,
    command: "port-forward: nobody listens",
    protocol: client.protocol,
    observe: (at) => client.forwardToNobody(at, pod, NOBODYS_PORT),
    directly: { stderr: /connection refused/ },
  };
}

/** 200 connections through one port-forward, of which some are reset half-way: none may harm another. */
export function loadRows(client: GoClient): Row[] {
  return (["forwarder", "dialer"] as const).map((through) => ({
    client: client.name,
    command: `port-forward: 200 connections at once, 50 of them reset, by ${
      through === "forwarder" ? "local ports" : "streams"
    }`,
    protocol: client.protocol,
    observe: (at) =>
      client.load(at, {
        ...{ pod, ports: [ECHO_PORT, OTHER_ECHO_PORT], through },
        ...{ connections: 200, resets: 50, bytesEach: 100_000 },
      }),
    directly: { stdout: /"echoed":150,"reset":50,"failed":\[\]/ },
    isHeavy: true,
  }));
}
