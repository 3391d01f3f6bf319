/** Sessions by a node's `proxy` subresource: today's way around admission is a session like any other here. */

import assert from "node:assert/strict";
import { tokenOf, type User } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { openSpdy, rawRequest, type RawResponse, SPDY_UPGRADE } from "./support/raw_http.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

const NODE = "/api/v1/nodes/node1/proxy";

/** alice may exec in `default`; here she is given what administrators often give away: the nodes' proxies. */
const BINDING = "e2e-alice-nodes-proxy";
Deno.test.beforeAll(async () => {
  const { cluster } = gateway();
  await asAdmin(cluster, "delete", "clusterrole,clusterrolebinding", BINDING, "--ignore-not-found");
  const verbs = ["--verb=get,create", "--resource=nodes/proxy"];
  await asAdmin(cluster, "create", "clusterrole", BINDING, ...verbs);
  await asAdmin(cluster, "create", "clusterrolebinding", BINDING, `--clusterrole=${BINDING}`, "--user=alice");
});
Deno.test.afterAll(async () => {
  await asAdmin(gateway().cluster, "delete", "clusterrole,clusterrolebinding", BINDING);
});

const runs = [
  { name: "output", query: "cmd=echo%20%20hi", code: 200, body: " hi\n" },
  { name: "an exit code", query: "cmd=false", code: 500, body: "command 'false' exited with 1: " },
  {
    name: "output and errors of a command that fails",
    query: "cmd=ls%20/nosuch%20/www",
    code: 500,
    body: "command 'ls /nosuch /www' exited with 1: ls: /nosuch: No such file or directory\n",
  },
];
for (const { name, query, code, body } of runs) {
  live(`run answers as the kubelet does: ${name}`, async () => {
    const path = `/run/default/shell/shell?${query}`;
    const through = await ask(`POST ${NODE}${path}`, "alice");
    assert.deepEqual([through.code, through.body], [code, body]);
    const direct = await askKubelet(`POST ${path}`);
    assert.deepEqual([through.code, through.body], [direct.code, direct.body]);
    assert.equal(through.headers.get("content-type"), direct.headers.get("content-type"));
  });
}

live("run is written down as the exec that it is", async () => {
  const word = crypto.randomUUID();
  await ask(`POST ${NODE}/run/default/shell/shell?cmd=echo%20${word}`, "alice");
  const kinds = await eventually("its events", async () => {
    const events = (await gateway().events()).map(({ annotations }) => annotations)
      .filter((each) => each["postern.dev/argv"] === JSON.stringify(["echo", word]));
    return events.at(-1)?.["postern.dev/event"] === "end" ? events : undefined;
  }, { deadlineMs: 10_000 });
  const seen = kinds.map((each) => each["postern.dev/event"]);
  assert.deepEqual(seen, ["decision", "start", "stream", "stream", "stream", "end"]);
  assert.equal(kinds.at(-1)?.["postern.dev/exit-code"], "0");
});

live("run is a POST", async () => {
  assert.equal((await ask(`GET ${NODE}/run/default/shell/shell?cmd=id`, "alice")).code, 405);
});

live("E-20 exec by the node's proxy keeps its query here, and is an exec", async () => {
  const query = "command=cat&input=1&output=1";
  const peer = await enter(`${NODE}/exec/default/shell/shell?${query}`, SPDY_UPGRADE);
  await peer.open("error", "stdin", "stdout");
  await peer.data(3, "kept", true);
  let said = "";
  for (let frame = await peer.next(); frame !== null && frame.type !== "goaway"; frame = await peer.next()) {
    if (frame.type === "data" && frame.id === 5) said += frame.text;
  }
  assert.equal(said, "kept");
  peer.close();
});

live("E-21 a port-forward by the node's proxy works", async () => {
  const upgrade = [
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    "X-Stream-Protocol-Version: portforward.k8s.io",
  ];
  const peer = await enter(`${NODE}/portForward/default/web`, upgrade);
  const headers = (streamtype: string) =>
    new Map([["streamtype", streamtype], ["port", "8080"], ["requestid", "0"]]);
  const stream = { associatedId: 0, priority: 0, slot: 0, fin: false, unidirectional: false };
  await peer.send({ type: "syn_stream", id: 1, headers: headers("error"), ...stream });
  await peer.send({ type: "syn_stream", id: 3, headers: headers("data"), ...stream });
  await peer.data(3, "GET / HTTP/1.0\r\n\r\n");
  let said = "";
  while (!said.includes("postern test cluster")) {
    const frame = await peer.next();
    if (frame === null) break;
    if (frame.type === "data" && frame.id === 3) said += frame.text;
  }
  assert.match(said, /postern test cluster/);
  peer.close();
});

const refusals: { name: string; user: Exclude<User, "admin">; start: string; code: number; body: RegExp }[] =
  [
    {
      name: "the privileged rule holds",
      user: "alice",
      start: `POST ${NODE}/run/default/privileged/privileged?cmd=id`,
      code: 403,
      body: /only cluster-admins/,
    },
    {
      name: "and for an exec",
      user: "alice",
      start: `POST ${NODE}/exec/default/hostpid/hostpid?command=id&output=1`,
      code: 403,
      body: /only cluster-admins/,
    },
    {
      name: "who may not exec may not run",
      user: "bob",
      start: `POST ${NODE}/run/default/shell/shell?cmd=id`,
      code: 403,
      body: /cannot create resource \\"pods\/exec\\"/,
    },
    {
      name: "another namespace is another permission",
      user: "alice",
      start: `POST ${NODE}/run/kube-system/shell/shell?cmd=id`,
      code: 403,
      body: /in the namespace \\"kube-system\\"/,
    },
    {
      name: "the node must be the pod's",
      user: "alice",
      start: "POST /api/v1/nodes/node2/proxy/run/default/shell/shell?cmd=id",
      code: 404,
      body: /does not run on node/,
    },
    {
      name: "another port of the node is none of the kubelet's",
      user: "alice",
      start: "POST /api/v1/nodes/node1:22/proxy/run/default/shell/shell?cmd=id",
      code: 404,
      body: /does not run on node/,
    },
    {
      name: "another UID is another pod",
      user: "alice",
      start: `POST ${NODE}/run/default/shell/u-1/shell?cmd=id`,
      code: 404,
      body: /another UID/,
    },
  ];
for (const { name, user, start, code, body } of refusals) {
  live(`by the node's proxy: ${name}`, async () => {
    const answer = await ask(start, user, start.includes("/exec/") ? SPDY_UPGRADE : []);
    assert.equal(answer.code, code, answer.body);
    assert.match(answer.body, body);
  });
}

live("who may exec, but use no node's proxy, is told so", async () => {
  const { cluster } = gateway();
  await asAdmin(cluster, "delete", "clusterrolebinding", BINDING);
  try {
    await eventually("the permission is gone", async () => {
      const { code, body } = await ask(`POST ${NODE}/run/default/shell/shell?cmd=id`, "alice");
      if (code === 200) return undefined;
      assert.equal(code, 403);
      assert.match(body, /User \\"alice\\" cannot create resource \\"nodes\/proxy\\"/);
      return true;
    }, { deadlineMs: 30_000, everyMs: 500 });
  } finally {
    await asAdmin(
      cluster,
      "create",
      "clusterrolebinding",
      BINDING,
      `--clusterrole=${BINDING}`,
      "--user=alice",
    );
  }
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

async function server() {
  const { cluster, port } = gateway();
  return { port, caCerts: [await Deno.readTextFile(cluster.paths.caCertificate)] };
}

async function ask(
  start: string,
  user: Exclude<User, "admin">,
  headers: readonly string[] = [],
): Promise<RawResponse> {
  const authorization = `Authorization: Bearer ${await tokenOf(gateway().cluster, user)}`;
  return await rawRequest(await server(), start, [...headers, authorization, "Content-Length: 0"]);
}

/** The same question to the kubelet itself, as the gateway: the API server reaches no kubelet on a loopback address. */
async function askKubelet(start: string): Promise<RawResponse> {
  const { ports, paths } = gateway().cluster;
  const token = (await Deno.readTextFile(paths.gatewayToken)).trim();
  return await rawRequest({ ...await server(), port: ports.kubelet }, start, [
    `Authorization: Bearer ${token}`,
    "Content-Length: 0",
  ]);
}

async function enter(path: string, upgrade: readonly string[]) {
  const authorization = `Authorization: Bearer ${await tokenOf(gateway().cluster, "alice")}`;
  const { response, peer } = await openSpdy(await server(), `POST ${path}`, [...upgrade, authorization]);
  if (response.code !== 101) {
    peer.close();
    assert.fail(`${path} was answered with ${response.code}: ${response.body}`);
  }
  return peer;
}
