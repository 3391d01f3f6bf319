import assert from "node:assert/strict";
import { pipe } from "../tests/support/pipe.ts";
import { SpdyPeer } from "../tests/support/spdy_peer.ts";
import { SpdyPings } from "./spdy_pings.ts";

function scene(role: "server" | "client") {
  const [gateway, end] = pipe();
  return { pings: new SpdyPings(gateway, role), peer: new SpdyPeer(end), end };
}

const ping = (id: number) => ({ type: "ping" as const, id });

const ROLES = [
  { role: "server", round: [2, 4, 6, 8, 10], unasked: 0x7fff_ffff, theirs: 1 },
  { role: "client", round: [1, 3, 5, 7, 9], unasked: 0x7fff_fffe, theirs: 2 },
] as const;
for (const { role, round, unasked, theirs } of ROLES) {
  Deno.test(`SpdyPings of a ${role} asks with ${round}, one for each worker of a Go peer, and wants all echoes`, async () => {
    const { pings, peer } = scene(role);
    const [, asked] = await Promise.all([pings.ask(), peer.take(5)]);
    assert.deepEqual(asked, round.map(ping));
    const shuffled = [round[3], round[0], round[4], round[2], round[1]];
    assert.deepEqual(shuffled.map((id) => pings.received(ping(id))), [false, false, false, false, true]);
    assert.equal(pings.received(ping(round[0])), false, "a second echo is none");
  });

  Deno.test(`SpdyPings of a ${role} tells by an id that a peer takes for its own and ignores, and does not answer its echo`, async () => {
    const { pings, peer } = scene(role);
    const [, told] = await Promise.all([pings.tell(), peer.take(1)]);
    assert.deepEqual(told, [ping(unasked)]);
    assert.equal(pings.received(ping(unasked)), false);
    await Promise.all([pings.ask(), peer.next().then((frame) => assert.deepEqual(frame, ping(round[0])))]);
  });

  Deno.test(`E-33 SpdyPings of a ${role} echoes the peer's ping ${theirs}`, async () => {
    const { pings, peer } = scene(role);
    assert.equal(pings.received(ping(theirs)), false);
    assert.deepEqual(await peer.next(), ping(theirs));
  });
}

Deno.test("SpdyPings does not count the echoes of an earlier round", async () => {
  const { pings, peer } = scene("server");
  await Promise.all([pings.ask(), peer.take(5)]);
  await Promise.all([pings.ask(), peer.take(5)]);
  assert.deepEqual([2, 4, 6, 8, 10].map((id) => pings.received(ping(id))), Array(5).fill(false));
});

Deno.test("a flood of pings by a peer that reads nothing is bounded: the latest are answered", async () => {
  const { pings, peer, end } = scene("server");
  for (let id = 1; id < 20_000; id += 2) pings.received(ping(id));
  assert.deepEqual(await peer.next(), ping(1));
  const answers = await peer.take(64);
  assert.deepEqual([answers[0], answers[63]], [ping(19_999 - 126), ping(19_999)]);
  assert.equal(end.peer.pendingBytes, 0);
});

Deno.test("a connection that is lost makes no unhandled rejection of an answer", async () => {
  const { pings, peer, end } = scene("server");
  end.lose();
  pings.received(ping(1));
  await assert.rejects(peer.next());
});
