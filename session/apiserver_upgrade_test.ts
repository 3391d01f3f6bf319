/** Sessions opened at API servers that are written by hand, over TLS. */

import assert from "node:assert/strict";
import { encodeChannel } from "../protocol/remote_command/mod.ts";
import { acceptKey, encodeClose, FrameDecoder } from "../protocol/websocket/mod.ts";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { SpdyPeer } from "../tests/support/spdy_peer.ts";
import { SpokenWires } from "./apiserver_wires.ts";
import { DialError } from "./kubelet_dial.ts";
import { UpstreamRefusal } from "./kubelet_upgrade.ts";
import { type ApiServerOptions, openApiServer, type UpstreamRequest } from "./upstream.ts";

const CA = await makeCa();
const LEAF = await issue(CA);
const OPTIONS = {
  transport: "auto",
  timeoutMs: 2_000,
  isAllowedAddress: () => true,
  lingerMs: 200,
  signal: new AbortController().signal,
} as const;
const EXEC: UpstreamRequest = {
  subresource: "exec",
  namespace: "default",
  pod: "web",
  uid: "u-1",
  container: "c",
  command: ["cat"],
  stdin: true,
  stdout: true,
  stderr: false,
  tty: false,
};
const V4 = "v4.channel.k8s.io";
const SPDY = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n` +
  `X-Stream-Protocol-Version: ${V4}\r\n\r\n`;
const NO_UPGRADE = answer(400, statusBody(400, "BadRequest", "Upgrade request required"));
const NO_V5 = "HTTP/1.1 403 Forbidden\r\n\r\n";

/** What a server answers to a request, by its head; with what it does after that. */
type Script = (head: string) => string | { answer: string; then(connection: Deno.TlsConn): Promise<void> };

/** An API server that closes each connection when its script is done. */
async function withServer(
  script: Script,
  use: (open: (change?: Change) => ReturnType<typeof openApiServer>, heads: string[]) => Promise<void>,
): Promise<void> {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: LEAF.cert, key: LEAF.key });
  const heads: string[] = [];
  const open = new Set<Deno.TlsConn>();
  const serve = async (connection: Deno.TlsConn) => {
    open.add(connection);
    const buffer = new Uint8Array(8192);
    const head = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
    heads.push(head);
    const said = script(head);
    const { answer, then } = typeof said === "string" ? { answer: said, then: undefined } : said;
    await connection.write(Uint8Array.from(answer, (character) => character.charCodeAt(0)));
    await then?.(connection);
    if (open.delete(connection)) connection.close();
  };
  const serving: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) serving.push(serve(connection).catch(() => {}));
  })().catch(() => {});
  const spoken = new SpokenWires();
  const ask = ({ request = EXEC, protocol = V4, options, headers }: Change = {}) => {
    const { port } = listener.addr;
    const endpoint = { host: "127.0.0.1", port, caCerts: [CA.cert], token: "tok", auditId: "id-1" };
    const whole = { ...endpoint, ...(headers && { headers }) };
    return openApiServer(whole, request, protocol, { ...OPTIONS, spoken, ...options });
  };
  try {
    await use(ask, heads);
  } finally {
    listener.close();
    for (const connection of open) connection.close();
    open.clear();
    await accepting;
    await Promise.all(serving);
  }
}

interface Change {
  request?: UpstreamRequest;
  protocol?: string;
  options?: Partial<ApiServerOptions>;
  headers?: readonly (readonly [string, string])[];
}

function answer(status: number, body: string, headers = "Content-Type: application/json\r\n"): string {
  return `HTTP/1.1 ${status} X\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
}

function statusBody(code: number, reason: string, message: string): string {
  return JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", message, reason, code });
}

/** The answer that switches to WebSocket, by the subprotocol that was asked for. */
function accept(head: string): string {
  const value = (name: string) => new RegExp(`\r\n${name}: ([^\r]*)`, "i").exec(head)?.[1] ?? "";
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Accept: ${acceptKey(value("sec-websocket-key"))}\r\n` +
    `Sec-WebSocket-Protocol: ${value("sec-websocket-protocol")}\r\n\r\n`;
}

const isWebSocket = (head: string) => head.startsWith("GET ");
const methods = (heads: readonly string[]) => heads.map((head) => head.split(" ")[0]);
const subprotocols = (heads: readonly string[]) =>
  heads.map((head) => /Sec-WebSocket-Protocol: (.*)\r/.exec(head)?.[1] ?? "SPDY");

Deno.test("openApiServer asks as kubectl does, in the user's name, under the session's own audit ID", async () => {
  await withServer(() => SPDY, async (open, heads) => {
    const opened = await open({ headers: [["Impersonate-User", "jane"], ["Impersonate-Group", "dev"]] });
    opened.connection.close();
    assert.deepEqual([opened.protocol, opened.auditId], [`SPDY/3.1 ${V4}`, "id-1"]);
    const lines = heads[0]!.split("\r\n");
    const path = "/api/v1/namespaces/default/pods/web/exec?command=cat&container=c&stdin=true&stdout=true";
    assert.equal(lines[0], `POST ${path} HTTP/1.1`);
    for (
      const line of [
        "Authorization: Bearer tok",
        "Audit-ID: id-1",
        "Impersonate-User: jane",
        "Impersonate-Group: dev",
      ]
    ) assert.ok(lines.includes(line), line);
  });
});

Deno.test("openApiServer speaks WebSocket where no SPDY is spoken, and asks that once", async () => {
  await withServer((head) => isWebSocket(head) ? accept(head) : NO_UPGRADE, async (open, heads) => {
    for (let session = 0; session < 3; session++) {
      const opened = await open();
      opened.connection.close();
      assert.equal(opened.protocol, "WebSocket v5.channel.k8s.io");
    }
    assert.deepEqual(methods(heads), ["POST", "GET", "GET", "GET"]);
  });
});

Deno.test("E-94 openApiServer speaks v4 where neither SPDY nor v5 is spoken", async () => {
  const script = (head: string) =>
    !isWebSocket(head) ? NO_UPGRADE : head.includes("v5.channel") ? NO_V5 : accept(head);
  await withServer(script, async (open, heads) => {
    for (let session = 0; session < 2; session++) {
      const opened = await open();
      opened.connection.close();
      assert.equal(opened.protocol, `WebSocket ${V4}`);
    }
    assert.deepEqual(subprotocols(heads), ["SPDY", "v5.channel.k8s.io", V4, V4]);
  });
});

const FINAL = [
  { code: 401, reason: "Unauthorized", message: "Unauthorized" },
  {
    code: 403,
    reason: "Forbidden",
    message: 'pods "upgrade" is forbidden: User "eve" cannot create protocol',
  },
  { code: 404, reason: "NotFound", message: 'pods "spdy" not found' },
];
for (const { code, reason, message } of FINAL) {
  Deno.test(`openApiServer takes ${reason} for an answer, in the server's own bytes: no GET follows`, async () => {
    const body = statusBody(code, reason, message);
    await withServer(() => answer(code, body), async (open, heads) => {
      await assert.rejects(open(), isRefusal(code, body));
      assert.equal(heads.length, 1);
    });
  });
}

Deno.test("openApiServer passes on what the last wire was refused with, and remembers nothing of it", async () => {
  const body = statusBody(403, "Forbidden", "admission webhook denied it");
  const script = (head: string) => isWebSocket(head) ? answer(403, body) : NO_UPGRADE;
  await withServer(script, async (open, heads) => {
    await assert.rejects(open(), isRefusal(403, body));
    await assert.rejects(open(), isRefusal(403, body));
    assert.deepEqual(methods(heads), ["POST", "GET", "POST", "GET"]);
  });
});

Deno.test("openApiServer reads a refusal that is too long for one piece, as an admission webhook's may be", async () => {
  const body = statusBody(403, "Forbidden", "no ".repeat(2000));
  const [one, two] = [body.slice(0, 100), body.slice(100)];
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
  const chunked = `HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(one)}${
    chunk(two)
  }0\r\n\r\n`;
  // The server would wait for a next request: what says that the body is whole is its own last chunk.
  const script = () => ({ answer: chunked, then: (connection: Deno.TlsConn) => drain(connection) });
  await withServer(script, async (open) => await assert.rejects(open(), isRefusal(403, body)));
});

for (const transport of ["spdy", "websocket"] as const) {
  Deno.test(`openApiServer that is told to speak ${transport} speaks nothing else`, async () => {
    await withServer(() => NO_UPGRADE, async (open, heads) => {
      await assert.rejects(open({ options: { transport } }), (thrown) => thrown instanceof UpstreamRefusal);
      assert.equal(methods(heads).includes(transport === "spdy" ? "GET" : "POST"), false);
    });
  });
}

Deno.test("attack: a server without the key's accept, or with an extension, opens no WebSocket", async () => {
  for (
    const [spoil, why] of [
      [(text: string) => text.replace(/Accept: .{4}/, "Accept: AAAA"), /does not match the key/],
      [(text: string) => text.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"), /extension/],
      [(text: string) => text.replace("v5.channel", "v9.channel"), /not offered/],
    ] as const
  ) {
    await withServer((head) => spoil(accept(head)), async (open) => {
      const asking = open({ options: { transport: "websocket" } });
      await assert.rejects(asking, (thrown) => thrown instanceof DialError && why.test(thrown.message));
    });
  }
});

Deno.test("a server that ends without a word, or never answers, is told of in a sentence", async () => {
  await withServer(() => "", async (open) => {
    await assert.rejects(open(), {
      message: /^error dialing backend: the answer to the upgrade: connection closed$/,
    });
  });
  const silent = () => ({ answer: "", then: (connection: Deno.TlsConn) => drain(connection) });
  await withServer(silent, async (open) => {
    await assert.rejects(open({ options: { timeoutMs: 100 } }), { message: /the upgrade: timed out$/ });
  });
});

Deno.test("a command over WebSocket: output behind the 101, stdin, its end, a ping, and the status", async () => {
  const script = (head: string) => ({
    // The greeting comes in one piece with the answer, as it does from fast servers.
    answer: accept(head) + "\x82\x01\x01",
    then: async (connection: Deno.TlsConn) => {
      await connection.write(Uint8Array.of(0x89, 1, 0x70)); // ping "p"
      const heard: string[] = [];
      const decoder = new FrameDecoder({ role: "server" });
      const buffer = new Uint8Array(8192);
      while (heard.length < 3) {
        const count = await connection.read(buffer);
        if (count === null) return;
        for (const event of decoder.push(buffer.subarray(0, count))) {
          if (event.type === "pong") heard.push(`pong ${new TextDecoder().decode(event.payload)}`);
          if (event.type === "data") heard.push(`[${event.bytes.join()}]`);
        }
      }
      const text = new TextEncoder().encode(heard.sort().join(" "));
      await connection.write(encodeChannel("v5.channel.k8s.io", 1, text));
      const status = new TextEncoder().encode('{"metadata":{},"status":"Success"}');
      await connection.write(encodeChannel("v5.channel.k8s.io", 3, status));
      await connection.write(encodeClose(1000));
      await drain(connection);
    },
  });
  await withServer(script, async (open) => {
    const { connection } = await open({ options: { transport: "websocket" } });
    const peer = new SpdyPeer(connection);
    await peer.open("error", "stdin", "stdout");
    await peer.data(3, "hi", true);
    const seen = await peer.rest();
    const told = seen.map((frame) => frame.type === "data" ? `${frame.id}:${frame.text}` : frame.type);
    assert.deepEqual(told, [
      ...["syn_reply", "syn_reply", "syn_reply"],
      "5:[0,104,105] [255,0] pong p",
      "5:",
      '1:{"metadata":{},"status":"Success"}',
      ...["rst_stream", "rst_stream", "goaway"],
    ]);
    connection.close();
  });
});

Deno.test("a port-forward over WebSocket is SPDY in a tunnel", async () => {
  const request: UpstreamRequest = {
    ...EXEC,
    ...{ subresource: "portforward", container: undefined, command: [], stdin: false, stdout: false },
  };
  // SPDY bytes come back as they went in, masks off: the tunnel knows nothing of them.
  const script = (head: string) => ({
    answer: accept(head),
    then: async (connection: Deno.TlsConn) => {
      const decoder = new FrameDecoder({ role: "server" });
      const buffer = new Uint8Array(8192);
      for (;;) {
        const count = await connection.read(buffer);
        if (count === null) return;
        for (const event of decoder.push(buffer.subarray(0, count))) {
          if (event.type !== "data") return;
          await connection.write(Uint8Array.of(0x82, event.bytes.length, ...event.bytes));
        }
      }
    },
  });
  await withServer((head) => isWebSocket(head) ? script(head) : NO_UPGRADE, async (open, heads) => {
    const opened = await open({ request, protocol: "portforward.k8s.io" });
    assert.equal(opened.protocol, "WebSocket SPDY/3.1+portforward.k8s.io");
    assert.match(heads[1]!, /^GET \/api\/v1\/namespaces\/default\/pods\/web\/portforward HTTP\/1\.1\r\n/);
    const peer = new SpdyPeer(opened.connection);
    await peer.send({ type: "ping", id: 7 });
    assert.deepEqual(await peer.next(), { type: "ping", id: 7 });
    peer.close();
  });
});

async function drain(connection: Deno.TlsConn): Promise<void> {
  const buffer = new Uint8Array(1024);
  while (await connection.read(buffer).catch(() => null) !== null);
}

function isRefusal(status: number, body: string) {
  return (thrown: unknown) => {
    assert.ok(thrown instanceof UpstreamRefusal, String(thrown));
    assert.deepEqual([thrown.status, new TextDecoder().decode(thrown.body)], [status, body]);
    return true;
  };
}
