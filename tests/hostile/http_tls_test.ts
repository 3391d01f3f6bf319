/** Clients whose TLS is old, weak or meant to cost much. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { HostileScene } from "./support/hostile_scene.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const CLIENT = fileURLToPath(new URL("support/tls_client.mjs", import.meta.url));
const SERVED = /^HTTP\/1\.1 200/;
const REFUSED = /^(refused|closed)/;

const HANDSHAKES = [
  { name: "TLS 1.3 without a server's name", options: { minVersion: "TLSv1.3" }, ends: SERVED },
  { name: "TLS 1.2, the oldest that is served", options: { maxVersion: "TLSv1.2" }, ends: SERVED },
  {
    name: "another server's name: there is one certificate, and who asks judges it",
    options: { servername: "elsewhere.example" },
    ends: SERVED,
  },
  {
    name: "TLS 1.1",
    options: { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
    ends: REFUSED,
  },
  {
    name: "no encryption",
    options: { maxVersion: "TLSv1.2", ciphers: "NULL@SECLEVEL=0" },
    ends: REFUSED,
  },
  {
    name: "keys that are not forgotten",
    options: { maxVersion: "TLSv1.2", ciphers: "AES256-GCM-SHA384" },
    ends: REFUSED,
  },
  { name: "HTTP/2 alone", options: { ALPNProtocols: ["h2"] }, ends: REFUSED },
  {
    name: "renegotiation, which costs the server more than the client",
    options: { maxVersion: "TLSv1.2" },
    renegotiate: true,
    ends: REFUSED,
  },
];

Deno.test("TLS that is old, weak or costly is refused, and others are served", suite, async (t) => {
  await using scene = await HostileScene.start();
  const { port } = scene.gateway;
  for (const { name, options, renegotiate = false, ends } of HANDSHAKES) {
    await t.step(name, async () => {
      const args = [CLIENT, `${port}`, JSON.stringify(options), ...(renegotiate ? ["renegotiate"] : [])];
      const { stdout } = await new Deno.Command("node", { args }).output();
      assert.match(new TextDecoder().decode(stdout), ends);
      await scene.isWell();
    });
  }
  await t.step("a handshake of 16 MB is cut off before it is held", async () => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port });
    // A ClientHello that says it is 2^24 - 1 bytes long, in records of 2^14.
    const record = new Uint8Array(5 + 16_384);
    record.set([22, 3, 1, 64, 0]);
    const first = record.slice();
    first.set([1, 255, 255, 255], 5);
    await connection.write(first);
    const before = await scene.residentBytes();
    const sending = (async () => {
      for (let sent = 0; sent < 1024; sent++) await connection.write(record);
      return "all of it was taken";
    })().catch(() => "it was cut off");
    assert.equal(await sending, "it was cut off");
    assert.ok(await scene.residentBytes() - before < 8 << 20);
    await scene.isWell();
  });
});
