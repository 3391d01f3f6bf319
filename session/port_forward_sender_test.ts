import assert from "node:assert/strict";
import { PortForwardRelay } from "./port_forward_relay.ts";
import { Sender } from "./port_forward_sender.ts";
import type { ForwardedConnection } from "./port_forward_connection.ts";
import type { ControlFrame } from "../protocol/spdy/mod.ts";

/** Takes what is written when it is told to. */
class Sink {
  readonly written: string[] = [];
  readonly #waiting: (() => void)[] = [];
  constructor(public isOpen: boolean) {}

  write(bytes: Uint8Array): Promise<void> {
    this.written.push(new TextDecoder().decode(bytes));
    return this.isOpen ? Promise.resolve() : new Promise((taken) => this.#waiting.push(taken));
  }

  take(): void {
    for (const taken of this.#waiting.splice(0)) taken();
  }

  read(): Promise<null> {
    return Promise.resolve(null);
  }

  close(): void {}
}

const text = (words: string) => new TextEncoder().encode(words);
const turn = () => new Promise((done) => setTimeout(done));

Deno.test("Sender.flush waits for what another has flushed before", async () => {
  const sink = new Sink(false);
  const sender = new Sender(sink);
  sender.add(text("views of a buffer"));
  sender.flush();
  let isDone = false;
  sender.flush().then(() => isDone = true);
  await turn();
  assert.equal(isDone, false, "the buffer may not be used again yet");
  sink.take();
  await turn();
  assert.equal(isDone, true);
});

Deno.test("Sender.flushAnswers does not wait for a side that takes little, and waits for one that takes nothing", async () => {
  const sink = new Sink(false);
  const sender = new Sender(sink);
  sender.add(text("pong"));
  await sender.flushAnswers();
  sender.add(new Uint8Array(300_000));
  let isDone = false;
  const waiting = sender.flushAnswers().then(() => isDone = true);
  await turn();
  assert.equal(isDone, false);
  sink.take();
  await waiting;
});

Deno.test("Sender.after writes when it is time, behind all that came before, and never after a failure", async () => {
  const sink = new Sink(true);
  const sender = new Sender(sink);
  const [one, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  sender.after(one.promise, () => sender.add(text("last")));
  sender.after(other.promise, () => sender.add(text("never")));
  sender.add(text("first "));
  one.resolve();
  other.reject(new Error("disk full"));
  await turn();
  await sender.flush();
  assert.deepEqual(sink.written.join(""), "first last");
});

Deno.test("PortForwardRelay remembers nothing of connections that have ended, however many there were", () => {
  const reports: ForwardedConnection[] = [];
  const senders = { toClient: new Sender(new Sink(true)), toUpstream: new Sender(new Sink(true)) };
  const relay = new PortForwardRelay(senders, {
    tap: { push: () => {} },
    checkPort: (port) => port === 81 ? "denied" : undefined,
    onConnection: (report) => void reports.push(report),
    isLegacy: false,
    maxConnections: 10,
  }, () => {});
  const syn = (id: number, streamtype: string, port: number): ControlFrame & { type: "syn_stream" } => ({
    ...{ type: "syn_stream", id, associatedId: 0, priority: 0, slot: 0, fin: false, unidirectional: false },
    headers: new Map([["streamtype", streamtype], ["port", String(port)]]),
  });
  for (let id = 1; id < 40_000; id += 4) {
    relay.fromClient(syn(id, "error", 80));
    if (id % 3 === 0) { // of some only one stream ever comes
      relay.fromClient({ type: "rst_stream", id, status: 5 });
      continue;
    }
    relay.fromClient(syn(id + 2, "data", 80));
    for (const each of [id, id + 2]) relay.fromUpstream({ type: "rst_stream", id: each, status: 5 });
    senders.toClient.discard();
    senders.toUpstream.discard();
  }
  assert.equal(relay.openStreams, 0);
  assert.equal(reports.length, 10_000);
});
