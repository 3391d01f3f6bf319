import assert from "node:assert/strict";
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
  "AdminServer: who comes when all places are taken is sent away, and comes in again when one is free",
  async () => {
    await serving(() => Promise.resolve(new Response("ok")), async (_url, { hostname, port }) => {
      const address = { hostname, port };
      const idle = await Promise.all(Array.from({ length: 64 }, () => Deno.connect(address)));
      assert.equal(await ask(address), "");
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
