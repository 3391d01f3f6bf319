import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type AdminHandler, AdminServer } from "./admin_server.ts";

const OPTIONS = { address: "127.0.0.1", port: 0 };

async function serving(
  handler: AdminHandler,
  body: (url: string, address: Deno.NetAddr) => Promise<void>,
): Promise<void> {
  const reports: string[] = [];
  const server = new AdminServer(OPTIONS, handler, (message) => reports.push(message));
  try {
    await body(`http://127.0.0.1:${server.address.port}`, server.address);
    assert.deepEqual(reports, []);
  } finally {
    await server.close();
  }
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

live("AdminServer hands on method, path and query, and answers over plain HTTP", async () => {
  await serving(
    (method, path, query) => Promise.resolve(new Response(`${method} ${path} ${query}`)),
    async (url) => {
      using client = Deno.createHttpClient({});
      const answer = await fetch(`${url}/readyz?verbose`, { client });
      assert.equal(await answer.text(), "GET /readyz verbose=");
    },
  );
});

live(
  "attack: one source takes all its places, and others are answered; it comes in again when one is free",
  async () => {
    await serving(() => Promise.resolve(new Response("ok")), async (_url, { hostname, port }) => {
      const address = { hostname, port };
      const idle = await Promise.all(Array.from({ length: 16 }, () => Deno.connect(address)));
      assert.equal(await ask(address), "");
      assert.match(await askFrom("127.0.0.2", port), /^HTTP\/1\.1 200 /);
      for (const each of idle) each.close();
      // The places are free when the server has read the ends.
      const deadline = performance.now() + 5000;
      while (!/^HTTP\/1\.1 200 /.test(await ask(address))) {
        assert.ok(performance.now() < deadline, "a place is free");
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    });
  },
);

live("attack: sources without end have no more places than there are", async () => {
  await serving(() => Promise.resolve(new Response("ok")), async (_url, { port }) => {
    const idle = await Promise.all(
      Array.from({ length: 256 }, (_, index) => connectedFrom(`127.0.1.${1 + index % 32}`, port)),
    );
    assert.equal(await askFrom("127.0.0.2", port), "");
    await Promise.all(idle.map(ended));
  });
});

/** Connects from an address of this machine. */
async function connectedFrom(localAddress: string, port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  await once(socket, "connect");
  return socket;
}

async function ended(socket: Socket): Promise<void> {
  const closed = once(socket, "close");
  socket.destroy();
  await closed;
}

/** What a request from an address is answered; nothing where the connection was closed. */
async function askFrom(localAddress: string, port: number): Promise<string> {
  const socket = await connectedFrom(localAddress, port);
  let answer = "";
  socket.on("data", (bytes) => answer += bytes.toString());
  socket.on("error", () => {}); // it was closed before all was sent
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  await closed;
  return answer;
}

/** What a request is answered; nothing where the connection was closed. */
async function ask(address: Deno.ConnectOptions, line = "GET / HTTP/1.1"): Promise<string> {
  using connection = await Deno.connect(address);
  try {
    await connection.write(
      new TextEncoder().encode(`${line}\r\nHost: a\r\nConnection: close\r\n\r\n`),
    );
    const buffer = new Uint8Array(4096);
    return new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
  } catch {
    return "";
  }
}
