/** `kubectl port-forward` in the forms that the documents give, by every client, beside the API server and through the gateway. */

import assert from "node:assert/strict";
import { z } from "zod";
import { Digest, pattern } from "./support/digest.ts";
import { freePort } from "../support/free_port.ts";
import { ask, Forward, greeting } from "./support/forward.ts";
import { sharedGateway } from "./support/gateway.ts";
import { ALL_CLIENTS, Kubectl } from "./support/kubectl.ts";
import { createPod, deletePod } from "./support/pods.ts";
import { both } from "./support/side_by_side.ts";
import { within } from "./support/wait.ts";

const gateway = sharedGateway();

const POD = "e2e-port-forward";
/** The ports of the cluster's pod `ports`; a `greet` says its number. */
const [ECHO, DIGEST, GREET, OTHER_GREET, NOBODY] = [7000, 7001, 7003, 7010, 7999];
Deno.test.afterAll(() => deletePod(gateway().cluster, POD));

for (const client of ALL_CLIENTS) {
  live(`port-forward LOCAL:PORT, :PORT and 0:PORT lead to the port by ${client}`, async () => {
    for (const form of [(local: number) => `${local}:${GREET}`, () => `:${GREET}`, () => `0:${GREET}`]) {
      const [direct, through] = await both(gateway(), async (endpoint) => {
        const asked = freePort();
        const forward = await Forward.start(gateway(), { endpoint, client }, "ports", form(asked));
        const [[local]] = forward.pairs;
        if (form(asked).startsWith(`${asked}`)) assert.equal(local, asked);
        return [await greeting(local), await forward.stop(["<local>", local])];
      });
      assert.equal(direct[0], `${GREET}\n`);
      assert.deepEqual(through, direct);
    }
  });

  live(`port-forward of several ports keeps them apart by ${client}`, async () => {
    const ports = [GREET, OTHER_GREET];
    const forward = await Forward.start(
      gateway(),
      { client },
      "ports",
      ...ports.map((port) => `:${port}`),
    );
    for (const [local, port] of [...forward.pairs, ...forward.pairs.toReversed()]) {
      assert.equal(await greeting(local), `${port}\n`);
    }
    assert.deepEqual(forward.pairs.map(([, port]) => port), ports);
    await forward.stop();
  });

  for (
    const { target, given, port } of [
      { target: "svc/ports", given: ":80", port: GREET },
      { target: "service/ports", given: ":greet", port: GREET },
      { target: "deploy/ports", given: `:${GREET}`, port: GREET },
      { target: "pod/ports", given: ":greet", port: GREET },
    ]
  ) {
    live(`port-forward ${target} ${given} finds its pod and port by ${client}`, async () => {
      const forward = await Forward.start(gateway(), { client, user: "alice" }, target, given);
      const [[local, remote]] = forward.pairs;
      assert.deepEqual([remote, await greeting(local)], [port, `${port}\n`]);
      await forward.stop();
    });
  }

  live(`a port where nobody listens is told of in the same words by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const forward = await Forward.start(
        gateway(),
        { endpoint, client },
        "ports",
        `:${NOBODY}`,
        `:${GREET}`,
      );
      const [[nobody], greet] = forward.pairs;
      const answer = await ask(nobody, "");
      await forward.kubectl.showsError("error forwarding port");
      if (client !== "kubectl-1.20") await forward.kubectl.outcome; // later ones end with the first error
      const survivor = await greeting(greet?.[0] ?? 0).catch(() => "none");
      const { stderr } = await forward.stop();
      return { answer, survivor, said: /error forwarding port .*/.exec(stderr)?.[0] ?? "" };
    });
    assert.match(direct.said, /error forwarding port 7999 to pod .*connection refused/);
    assert.equal(direct.survivor, client === "kubectl-1.20" ? `${GREET}\n` : "none");
    assert.deepEqual(through, direct);
  });

  live(`100 MB through a forwarded port are whole by ${client}`, async () => {
    const forward = await Forward.start(gateway(), { client }, "ports", `:${DIGEST}`);
    const [[local]] = forward.pairs;
    const totalBytes = 100_000_000;
    const sent = new Digest();
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: local });
    await connection.write(new TextEncoder().encode(`${totalBytes}\n`));
    await pattern(totalBytes, sent).pipeTo(connection.writable, { preventClose: true });
    const said = await within(20_000, "the digest", new Response(connection.readable).text());
    assert.equal(said, `${totalBytes} ${sent.hex()}\n`);
    await forward.stop();
  });
}

live("port-forward PORT takes the same port here", async () => {
  const { cluster } = gateway();
  const port = freePort();
  const containers = { main: { command: ["toolbox-echo", `greet=${port}`] } };
  await createPod(cluster, POD, { containers });
  for (const client of ALL_CLIENTS) {
    const forward = await Forward.start(gateway(), { client }, POD, `${port}`);
    assert.deepEqual(forward.pairs, [[port, port]]);
    assert.equal(await greeting(port), `${port}\n`);
    await forward.stop();
  }
});

const Result = z.object({ echoed: z.number(), reset: z.number(), failed: z.array(z.unknown()) });
for (const transport of ["spdy", "websocket"]) {
  for (const through of ["forwarder", "dialer"]) {
    live(
      `200 connections at once, 40 of them reset, do each other no harm: client-go's ${through}, ${transport}`,
      async () => {
        const { paths } = gateway().cluster;
        const place = ["--kubeconfig", gateway().kubeconfig, "--context", "root", "--pod", "ports"];
        const load = [
          "--ports",
          `${ECHO},7006`,
          "--connections",
          "200",
          "--resets",
          "40",
          "--bytes",
          "100000",
        ];
        const args = ["portforward", ...place, "--transport", transport, "--through", through, ...load];
        const { stdout, stderr } = await new Deno.Command(paths.goClient, { args }).output();
        const line = new TextDecoder().decode(stdout);
        assert.notEqual(line, "", new TextDecoder().decode(stderr));
        const { echoed, reset, failed } = Result.parse(JSON.parse(line));
        assert.deepEqual({ echoed, reset, failed }, { echoed: 160, reset: 40, failed: [] });
      },
    );
  }
}

live("port-forward is refused to who may not forward ports", async () => {
  const { cluster } = gateway();
  const args = ["port-forward", "ports", `:${GREET}`];
  const { outcome } = Kubectl.start({ cluster, endpoint: gateway(), user: "bob", args });
  const { code, stderr } = await outcome;
  assert.equal(code, 1);
  assert.match(new TextDecoder().decode(stderr), /User "bob" cannot create resource "pods\/portforward"/);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
