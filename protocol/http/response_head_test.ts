import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { ProtocolError } from "../errors.ts";
import { headerValues, readResponseHead } from "./response_head.ts";

// As a kubelet 1.34 sent it.
const SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
  "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nDate: Sat, 21 Nov 2026 05:00:00 GMT\r\n\r\n";

Deno.test("readResponseHead waits for the empty line, then says where the stream begins", () => {
  const wire = Buffer.from(SWITCHING + "\x80\x03", "latin1");
  for (let cut = 0; cut < SWITCHING.length; cut++) {
    assert.equal(readResponseHead(wire.subarray(0, cut), 4096), undefined, `cut at byte ${cut}`);
  }
  const head = readResponseHead(wire, 4096);
  assert.equal(head?.status, 101);
  assert.equal(head.headBytes, SWITCHING.length);
  assert.deepEqual(headerValues(head.headers, "x-stream-protocol-version"), ["v4.channel.k8s.io"]);
});

const REFUSED = [
  {
    name: "a head that never ends",
    wire: "HTTP/1.1 200 OK\r\n" + "a: b\r\n".repeat(20),
    code: "head_too_large",
  },
  { name: "HTTP/1.0", wire: "HTTP/1.0 101 Switching Protocols\r\n\r\n", code: "head_malformed" },
  { name: "a folded line", wire: "HTTP/1.1 101 OK\r\na: b\r\n c\r\n\r\n", code: "head_malformed" },
  { name: "a bare LF", wire: "HTTP/1.1 101 OK\r\na: b\nc: d\r\n\r\n", code: "head_malformed" },
  {
    name: "a space before the colon",
    wire: "HTTP/1.1 101 OK\r\nupgrade : x\r\n\r\n",
    code: "head_malformed",
  },
  { name: "NUL in a value", wire: "HTTP/1.1 101 OK\r\na: \0\r\n\r\n", code: "head_malformed" },
];
for (const { name, wire, code } of REFUSED) {
  Deno.test(`readResponseHead refuses ${name}`, () => {
    assert.throws(
      () => readResponseHead(Buffer.from(wire, "latin1"), 100),
      (thrown) => thrown instanceof ProtocolError && thrown.code === code,
    );
  });
}

Deno.test("readResponseHead throws nothing but ProtocolError", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    try {
      readResponseHead(
        Buffer.concat([Buffer.from("HTTP/1.1 200 \r\n"), bytes, Buffer.from("\r\n\r\n")]),
        400,
      );
    } catch (thrown) {
      assert.ok(thrown instanceof ProtocolError);
    }
  }));
});
