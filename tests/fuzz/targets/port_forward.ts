import assert from "node:assert/strict";
import {
  negotiateSocket,
  negotiateStreams,
  readApiPorts,
  readKubeletPorts,
  readStreamHeaders,
  writeStreamHeaders,
} from "../../../protocol/port_forward/mod.ts";
import { negotiateStreamProtocol } from "../../../protocol/remote_command/mod.ts";
import { isPrintable, textOf } from "../oracle.ts";
import type { Target } from "../target.ts";

export const PORT_FORWARD_TARGETS: readonly Target[] = [
  {
    name: "port-forward-headers",
    promise:
      "a stream is refused in words that are safe to log, or read by the kubelet exactly as we read it",
    seeds: [
      "streamtype\tdata\nport\t8080\nrequestid\t0",
      "port\t80",
      "streamtype\terror\nport\t0080\nrequestid\ta\0b",
    ],
    words: [
      "streamtype\t",
      "port\t",
      "requestid\t",
      "data",
      "error",
      "65535",
      "65536",
      "\0",
      "\n",
      "r".repeat(257),
    ],
    check(input) {
      const lines = textOf(input).split("\n").map((line) => line.split("\t", 2));
      const headers = new Map(lines.map(([name = "", value = ""]) => [name, value]));
      for (const isLegacy of [false, true]) {
        const here = readStreamHeaders(7, headers, { isLegacy });
        if (!here.ok) {
          isPrintable(here.reason, "the reason of a refusal");
          assert.ok(here.requestId.length <= 256);
          continue;
        }
        assert.ok(here.stream.port >= 1 && here.stream.port <= 65_535);
        assert.deepEqual(readStreamHeaders(99, writeStreamHeaders(here.stream)), {
          ok: true,
          stream: { ...here.stream, isAlone: false },
        });
      }
    },
  },
  {
    name: "ports",
    promise: "1 to 128 ports of 1 to 65535, or a refusal that is safe to log",
    seeds: ["80,443\n8080", "", "0", "65536", "0080", "+80"],
    words: [",", "\n", "80", "65535", "00", "-1", "\u0661", "\u202e"],
    check(input) {
      const values = textOf(input).split("\n");
      for (const reading of [readApiPorts(values), readKubeletPorts(values)]) {
        if (!reading.ok) {
          isPrintable(reading.message, "a refusal");
          continue;
        }
        assert.ok(reading.ports.length >= 1 && reading.ports.length <= 128);
        assert.ok(reading.ports.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535));
      }
    },
  },
  {
    name: "negotiation",
    promise: "agrees on what was offered, or refuses with a status; never throws",
    seeds: ["v4.channel.k8s.io,v3.channel.k8s.io", "portforward.k8s.io", "SPDY/3.1+portforward.k8s.io", ""],
    words: [
      "v5.channel.k8s.io",
      "channel.k8s.io",
      "SPDY/3.1+",
      ".k8s.io",
      ",",
      "\n",
      " ",
      "constructor",
      "__proto__",
    ],
    check(input) {
      const lines = textOf(input).split("\n");
      const names = lines.flatMap((line) => line.split(",")).map((name) => name.trim());
      const stream = negotiateStreamProtocol(lines);
      if (stream.ok) assert.ok(names.includes(stream.protocol));
      const forward = negotiateStreams(lines);
      if (forward.ok) assert.ok(names.includes(forward.protocol));
      const socket = negotiateSocket(lines);
      if (socket.ok && socket.transport === "channels") assert.ok(lines.includes(socket.protocol));
    },
  },
];
