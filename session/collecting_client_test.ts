import assert from "node:assert/strict";
import { dataFrame, FrameDecoder, FrameEncoder, GOAWAY_STATUS } from "../protocol/spdy/mod.ts";
import { CollectingClient } from "./collecting_client.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (said: string) => new TextEncoder().encode(said);
const goaway = () => new FrameEncoder().encode({ type: "goaway", lastGoodId: 5, status: GOAWAY_STATUS.OK });

Deno.test("CollectingClient opens the error stream and both outputs, and then says nothing until the end", async () => {
  const client = new CollectingClient();
  const frames = new FrameDecoder().push((await client.read())!);
  const opened = frames.map((frame) =>
    frame.type === "syn_stream" && [frame.id, frame.headers.get("streamtype")]
  );
  assert.deepEqual(opened, [[1, "error"], [3, "stdout"], [5, "stderr"]]);
  const next = client.read();
  await client.write(goaway());
  assert.equal(await next, null);
});

Deno.test("CollectingClient keeps the streams apart, whatever the order and the cuts", async () => {
  const client = new CollectingClient();
  await client.read();
  const wire = new Uint8Array([
    ...dataFrame(3, bytes("out ")),
    ...dataFrame(5, bytes("err")),
    ...dataFrame(3, bytes("put"), true),
    ...dataFrame(1, bytes("{}")),
    ...dataFrame(7, bytes("of no stream")),
  ]);
  for (const byte of wire) await client.write(Uint8Array.of(byte));
  const outputs = (["error", "stdout", "stderr", "stdin"] as const).map((name) => text(client.output(name)));
  assert.deepEqual(outputs, ["{}", "out put", "err", ""]);
});

Deno.test("CollectingClient keeps the first 16 MiB of an output that never ends", async () => {
  const client = new CollectingClient();
  await client.read();
  const block = new Uint8Array(1 << 20).fill(7);
  for (let index = 0; index < 18; index++) await client.write(dataFrame(3, block));
  assert.equal(client.output("stdout").length, 16 << 20);
});

Deno.test("CollectingClient ends when it is closed", async () => {
  const client = new CollectingClient();
  await client.read();
  const next = client.read();
  client.close();
  assert.equal(await next, null);
});
