import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Handler } from "../../../routes/handler.ts";
import { ClientConnection } from "../../../server/client_connection.ts";
import { HttpBridge } from "../../../server/http_bridge.ts";
import { DEFAULT_LIMITS } from "../../../server/server_options.ts";
import { DialError } from "../../../session/kubelet_dial.ts";
import { upgradeUpstream, UpstreamRefusal } from "../../../session/kubelet_upgrade.ts";
import { cuts, hexOf, orRejects } from "../oracle.ts";
import type { Random } from "../random.ts";
import type { Target } from "../target.ts";
import { ScriptedConnection } from "./scripted_connection.ts";

/** How long a connection may take to be over whose client has said all that it says, in milliseconds. */
const MAX_CONNECTION_MS = 15_000;

/** A request as somebody reads it. */
interface ReadRequest {
  method: string;
  target: string;
  headers: [name: string, value: string][];
  /** In hexadecimal; `undefined` where it was cut off, or cannot be read. */
  body: string | undefined;
}

/** A socket that has these bytes to read, in these pieces, and takes all that is written. */
class ScriptedSocket {
  readonly remoteAddr = { transport: "tcp", hostname: "192.0.2.1", port: 1 } as const;
  readonly #chunks: Uint8Array[];

  /** @param isAnswered whether somebody is answering what was read */
  constructor(chunks: readonly Uint8Array[], readonly isAnswered: () => boolean) {
    this.#chunks = [...chunks];
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    await undefined;
    const chunk = this.#chunks.shift();
    if (chunk === undefined) {
      // Who has closed is answered no more: what was said is to be read before.
      for (let turn = 0; turn < 2 || this.isAnswered() && turn < 100; turn++) {
        await new Promise((resolve) => setTimeout(resolve));
      }
      return null;
    }
    const count = Math.min(chunk.length, buffer.length);
    buffer.set(chunk.subarray(0, count));
    if (count < chunk.length) this.#chunks.unshift(chunk.subarray(count));
    return count;
  }

  write(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(bytes.length);
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

/** What the gateway's front takes a client's bytes for. */
async function readByFront(chunks: readonly Uint8Array[]): Promise<ReadRequest[]> {
  const requests: ReadRequest[] = [];
  const handler: Handler = async (request, { rawTarget, rawHeaders }) => {
    const headers = rawHeaders.map(([name, value]) => [name, value] as [string, string]);
    const read: ReadRequest = { method: request.method, target: rawTarget, headers, body: undefined };
    requests.push(read);
    read.body = await request.bytes().then(hexOf, () => undefined);
    return new Response();
  };
  const reports: unknown[] = [];
  const limits = { ...DEFAULT_LIMITS, maxHeaderBytes: 1024 };
  const bridge = new HttpBridge(handler, limits, {
    onBadRequest: () => {},
    report: (message, cause) => reports.push(message, cause),
  });
  // What of a socket is used here it has.
  const socket = new ScriptedSocket(chunks, () => bridge.running > 0);
  const connection = new ClientConnection(socket as unknown as Deno.TcpConn);
  bridge.serve(connection);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => timer = setTimeout(() => resolve("late"), MAX_CONNECTION_MS));
  const over = await Promise.race([connection.closed, late]);
  clearTimeout(timer);
  assert.equal(over, undefined, "the connection stays open");
  while (bridge.running > 0) await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(reports, []);
  return requests;
}

/** More than one space may stand before the target and behind it: that moves nothing (RFC 9112, 3). */
const REQUEST_LINE = /^([A-Z]+) +(\/[\x21-\x7e\x80-\xff]*) +HTTP\/1\.([01])$/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/;

/**
 * The same by the letter of RFC 9112, with nothing that may be forgiven: another reader than the front's, and a simpler one. It stops
 * where a connection ends, and is over where nothing may follow.
 */
function readStrictly(input: Uint8Array): { requests: ReadRequest[]; isOver: boolean } {
  const requests: ReadRequest[] = [];
  const text = Buffer.from(input).toString("latin1");
  for (let at = 0;;) {
    while (text.startsWith("\r\n", at)) at += 2;
    const end = text.indexOf("\r\n\r\n", at);
    if (end < 0) return { requests, isOver: false };
    const [first = "", ...lines] = text.slice(at, end).split("\r\n");
    const start = REQUEST_LINE.exec(first);
    const matches = lines.map((line) => HEADER_LINE.exec(line));
    if (start === null || matches.includes(null)) return { requests, isOver: false };
    const headers = matches.map((match) => [match![1]!, match![2]!] as [string, string]);
    const values = (name: string) =>
      headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
    const read = { method: start[1]!, target: start[2]!, headers, body: undefined };
    const body = bodyAt(text, end + 4, values("content-length"), values("transfer-encoding"));
    requests.push({ ...read, body: body?.bytes });
    const options = values("connection").flatMap((value) => value.toLowerCase().split(",")).map((each) =>
      each.trim()
    );
    const isUpgrade = options.includes("upgrade") && values("upgrade").length > 0;
    const isLast = isUpgrade || options.includes("close") || start[3] === "0";
    if (isLast || body === undefined) return { requests, isOver: true };
    at = body.end;
  }
}

/** A body and where it ends; `undefined` where it does not, or not in one way only. */
function bodyAt(
  text: string,
  at: number,
  lengths: readonly string[],
  encodings: readonly string[],
): { bytes: string; end: number } | undefined {
  const hex = (latin1: string) => Buffer.from(latin1, "latin1").toString("hex");
  if (encodings.length === 0) {
    if (lengths.length > 1 || !/^[0-9]+$/.test(lengths[0] ?? "0")) return undefined;
    const end = at + Number(lengths[0] ?? 0);
    return end > text.length ? undefined : { bytes: hex(text.slice(at, end)), end };
  }
  if (lengths.length > 0 || encodings.length > 1 || encodings[0]?.toLowerCase() !== "chunked") {
    return undefined;
  }
  let bytes = "";
  for (;;) {
    const line = /^([0-9A-Fa-f]+)(?:[\t ]*;[^\r\n]*)?\r\n/.exec(text.slice(at, at + 300));
    if (line === null) return undefined;
    const size = Number.parseInt(line[1]!, 16);
    at += line[0].length;
    if (size === 0) break;
    if (text.slice(at + size, at + size + 2) !== "\r\n") return undefined;
    bytes += text.slice(at, at + size);
    at += size + 2;
  }
  // Trailers.
  for (;;) {
    const end = text.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const line = text.slice(at, end);
    at = end + 2;
    if (line === "") return { bytes: hex(bytes), end: at };
    if (!HEADER_LINE.test(line)) return undefined;
  }
}

const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "get", "TRACE"];
const HEADERS = [
  "Host: a",
  "Host: a",
  "Content-Length: 5",
  "Content-Length: 0",
  "Transfer-Encoding: chunked",
  "Connection: keep-alive",
  "Connection: Upgrade",
  "Upgrade: SPDY/3.1",
  "Expect: 100-continue",
  "X: y",
  "X:y\t",
  " folded",
];
const BODIES = ["", "hello", "5\r\nhello\r\n0\r\n\r\n", "0\r\nA: b\r\n\r\n", "5;x=y\r\nhello\r\n0\r\n\r\n"];

function request(random: Random): string {
  const headers = Array.from({ length: random.below(4) }, () => `${random.pick(HEADERS)}\r\n`);
  const host = random.oneIn(8) ? "" : "Host: a\r\n";
  return `${random.pick(METHODS)} /${random.below(10)} HTTP/1.1\r\n${host}${headers.join("")}\r\n${
    random.pick(BODIES)
  }`;
}

export const HTTP_REQUEST_TARGETS: readonly Target[] = [
  {
    name: "http-request",
    promise:
      "however a client's bytes are cut, each request that is answered is one that a strict reader finds there too, in that order",
    seeds: [
      "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nglued",
      "GET /a HTTP/1.0\r\n\r\n",
    ],
    words: [
      "\r\n",
      "\r\n\r\n",
      "\n",
      "\r",
      "\0",
      "\t",
      " ",
      ": ",
      "chunked",
      "0\r\n\r\n",
      "GET /b HTTP/1.1\r\n",
      ...HEADERS,
    ],
    maxBytes: 1500,
    maxMs: 3_000,
    generate: (random) =>
      Buffer.from(Array.from({ length: 1 + random.below(4) }, () => request(random)).join(""), "latin1"),
    async check(input) {
      const strict = readStrictly(input);
      for (const chunks of [[input.slice()], ...cuts(input).slice(0, 1)]) {
        const read = await readByFront(chunks);
        // Where no strict head stands, nothing is compared: what may be forgiven in one is for the front to say.
        const compared = strict.isOver ? read : read.slice(0, strict.requests.length);
        assert.deepEqual(compared, strict.requests.slice(0, read.length), `in ${chunks.length} pieces`);
        for (const { target, headers } of read) {
          assert.ok(target.startsWith("/"));
          assert.ok(headers.filter(([name]) => name.toLowerCase() === "host").length <= 1);
        }
      }
    },
  },
  {
    name: "http-upgrade-answer",
    promise:
      "whatever an upstream answers to an upgrade: what follows its head is the session's, or it is refused in its own words or in ours",
    seeds: [
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\nrest",
      "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
      "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 X\r\n\r\n",
    ],
    words: [
      "\r\n",
      "\r\n\r\n",
      "101",
      "Upgrade",
      "SPDY/3.1",
      "v4.channel.k8s.io",
      "chunked",
      "ffffffff\r\n",
      "Content-Length: -1",
    ],
    async check(input) {
      const endpoint = { host: "192.0.2.1", port: 10250, caCerts: [] };
      for (const chunks of [[input.slice()], ...cuts(input).slice(0, 1)]) {
        const connection = new ScriptedConnection(chunks);
        const options = {
          connection,
          timeoutMs: 1_000,
          signal: new AbortController().signal,
          isAllowedAddress: () => true,
        };
        let refusal: UpstreamRefusal | undefined;
        const switched = await orRejects(
          async () => {
            try {
              return await upgradeUpstream(endpoint, "/exec", "v4.channel.k8s.io", options);
            } catch (thrown) {
              if (thrown instanceof UpstreamRefusal) refusal = thrown;
              throw thrown;
            }
          },
          DialError,
          UpstreamRefusal,
        );
        if (refusal !== undefined) {
          assert.notEqual(refusal.status, 101);
          assert.ok(refusal.body.length <= input.length);
        }
        if (switched === undefined) continue;
        let rest = "";
        for (;;) {
          const chunk = await switched.connection.read();
          if (chunk === null) break;
          rest += hexOf(chunk);
        }
        const end = Buffer.from(input).indexOf("\r\n\r\n") + 4;
        assert.equal(rest, hexOf(input.slice(end)), "the session lacks bytes, or has others");
      }
    },
  },
];
