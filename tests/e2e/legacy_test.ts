/** The paths and the protocol of the OpenShift documents, spoken exactly as they say. */

import assert from "node:assert/strict";
import { tokenOf, type User } from "./support/cluster.ts";
import { DocumentedClient } from "./support/documented_client.ts";
import { sharedGateway } from "./support/gateway.ts";
import { openSpdy, type RawResponse, SPDY_UPGRADE } from "./support/raw_http.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

const PREFIXES = ["/proxy/nodes", "/proxy/minions", "/api/v1/proxy/nodes", "/api/v1/proxy/minions"];
const EXEC = "exec/default/shell/shell";

for (const prefix of PREFIXES) {
  live(`${prefix}: a command's three streams, as documented`, async () => {
    const command = "cat; echo to-stderr >&2";
    const client = await enter(`${prefix}/node1/${EXEC}?${commandOf(command)}`);
    const stdin = await client.openStream({ streamtype: "stdin" });
    const stdout = await client.openStream({ streamtype: "stdout" });
    const stderr = await client.openStream({ streamtype: "stderr" });
    await client.write(stdin, "through the old door\n", true);
    assert.equal(await client.readToEnd(stdout), "through the old door\n");
    assert.equal(await client.readToEnd(stderr), "to-stderr\n");
    await client.close();
    const end = await endOf(command);
    assert.equal(end["postern.dev/event"], "end");
    assert.match(end["postern.dev/end-reason"] ?? "", /^(command_ended|upstream_closed|client_closed)$/);
    assert.deepEqual(JSON.parse(end["postern.dev/streams"] ?? "{}").stdin, {
      streams: 1,
      bytesIn: 21,
      bytesOut: 0,
    });
  });

  live(`${prefix}: a forwarded connection is one stream with a port`, async () => {
    const client = await enter(`${prefix}/node1/portForward/default/web`);
    const first = await client.openStream({ port: "8080" });
    const second = await client.openStream({ port: "8080" });
    for (const stream of [second, first]) {
      await client.write(stream, "GET / HTTP/1.0\r\n\r\n");
      assert.match(await client.readToEnd(stream), /^HTTP\/1\.[01] 200 OK\r\n[^]*postern test cluster/);
    }
    await client.close();
  });
}

live("a forwarded connection to a port where nobody listens ends, and the others live on", async () => {
  const client = await enter("/proxy/nodes/node1/portForward/default/web");
  const refused = await client.openStream({ port: "9" });
  await client.write(refused, "hello?");
  assert.equal(await client.readToEnd(refused), "");
  const good = await client.openStream({ port: "8080" });
  await client.write(good, "GET / HTTP/1.0\r\n\r\n");
  assert.match(await client.readToEnd(good), /200 OK/);
  await client.close();
  const events = await eventually("both connections are written down", async () => {
    const all = (await gateway().events()).map(({ annotations }) => annotations)
      .filter((each) => each["postern.dev/event"] === "connection");
    return all.some((each) => each["postern.dev/port"] === "9") ? all : undefined;
  }, { deadlineMs: 10_000 });
  const [nine] = events.filter((each) => each["postern.dev/port"] === "9");
  assert.match(nine?.["postern.dev/error"] ?? "", /connection refused/);
});

live("streams may be named by the documents' parameters, and a terminal asked for", async () => {
  const path = `/proxy/nodes/node1/${EXEC}?${commandOf("tty; stty size")}&stdin=true&stdout=true&tty=true`;
  const headers = [...SPDY_UPGRADE, await bearer("alice")];
  const { response, peer } = await openSpdy(await server(), `POST ${path}`, headers);
  assert.equal(response.code, 101);
  await peer.open("error", "stdin", "stdout", "resize");
  let said = "";
  for (let frame = await peer.next(); frame !== null && frame.type !== "goaway"; frame = await peer.next()) {
    if (frame.type === "data" && frame.id === 5) said += frame.text;
  }
  assert.match(said, /^\/dev\/pts\/\d+\r\n/);
  peer.close();
});

const nodes = [
  { name: "another node", path: `/proxy/nodes/node2/${EXEC}?command=id`, code: 404 },
  { name: "a longer name", path: `/proxy/nodes/node1.evil.example/${EXEC}?command=id`, code: 404 },
  { name: "another node's port-forward", path: "/proxy/minions/node2/portForward/default/web", code: 404 },
  {
    name: "a pod by another UID",
    path: "/proxy/nodes/node1/exec/default/shell/u-1/shell?command=id",
    code: 404,
  },
  { name: "a container that is not there", path: "/proxy/nodes/node1/exec/default/shell/nosuch", code: 400 },
  { name: "no container", path: "/proxy/nodes/node1/exec/default/shell", code: 404 },
  { name: "another of the kubelet's paths", path: "/proxy/nodes/node1/pods", code: 404 },
  { name: "no node", path: "/proxy/nodes", code: 404 },
];
for (const { name, path, code } of nodes) {
  live(`the path must be right: ${name} is ${code}`, async () => {
    assert.equal((await ask(path, "alice")).code, code);
  });
}

live("who may not exec may not by the old paths, and is told nothing of nodes and pods", async () => {
  for (const path of [`/proxy/nodes/node2/${EXEC}`, "/proxy/nodes/node1/exec/default/nosuch/c"]) {
    const { code, body } = await ask(`${path}?command=id`, "bob");
    assert.equal(code, 403);
    assert.match(body, /User \\"bob\\" cannot create resource \\"pods\/exec\\"/);
  }
});

live("a privileged container is for cluster-admins by the old paths too", async () => {
  const path = "/proxy/minions/node1/exec/default/privileged/privileged?command=id";
  const { code, body } = await ask(path, "alice");
  assert.equal(code, 403);
  assert.match(body, /only cluster-admins/);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

async function server() {
  const { cluster, port } = gateway();
  return { port, caCerts: [await Deno.readTextFile(cluster.paths.caCertificate)] };
}

async function enter(path: string): Promise<DocumentedClient> {
  const { response, client } = await DocumentedClient.open(await server(), path, [await bearer("alice")]);
  if (client === undefined) assert.fail(`${path} was answered with ${response.code}: ${response.body}`);
  return client;
}

async function ask(path: string, user: Exclude<User, "admin">): Promise<RawResponse> {
  const { response, client } = await DocumentedClient.open(await server(), path, [await bearer(user)]);
  await client?.close();
  return response;
}

async function bearer(user: Exclude<User, "admin">): Promise<string> {
  return `Authorization: Bearer ${await tokenOf(gateway().cluster, user)}`;
}

function commandOf(script: string): string {
  return new URLSearchParams([["command", "sh"], ["command", "-c"], ["command", script]]).toString();
}

/** The last event of the session that ran this script. */
async function endOf(script: string): Promise<Record<string, string>> {
  return await eventually("the session's end is written down", async () => {
    const ends = (await gateway().events()).map(({ annotations }) => annotations)
      .filter((each) => each["postern.dev/event"] === "end" && each["postern.dev/argv"]?.includes(script));
    return ends.at(-1);
  }, { deadlineMs: 10_000 });
}
