/** The gateway as it ships, in front of the embedded cluster, spoken to byte by byte: what needs no root, cluster or kubectl. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TUNNEL_PROTOCOL } from "../../protocol/port_forward/mod.ts";
import { upgradeRequestHeaders } from "../../protocol/websocket/mod.ts";
import { StreamConnection } from "../../session/stream_connection.ts";
import { TunnelConnection } from "../../session/tunnel_connection.ts";
import { Demo, type WrittenEvent } from "../support/demo.ts";
import { SpdyMux } from "../support/spdy_mux.ts";
import { type SeenFrame, SpdyPeer } from "../support/spdy_peer.ts";
import { upgrade } from "../support/websocket_client.ts";

const V4 = "v4.channel.k8s.io";
const V5 = "v5.channel.k8s.io";

function execPath(pod: string, query: string, command: readonly string[]): string {
  const words = command.map((word) => `command=${encodeURIComponent(word)}`).join("&");
  return `/api/v1/namespaces/default/pods/${pod}/exec?${query}&${words}`;
}

/** A whole command over WebSocket v5: stdin, its end, then everything up to the Close. */
async function runWebSocket(demo: Demo, user: string, pod: string, command: string[], input = "") {
  const conn = await demo.connect();
  const path = execPath(pod, "stdin=true&stdout=true&stderr=true", command);
  const headers: [string, string][] = [["Authorization", `Bearer ${demo.token(user)}`]];
  const { answer, client } = await upgrade(conn, {
    path,
    host: `127.0.0.1:${demo.port}`,
    headers,
    protocols: [V5],
  });
  if (client === undefined) {
    conn.close();
    return { answer, output: "", errors: "", status: "", closeCode: 0 };
  }
  if (input !== "") await client.sendChannel(0, input);
  await client.sendChannel(255, Uint8Array.of(0));
  const { channels, closeCode } = await client.receiveAll();
  conn.close();
  const text = (channel: number) => Buffer.from(channels.get(channel) ?? []).toString();
  return { answer, output: text(1), errors: text(2), status: text(3), closeCode };
}

/** The same over SPDY. */
async function runSpdy(demo: Demo, user: string, pod: string, command: string[], input = "", protocol = V4) {
  const path = execPath(pod, "stdin=true&stdout=true&stderr=true", command);
  const { head, body, connection } = await demo.upgrade(user, path, [protocol]);
  if (head.status !== 101) {
    connection.close();
    return { head, body, output: "", errors: "", status: "" };
  }
  const peer = new SpdyPeer(connection);
  await peer.open("error", "stdin", "stdout", "stderr");
  await peer.data(3, input, true);
  const frames: SeenFrame[] = [];
  for (let frame = await peer.next(); frame !== null && frame.type !== "goaway"; frame = await peer.next()) {
    frames.push(frame);
  }
  connection.close();
  const text = (id: number) =>
    frames.flatMap((frame) => frame.type === "data" && frame.id === id ? [frame.text] : []).join("");
  return { head, body, output: text(5), errors: text(7), status: text(1) };
}

const isEnd = (user: string, protocol: string) => ({ annotations, user: { username } }: WrittenEvent) =>
  annotations["postern.dev/event"] === "end" && username === user &&
  annotations["postern.dev/protocol"]?.startsWith(protocol) === true;

const isAttach = (protocol: string) => ({ annotations, objectRef }: WrittenEvent) =>
  annotations["postern.dev/event"] === "end" && objectRef?.subresource === "attach" &&
  annotations["postern.dev/protocol"]?.startsWith(protocol) === true;

/** All frames up to GOAWAY. */
async function restOf(peer: SpdyPeer): Promise<SeenFrame[]> {
  const frames: SeenFrame[] = [];
  for (let frame = await peer.next(); frame !== null && frame.type !== "goaway"; frame = await peer.next()) {
    frames.push(frame);
  }
  return frames;
}

const PODS = "/api/v1/namespaces/default/pods";
const FORWARD = `${PODS}/web/portforward`;
const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n`;

function openForward(mux: SpdyMux, port: number, requestid: string) {
  const headers = { port: String(port), requestid };
  const error = mux.open({ ...headers, streamtype: "error" }, { fin: true });
  return { error, data: mux.open({ ...headers, streamtype: "data" }) };
}

/** Asks the pod `web` for a page. @returns the answer, as it came */
async function forwardSpdy(demo: Demo, user: string, path: string): Promise<string> {
  const { head, connection } = await demo.upgrade(user, FORWARD, ["portforward.k8s.io"]);
  assert.equal(head.status, 101);
  const mux = new SpdyMux(connection);
  const { data } = openForward(mux, 8080, "0");
  await data.write(GET(path));
  const text = await data.text();
  await mux.close();
  return text;
}

/** The same over SPDY inside a WebSocket. */
async function forwardTunnel(demo: Demo, user: string, path: string): Promise<string> {
  const connection = new StreamConnection(await demo.connect());
  const headers = [
    ["Host", `127.0.0.1:${demo.port}`],
    ["Authorization", `Bearer ${demo.token(user)}`],
    ...upgradeRequestHeaders("dGhlIHNhbXBsZSBub25jZQ==", [TUNNEL_PROTOCOL]),
  ].map(([name, value]) => `${name}: ${value}\r\n`);
  await connection.write(new TextEncoder().encode(`GET ${FORWARD} HTTP/1.1\r\n${headers.join("")}\r\n`));
  const answer = new TextDecoder().decode((await connection.read())!);
  assert.match(answer, /^HTTP\/1\.1 101 [^]*\r\n\r\n$/);
  const tunnel = new TunnelConnection(connection, { role: "client", lingerMs: 100 });
  const mux = new SpdyMux(tunnel);
  const { data } = openForward(mux, 8080, "0");
  await data.write(GET(path));
  const text = await data.text();
  await mux.close();
  await tunnel.closed;
  return text;
}

/** The same over channels. */
async function forwardChannels(demo: Demo, user: string, path: string): Promise<string> {
  const conn = await demo.connect();
  const { client } = await upgrade(conn, {
    path: `${FORWARD}?ports=8080`,
    host: `127.0.0.1:${demo.port}`,
    headers: [["Authorization", `Bearer ${demo.token(user)}`]],
    protocols: [V4],
  });
  assert.ok(client);
  await client.sendChannel(0, GET(path));
  const { channels } = await client.receiveAll();
  conn.close();
  const [data, error] = [channels.get(0)!, channels.get(1)!];
  assert.deepEqual([data.subarray(0, 2), error].map((bytes) => [...bytes]), [[144, 31], [144, 31]]); // 8080
  return Buffer.from(data.subarray(2)).toString();
}

/** Adds an ephemeral container, as kubectl debug does. */
async function debug(demo: Demo, user: string, pod: string, container: object) {
  const body = JSON.stringify({ spec: { ephemeralContainers: [{ image: "busybox", ...container }] } });
  const headers = { "Content-Type": "application/strategic-merge-patch+json" };
  return await demo.request(user, "PATCH", `${PODS}/${pod}/ephemeralcontainers`, headers, body);
}

async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail("it did not come about");
}

Deno.test({
  name: "the demo",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using demo = await Demo.start();

    for (const [name, run] of [["WebSocket v5", runWebSocket], ["SPDY v4", runSpdy]] as const) {
      await t.step(
        `${name}: stdin goes in, stdout and stderr come out apart, and the exit code is told`,
        async () => {
          const { output, errors, status } = await run(demo, "alice", "shell", [
            "sh",
            "-c",
            "cat; echo bad >&2; exit 7",
          ], "hello");
          assert.deepEqual([output, errors], ["hello", "bad\n"]);
          assert.match(status, /"reason":"ExitCode","message":"7"/);
        },
      );

      await t.step(`${name}: what was written down is what happened`, async () => {
        await run(demo, "root", "shell", ["sh", "-c", "cat; printf 12345 >&2"], "abc");
        const events = await demo.eventsOf(isEnd("root", name.split(" ")[0]!));
        const of = (type: string) =>
          events.filter(({ annotations }) => annotations["postern.dev/event"] === type);
        assert.deepEqual(events.map(({ annotations }) => annotations["postern.dev/event"]), [
          "decision",
          "start",
          "stream",
          "stream",
          "stream",
          "stream",
          "end",
        ]);
        const bytes = Object.fromEntries(
          of("stream").map(({ annotations }) => {
            const {
              "postern.dev/stream": stream,
              "postern.dev/bytes-in": bytesIn,
              "postern.dev/bytes-out": bytesOut,
            } = annotations;
            return [stream, `${bytesIn} in, ${bytesOut} out`];
          }),
        );
        assert.deepEqual([bytes.stdin, bytes.stdout, bytes.stderr], [
          "3 in, 0 out",
          "0 in, 3 out",
          "0 in, 5 out",
        ]);
        assert.equal(of("end")[0]?.annotations["postern.dev/exit-code"], "0");
        assert.equal(
          of("decision")[0]?.annotations["postern.dev/argv"],
          '["sh","-c","cat; printf 12345 >&2"]',
        );
      });
    }

    await t.step("v2 over SPDY: silence is success, text is failure", async () => {
      const good = await runSpdy(demo, "alice", "shell", ["true"], "", "v2.channel.k8s.io");
      assert.equal(good.status, "");
      const bad = await runSpdy(demo, "alice", "shell", ["false"], "", "v2.channel.k8s.io");
      assert.match(bad.status, /exit code/);
    });

    await t.step("a megabyte goes through cat unchanged", async () => {
      const input = "0123456789abcdef".repeat(65_536);
      const { output } = await runSpdy(demo, "alice", "shell", ["cat"], input);
      assert.ok(output === input, `${output.length} bytes came back`);
    });

    await t.step("a terminal has the size that the client says", async () => {
      const path = execPath("shell", "stdin=true&stdout=true&tty=true", ["sh"]);
      const { connection } = await demo.upgrade("alice", path, [V4]);
      const peer = new SpdyPeer(connection);
      await peer.open("error", "stdin", "stdout", "resize");
      await peer.data(7, '{"Width":101,"Height":42}');
      let seen = "";
      await new Promise((resolve) => setTimeout(resolve, 200));
      await peer.data(3, "stty size; exit\n");
      for (
        let frame = await peer.next();
        frame !== null && frame.type !== "goaway";
        frame = await peer.next()
      ) {
        if (frame.type === "data") seen += frame.text;
      }
      connection.close();
      assert.match(seen, /42 101/);
    });

    await t.step(
      "attach over SPDY: a terminal is written to and read, and its end is written down",
      async () => {
        const path = "/api/v1/namespaces/default/pods/tty/attach?stdin=true&stdout=true&tty=true";
        const { head, body, connection } = await demo.upgrade("alice", path, [V4]);
        assert.equal(head.status, 101, body);
        const peer = new SpdyPeer(connection);
        await peer.open("error", "stdin", "stdout", "resize");
        await peer.data(7, '{"Width":101,"Height":42}');
        await peer.data(3, "echo it is $((40 + 2)); stty size\n");
        let seen = "";
        while (!/it is 42\r\n42 101/.test(seen)) {
          const frame = await peer.next();
          assert.ok(frame !== null, seen);
          if (frame.type === "data" && frame.id === 5) seen += frame.text;
        }
        await peer.data(3, "", true); // detaches
        const last = (await restOf(peer)).flatMap((frame) =>
          frame.type === "data" && frame.id === 1 ? [frame.text] : []
        );
        connection.close();
        assert.equal(last.join(""), '{"metadata":{},"status":"Success"}');
        const [decision] = await demo.eventsOf(isAttach("SPDY"));
        assert.equal(decision?.annotations["authorization.k8s.io/decision"], "allow");
      },
    );

    await t.step("attach over WebSocket v5: what a container prints from now on", async () => {
      const conn = await demo.connect();
      const { client } = await upgrade(conn, {
        path: "/api/v1/namespaces/default/pods/web/attach?container=web&stdout=true&stderr=true",
        host: `127.0.0.1:${demo.port}`,
        headers: [["Authorization", `Bearer ${demo.token("alice")}`]],
        protocols: [V5],
      });
      assert.ok(client);
      const looking = client.receiveAll();
      await demo.eventsOf(({ annotations, objectRef }) => {
        return annotations["postern.dev/event"] === "start" && objectRef?.subresource === "attach" &&
          annotations["postern.dev/container"] === "web";
      });
      await new Promise((resolve) => setTimeout(resolve, 200)); // until the kubelet has attached it
      await forwardSpdy(demo, "alice", "/looked-at");
      await client.sendClose();
      const { channels } = await looking;
      conn.close();
      assert.equal(Buffer.from(channels.get(1) ?? []).toString(), "GET /looked-at\n");
    });

    for (
      const [name, forward] of [["SPDY", forwardSpdy], ["a tunnel", forwardTunnel], [
        "WebSocket channels",
        forwardChannels,
      ]] as const
    ) {
      await t.step(
        `port-forward over ${name}: the pod's page is read, and each connection is written down`,
        async () => {
          assert.match(
            await forward(demo, "alice", "/"),
            /^HTTP\/1\.1 200 OK\r\n[^]*hello from the pod web\n$/,
          );
          const events = await demo.eventsOf(({ annotations }) =>
            annotations["postern.dev/event"] === "connection"
          );
          const { annotations } = events.find(({ annotations }) =>
            annotations["postern.dev/event"] === "connection"
          )!;
          assert.equal(annotations["postern.dev/port"], "8080");
        },
      );
    }

    await t.step("port-forward to a port on which nobody listens fails that connection alone", async () => {
      const { connection } = await demo.upgrade("alice", FORWARD, ["portforward.k8s.io"]);
      const mux = new SpdyMux(connection);
      const [refused, served] = [openForward(mux, 9999, "0"), openForward(mux, 8080, "1")];
      assert.match(await refused.error.text(), /error forwarding port 9999 to pod .*connection refused/);
      await served.data.write(GET("/"));
      assert.match(await served.data.text(), /hello from the pod web/);
      await mux.close();
    });

    const LEGACY = [
      "/api/v1/nodes/demo-node/proxy/exec/default/shell/shell?command=echo&command=in&output=1",
      "/proxy/nodes/demo-node/exec/default/shell/shell?command=echo&command=in&output=1",
      "/api/v1/proxy/minions/demo-node/exec/default/shell/shell?command=echo&command=in&output=1",
    ];
    for (const path of LEGACY) {
      await t.step(`exec by the path ${path.split("?")[0]}`, async () => {
        const { head, body, connection } = await demo.upgrade("root", path, [V4]);
        assert.equal(head.status, 101, body);
        const peer = new SpdyPeer(connection);
        await peer.open("error", "stdout");
        const output = (await restOf(peer)).flatMap((frame) =>
          frame.type === "data" && frame.id === 3 ? [frame.text] : []
        );
        connection.close();
        assert.equal(output.join(""), "in\n");
      });
    }

    await t.step("debug: an ephemeral container is added, runs, and may be opened", async () => {
      const added = await debug(demo, "alice", "shell", { name: "debugger", stdin: true });
      assert.equal(added.status, 200, added.body);
      await eventually(async () => {
        const { status } = JSON.parse((await demo.request("alice", "GET", `${PODS}/shell`)).body);
        return status.ephemeralContainerStatuses?.[0]?.state.running !== undefined;
      });
      const { connection } = await demo.upgrade(
        "alice",
        execPath("shell", "stdout=1&container=debugger", ["pwd"]),
        [V4],
      );
      const peer = new SpdyPeer(connection);
      await peer.open("error", "stdout");
      const output = (await restOf(peer)).flatMap((frame) =>
        frame.type === "data" && frame.id === 3 ? [frame.text] : []
      );
      connection.close();
      assert.match(output.join(""), /\/debugger\n$/);
    });

    const GUARDED = [
      { name: "a privileged one", pod: "shell", more: { securityContext: { privileged: true } } },
      {
        name: "one that targets a privileged one",
        pod: "privileged",
        more: { targetContainerName: "privileged" },
      },
    ];
    for (const { name, pod, more } of GUARDED) {
      await t.step(`debug: alice may not add ${name}, root may`, async () => {
        const refused = await debug(demo, "alice", pod, { name: "guarded", ...more });
        assert.equal(refused.status, 403);
        assert.match(JSON.parse(refused.body).message, /only cluster-admins may add it/);
        assert.equal((await debug(demo, "root", pod, { name: "guarded", ...more })).status, 200);
      });
    }

    await t.step(
      "alice is refused on a privileged container, and told why; the refusal is written down",
      async () => {
        const { answer } = await runWebSocket(demo, "alice", "privileged", ["id"]);
        assert.equal(answer.status, 403);
        const status = JSON.parse(answer.body);
        assert.match(
          status.message,
          /container "privileged" .* securityContext\.privileged: only cluster-admins may open it/,
        );
        assert.equal(status.reason, "Forbidden");
        const auditId = answer.headers.find(([name]) => name.toLowerCase() === "audit-id")?.[1];
        const events = (await demo.events()).filter(({ auditID }) => auditID === auditId);
        assert.deepEqual(events.map(({ annotations }) => annotations["postern.dev/event"]), [
          "decision",
          "refusal",
        ]);
        assert.equal(events[0]?.annotations["authorization.k8s.io/decision"], "forbid");
      },
    );

    await t.step("root may open it", async () => {
      assert.equal((await runSpdy(demo, "root", "privileged", ["echo", "in"])).output, "in\n");
    });

    await t.step("bob may not exec, and learns nothing of pods that are not there", async () => {
      for (const pod of ["shell", "nosuch"]) {
        const { head, body } = await runSpdy(demo, "bob", pod, ["id"]);
        assert.equal(head.status, 403);
        assert.equal(
          JSON.parse(body).message,
          `pods "${pod}" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "default"`,
        );
      }
    });

    const REFUSED = [
      {
        name: "an unknown pod",
        user: "alice",
        path: execPath("nosuch", "stdout=1", ["id"]),
        status: 404,
        says: "not found",
      },
      {
        name: "an unknown container",
        user: "alice",
        path: execPath("shell", "stdout=1&container=x", ["id"]),
        status: 400,
        says: "container x is not valid for pod shell",
      },
      {
        name: "E-6 two containers and none named",
        user: "alice",
        path: execPath("web", "stdout=1", ["id"]),
        status: 400,
        says: "choose one of: [web sidecar]",
      },
      {
        name: "a path with an escaped slash",
        user: "root",
        path: "/api/v1/namespaces/default%2fpods/shell/exec",
        status: 400,
        says: "escaped separator",
      },
      {
        name: "attach to a privileged container",
        user: "alice",
        path: "/api/v1/namespaces/default/pods/privileged/attach?stdout=1",
        status: 403,
        says: "only cluster-admins may open it",
      },
      {
        name: "a node's proxy, without a stream",
        user: "root",
        path: "/api/v1/nodes/demo-node/proxy/exec/default/shell/shell?command=id",
        status: 400,
        says: "you must specify at least 1 of stdin, stdout, stderr",
      },
      {
        name: "another node's proxy",
        user: "root",
        path: "/api/v1/nodes/other-node/proxy/exec/default/shell/shell?command=id&output=1",
        status: 404,
        says: "other-node",
      },
      {
        name: "a port-forward to a privileged pod by bob, who may not forward ports at all",
        user: "bob",
        path: "/api/v1/namespaces/default/pods/privileged/portforward",
        status: 403,
        says: 'cannot create resource \\"pods/portforward\\"',
      },
      {
        name: "an upgrade of any other path",
        user: "root",
        path: "/api/v1/namespaces/default/pods?watch=1",
        status: 400,
        says: "cannot be upgraded",
      },
      {
        name: "no flags at all",
        user: "alice",
        path: execPath("shell", "stdout=0", ["id"]),
        status: 400,
        says: "you must specify at least 1 of stdin, stdout, stderr",
      },
    ];
    for (const { name, user, path, status, says } of REFUSED) {
      await t.step(`refused: ${name}`, async () => {
        const { head, body, connection } = await demo.upgrade(user, path, [V4]);
        connection.close();
        assert.equal(head.status, status);
        assert.ok(body.includes(says), body);
      });
    }

    await t.step("E-15 a SPDY client without a common protocol is told which there are", async () => {
      const { head, connection } = await demo.upgrade("alice", execPath("shell", "stdout=1", ["id"]), ["v9"]);
      connection.close();
      assert.equal(head.status, 403);
      const offered = head.headers.filter(([name]) =>
        name.toLowerCase() === "x-accepted-stream-protocol-versions"
      );
      assert.equal(offered.map(([, value]) => value).join().split(",").length, 4);
    });

    await t.step("impersonation is asked about, and both identities are written down", async () => {
      const path = execPath("shell", "stdout=1", ["id"]);
      const refused = await demo.request("alice", "POST", path, { "Impersonate-User": "root" });
      assert.equal(refused.status, 403);
      assert.match(refused.body, /cannot impersonate resource \\"users\\"/);
      const other = await demo.request("root", "POST", path, { "Impersonate-User": "bob" });
      assert.equal(other.status, 403);
      assert.match(other.body, /User \\"bob\\" cannot create resource \\"pods\/exec\\"/);
      const events = await demo.eventsOf(({ impersonatedUser }) => impersonatedUser?.username === "bob");
      assert.equal(events[0]?.user.username, "root");
    });

    await t.step("without a token and with a bad one the answer is 401, and how to do better", async () => {
      for (const authorization of ["", "Bearer wrong"]) {
        const answer = await demo.request("alice", "POST", execPath("shell", "stdout=1", ["id"]), {
          Authorization: authorization,
        });
        assert.equal(answer.status, 401);
        assert.match(answer.headers.get("WWW-Authenticate") ?? "", /^Bearer/);
      }
    });

    await t.step("other requests pass through with the user's own token", async () => {
      const pods = await demo.request("bob", "GET", "/api/v1/namespaces/default/pods");
      assert.equal(JSON.parse(pods.body).items.length, 5);
      assert.equal((await demo.request("bob", "GET", "/api/v1/namespaces/kube-system/pods")).status, 403);
      assert.match(
        (await demo.request("bob", "GET", "/api/v1/namespaces/default/pods/web/log?container=web")).body,
        /listening on port/,
      );
    });

    await t.step("no token stands in the audit log or the gateway's log", async () => {
      const written = await Deno.readTextFile(`${demo.folder}/audit.log`) +
        await Deno.readTextFile(`${demo.folder}/gateway.log`);
      for (const user of ["alice", "bob", "root"]) assert.ok(!written.includes(demo.token(user)), user);
    });

    await t.step("SIGTERM ends everything that was started, with exit code 0", async () => {
      const { code } = await demo.stop("SIGTERM");
      assert.equal(code, 0);
      await assert.rejects(demo.connect());
    });
  },
});
