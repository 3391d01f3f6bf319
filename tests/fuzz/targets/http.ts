import assert from "node:assert/strict";
import { ProtocolError } from "../../../protocol/errors.ts";
import { readChunkedBody } from "../../../protocol/http/chunked_body.ts";
import { readResponseHead } from "../../../protocol/http/response_head.ts";
import { hexOf, orRefuses } from "../oracle.ts";
import type { Target } from "../target.ts";

const MAX_HEAD_BYTES = 1024;

export const HTTP_TARGETS: readonly Target[] = [
  {
    name: "http-response-head",
    promise: "a head is refused, or ends where it says, and no value of it holds a line end",
    seeds: [
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nrest",
      "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
      "HTTP/1.1 200\r\n\r\n",
    ],
    words: ["\r\n", "\n", "\r", "HTTP/1.1 ", "Transfer-Encoding: chunked", ": ", "\t", "\0", " folded"],
    maxBytes: 2048,
    check(input) {
      const head = orRefuses(() => readResponseHead(input, MAX_HEAD_BYTES), ProtocolError);
      if (head === undefined) return;
      assert.ok(head.headBytes <= Math.min(input.length, MAX_HEAD_BYTES));
      assert.ok(head.status >= 100 && head.status <= 599);
      for (const [name, value] of head.headers) assert.doesNotMatch(`${name}${value}`, /[\r\n\0]/);
      for (let length = 0; length < head.headBytes; length++) {
        assert.equal(
          readResponseHead(input.subarray(0, length), MAX_HEAD_BYTES),
          undefined,
          "it ended before its end",
        );
      }
    },
  },
  {
    name: "http-chunked-body",
    promise: "what was read of a body is the beginning of what is read of more of it",
    seeds: ["5\r\nhello\r\n0\r\n\r\n", "a;x=y\r\n0123456789\r\n", "0\r\n"],
    words: ["\r\n", "0\r\n", "fffffff\r\n", "1\r\na\r\n", ";", " ", "+1", "-1", "0x1"],
    check(input) {
      const whole = orRefuses(() => readChunkedBody(input), ProtocolError);
      if (whole === undefined) return;
      assert.ok(whole.body.length <= input.length);
      for (let length = 0; length < input.length; length += 1 + (length >> 6)) {
        const part = readChunkedBody(input.subarray(0, length));
        assert.ok(hexOf(whole.body).startsWith(hexOf(part.body)));
      }
    },
  },
];
