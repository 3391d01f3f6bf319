import assert from "node:assert/strict";
import fc from "fast-check";
import { BULK_BYTES } from "./bulk_buffers.ts";
import { BulkReader, type ByteSource, HEADROOM_BYTES } from "./bulk_reader.ts";

const RECORD_BYTES = 16 * 1024;

/** A record as a peer sends it; `late` ones are not there yet when they are asked for. */
interface Sent {
  bytes: number;
  late: boolean;
}

/** The platform: hands out no more than one record in a read, and what is there at once. Its bytes count up. */
class Records implements ByteSource {
  readonly #records: Sent[];
  #next = 0;
  /** Reads that were begun and have not come back. */
  waiting = 0;
  reads = 0;

  constructor(records: readonly Sent[]) {
    this.#records = records.map((record) => ({ ...record }));
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    this.reads++;
    const record = this.#records[0];
    if (record === undefined) return null;
    if (record.late) {
      this.waiting++;
      await new Promise((resolve) => setTimeout(resolve));
      this.waiting--;
      record.late = false;
    }
    const count = Math.min(record.bytes, buffer.length);
    for (let at = 0; at < count; at++) buffer[at] = this.#next++ & 0xff;
    record.bytes -= count;
    if (record.bytes === 0) this.#records.shift();
    return count;
  }
}

const now = (...sizes: number[]): Sent[] => sizes.map((bytes) => ({ bytes, late: false }));
const later = (...sizes: number[]): Sent[] => sizes.map((bytes) => ({ bytes, late: true }));

async function sizes(reader: BulkReader): Promise<number[]> {
  const all: number[] = [];
  for (let view = await reader.read(); view !== null; view = await reader.read()) all.push(view.length);
  return all;
}

Deno.test("BulkReader hands out what was sent, in order, whatever its user does to a view", async () => {
  const record = fc.record({ bytes: fc.integer({ min: 1, max: RECORD_BYTES }), late: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(record, { maxLength: 24 }), async (records) => {
      const reader = new BulkReader(new Records(records));
      let next = 0;
      for (let view = await reader.read(); view !== null; view = await reader.read()) {
        // Time for a read that was begun: it may not touch what was handed out.
        if (next % 3 === 0) await new Promise((resolve) => setTimeout(resolve));
        assert.ok(view.every((byte) => byte === (next++ & 0xff)), `wrong byte before ${next}`);
        new Uint8Array(view.buffer, view.byteOffset - HEADROOM_BYTES, HEADROOM_BYTES + view.length).fill(
          0xee,
        );
      }
      assert.equal(next, records.reduce((sum, { bytes }) => sum + bytes, 0));
    }),
    { numRuns: 60 },
  );
});

Deno.test("BulkReader takes along the records that are there, as many as leave in full records", async () => {
  const records = now(...new Array<number>(20).fill(RECORD_BYTES));
  const [first, second] = await sizes(new BulkReader(new Records(records)));
  assert.deepEqual([first, second], [BULK_BYTES - HEADROOM_BYTES, BULK_BYTES - HEADROOM_BYTES]);
});

Deno.test("BulkReader does not wait for a record that is not there yet", async () => {
  const source = new Records([...now(RECORD_BYTES, RECORD_BYTES), ...later(RECORD_BYTES)]);
  const view = await new BulkReader(source).read();
  assert.equal(view!.length, 2 * RECORD_BYTES);
  assert.equal(source.waiting, 1);
});

Deno.test("BulkReader reads nothing ahead of a few bytes", async () => {
  const source = new Records(now(10, 10));
  const view = await new BulkReader(source).read();
  assert.equal(view!.length, 10);
  assert.equal(source.reads, 1);
});

Deno.test("BulkReader holds a large buffer only while much comes", async () => {
  const source = new Records([...later(10), ...now(RECORD_BYTES, RECORD_BYTES), ...later(20, 30)]);
  const reader = new BulkReader(source);
  const held: [viewBytes: number, heldBytes: number][] = [];
  const idleBytes = HEADROOM_BYTES + 1024;
  for (let view = await reader.read(); view !== null; view = await reader.read()) {
    held.push([view.length, reader.heldBytes]);
  }
  assert.deepEqual(held, [
    [10, idleBytes],
    [2 * RECORD_BYTES, idleBytes + BULK_BYTES],
    [20, idleBytes],
    [30, idleBytes],
  ]);
});

for (const { name, at } of [{ name: "at once", at: 0 }, { name: "behind bytes in bulk", at: 3 }]) {
  Deno.test(`BulkReader tells a loss ${name}, after all that came before it`, async () => {
    let reads = 0;
    const lost = new Error("reset");
    const reader = new BulkReader({
      read: (buffer) => reads++ < at ? Promise.resolve(buffer.length) : Promise.reject(lost),
    });
    if (at > 0) assert.equal((await reader.read())!.length, BULK_BYTES - HEADROOM_BYTES);
    await assert.rejects(async () => {
      for (;;) await reader.read();
    }, lost);
  });
}

Deno.test("attack: bytes that are always there already keep no timer waiting", async () => {
  const reader = new BulkReader(new Records(now(...Array(4096).fill(RECORD_BYTES))));
  let isOver = false;
  setTimeout(() => isOver = true);
  let bytes = 0;
  while (!isOver) {
    const view = await reader.read();
    assert.ok(view !== null, `${bytes} bytes were read, and the timer had no turn`);
    bytes += view.length;
  }
});
