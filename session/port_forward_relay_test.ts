import assert from "node:assert/strict";
import type { SynStreamFrame } from "../protocol/spdy/mod.ts";
import type { ForwardedConnection } from "./port_forward_connection.ts";
import { PortForwardRelay } from "./port_forward_relay.ts";
import { FrameSender } from "./frame_sender.ts";

/** A relay whose frames go nowhere. */
function relay(): { relay: PortForwardRelay; reports: ForwardedConnection[]; discard: () => void } {
  const nowhere = { read: () => Promise.resolve(null), write: () => Promise.resolve(), close: () => {} };
  const senders = { toClient: new FrameSender(nowhere), toUpstream: new FrameSender(nowhere) };
  const reports: ForwardedConnection[] = [];
  const relay = new PortForwardRelay(senders, {
    tap: { push: () => {} },
    checkPort: () => undefined,
    onConnection: (report) => void reports.push(report),
    isLegacy: false,
    maxConnections: 10,
  }, () => {});
  const discard = () => [senders.toClient, senders.toUpstream].forEach((sender) => sender.discard());
  return { relay, reports, discard };
}

function syn(id: number, streamtype: string, requestid = ""): SynStreamFrame {
  return {
    ...{ type: "syn_stream", id, associatedId: 0, priority: 0, slot: 0, fin: false, unidirectional: false },
    headers: new Map([["streamtype", streamtype], ["port", "80"], ["requestid", requestid]]),
  };
}

Deno.test("PortForwardRelay remembers nothing of connections that have ended, however many there were", () => {
  const { relay: one, reports, discard } = relay();
  for (let id = 1; id < 8000; id += 4) {
    one.fromClient(syn(id, "error"));
    if (id % 3 === 0) { // of some only one stream ever comes
      one.fromClient({ type: "rst_stream", id, status: 5 });
      continue;
    }
    one.fromClient(syn(id + 2, "data"));
    for (const each of [id, id + 2]) one.fromUpstream({ type: "rst_stream", id: each, status: 5 });
    discard();
  }
  assert.equal(one.openStreams, 0);
  assert.equal(reports.length, 2000);
});

for (const [seconds, finds] of [[29, true], [31, false]] as const) {
  Deno.test(`a stream that comes ${seconds} s after the other one ${finds ? "finds" : "does not find"} it, as in a kubelet`, () => {
    const { relay: one, reports } = relay();
    one.fromClient(syn(1, "error", "r"));
    const now = performance.now;
    try {
      performance.now = () => now.call(performance) + seconds * 1000;
      one.fromClient(syn(3, "data", "r"));
    } finally {
      performance.now = now;
    }
    one.fromUpstream({ type: "rst_stream", id: 3, status: 5 });
    // A connection has ended with the last of its streams.
    assert.equal(reports.length, finds ? 0 : 1);
  });
}

Deno.test("an error stream without end is kept to 2 KiB", () => {
  const { relay: one, reports } = relay();
  one.fromClient(syn(1, "error"));
  for (let index = 0; index < 1000; index++) {
    one.fromUpstream({
      type: "data",
      id: 1,
      fin: false,
      bytes: new TextEncoder().encode("äöüß".repeat(100)),
    });
  }
  one.fromUpstream({ type: "rst_stream", id: 1, status: 5 });
  assert.equal(new TextEncoder().encode(reports[0]!.error).length, 2048);
});
