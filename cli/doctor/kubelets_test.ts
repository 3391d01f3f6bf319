/** Kubelets that are asked for real: TLS servers of this process. */

import assert from "node:assert/strict";
import type { V1Node } from "@kubernetes/client-node";
import { parseConfiguration } from "../../config/load.ts";
import { ApiError } from "../../kube/client.ts";
import { type Ca, issue, type LeafOptions, makeCa } from "../../tests/support/certificates.ts";
import { checkKubelets, type KubeletProbe } from "./kubelets.ts";

const CA = await makeCa();
const TOKEN = "sesame";

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: true, sanitizeResources: true, fn });
}

/** A kubelet's certificate and door. What it was asked is kept. */
async function kubelet(ca: Ca, status: number, options: LeafOptions = {}) {
  const asked: string[] = [];
  const { cert, key } = await issue(ca, options);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} }, (request) => {
    asked.push(`${request.method} ${new URL(request.url).pathname} ${request.headers.get("Authorization")}`);
    return new Response(null, { status });
  });
  return { port: server.addr.port, asked, [Symbol.asyncDispose]: () => server.shutdown() };
}

function node(name: string, port: number): V1Node {
  const daemonEndpoints = { kubeletEndpoint: { Port: port } };
  return {
    metadata: { name },
    status: { addresses: [{ type: "InternalIP", address: "127.0.0.1" }], daemonEndpoints },
  };
}

/** Looks at nodes that the API server lists, page by page, one a page. */
async function check(nodes: readonly V1Node[], more: Partial<KubeletProbe> = {}) {
  const { upstream } = parseConfiguration(
    "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\n" +
      "upstream: { kubelet: { allowedAddresses: [127.0.0.0/8], dialTimeoutSeconds: 1 } }\n",
    "gateway.yaml",
  );
  const get = <T>(path: string): Promise<T> => {
    const at = Number(new URL(path, "https://x").searchParams.get("continue") ?? 0);
    const metadata = at + 1 < nodes.length ? { continue: `${at + 1}` } : {};
    return Promise.resolve({ metadata, items: nodes.slice(at, at + 1) } as T);
  };
  const ca = { value: CA.cert };
  const connection = { server: "https://x", ca, token: { value: TOKEN }, clientCertificate: undefined };
  const probe = {
    client: { get },
    options: upstream.kubelet,
    connection,
    isGateway: true,
    nodes: [],
    ...more,
  };
  const found = await checkKubelets(probe, new Date());
  return found.map(({ status, message }) =>
    `${status} ${message.replaceAll(/127\.0\.0\.1:\d+/g, "ADDRESS")}`
  );
}

live("checkKubelets asks each node once, as sessions do: by POST, with the gateway's token", async () => {
  await using one = await kubelet(CA, 200);
  await using two = await kubelet(CA, 403);
  assert.deepEqual(await check([node("n1", one.port), node("n2", two.port)]), [
    "ok the kubelet of n1 (ADDRESS) is reached, trusted, and lets the gateway in",
    "wrong the kubelet of n2 (ADDRESS) refuses the gateway",
  ]);
  assert.deepEqual([one.asked, two.asked], [[`POST /healthz Bearer ${TOKEN}`], [
    `POST /healthz Bearer ${TOKEN}`,
  ]]);
});

live("attack: who stands in for a kubelet is shown no token", async () => {
  await using impostor = await kubelet(await makeCa("somebody else"), 200);
  const [found] = await check([node("n1", impostor.port)]);
  assert.match(found ?? "", /^wrong the kubelet of n1 \(ADDRESS\) is not trusted: /);
  assert.deepEqual(impostor.asked, []);
});

live("checkKubelets shows an administrator's credentials to no kubelet", async () => {
  await using one = await kubelet(CA, 200);
  const [found] = await check([node("n1", one.port)], { isGateway: false });
  assert.match(found ?? "", /^ok .* what it lets the gateway do was not asked$/);
  assert.deepEqual(one.asked, []);
});

live("checkKubelets reads from a kubelet's certificate when it ends", async () => {
  const day = 86_400_000;
  const times = { notBefore: new Date(Date.now() - 300 * day), notAfter: new Date(Date.now() + 3 * day) };
  await using one = await kubelet(CA, 200, times);
  const found = await check([node("n1", one.port)]);
  assert.equal(found.length, 2);
  assert.ok(
    found.some((line) => /^wrong the certificate of the kubelet of n1 .* expires soon/.test(line)),
    `${found}`,
  );
});

live("checkKubelets waits for a kubelet that says nothing no longer than a session would", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = silent.accept();
  const [found] = await check([node("n1", silent.addr.port)]);
  assert.equal(found, "wrong the kubelet of n1 (ADDRESS) cannot be reached: i/o timeout");
  (await accepting).close();
});

live("checkKubelets says so where nodes may not be listed, and what can be done", async () => {
  const client = { get: <T>(_: string): Promise<T> => Promise.reject(new ApiError(403, {})) };
  assert.deepEqual(await check([], { client }), [
    "unknown kubelets were not looked at: the gateway may get a node, but not list them",
  ]);
});
