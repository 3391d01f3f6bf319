/** What the gateway wrote down is what happened: every session, every stream, every byte, and no secret. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { AuditEvent } from "../../audit/event.ts";
import { tokenOf, tokensOf } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { CLIENTS, kubectl } from "./support/kubectl.ts";
import { rawRequest, SPDY_UPGRADE, WEBSOCKET_UPGRADE } from "./support/raw_http.ts";
import { asAdmin } from "./support/service_account.ts";
import { Terminal } from "./support/terminal.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

const STDIN_BYTES = 3_000_001;
/** What the kubelet says on the error stream of a command that ended with 7. */
function exit7(argv: readonly string[]): string {
  const message = `command terminated with non-zero exit code: error executing command [${
    argv.join(" ")
  }], exit code 7`;
  const details = { causes: [{ reason: "ExitCode", message: "7" }] };
  const status = { metadata: {}, status: "Failure", message, reason: "NonZeroExitCode", details };
  // encoding/json escapes what HTML would read.
  return JSON.stringify(status).replaceAll("<", "\\u003c").replaceAll(">", "\\u003e").replaceAll(
    "&",
    "\\u0026",
  );
}

const protocols: Record<typeof CLIENTS[number], string> = {
  "websocket": "WebSocket v5.channel.k8s.io",
  "spdy": "SPDY/3.1 v4.channel.k8s.io",
  "kubectl-1.20": "SPDY/3.1 v4.channel.k8s.io",
};

for (const client of CLIENTS) {
  live(`a session by ${client} is a decision, a start, an event for each stream, and an end`, async () => {
    const { cluster } = gateway();
    const marker = `"quoted" <&> ${crypto.randomUUID()}`;
    const argv = ["sh", "-c", "cat; printf 12345 >&2; exit 7", marker];
    const { code, stdout } = await kubectl({
      cluster,
      endpoint: gateway(),
      client,
      user: "alice",
      args: ["exec", "-i", "web", "-c", "sidecar", "--", ...argv],
      stdin: new Uint8Array(STDIN_BYTES),
    });
    assert.deepEqual([code, stdout.length], [7, STDIN_BYTES]);

    const events = await sessionOf(marker);
    const kinds = events.map((event) => `${event.annotations["postern.dev/event"]} ${event.stage}`);
    assert.deepEqual(kinds, [
      "decision RequestReceived",
      "start ResponseStarted",
      ...Array.from({ length: 4 }, () => "stream ResponseStarted"),
      "end ResponseComplete",
    ]);

    const uid = await asAdmin(cluster, "get", "pod", "web", "-o", "jsonpath={.metadata.uid}");
    for (const { user, verb, sourceIPs, userAgent, objectRef, annotations } of events) {
      assert.equal(user.username, "alice");
      assert.deepEqual([verb, sourceIPs], ["create", ["127.0.0.1"]]);
      assert.match(userAgent ?? "", /^kubectl/);
      assert.deepEqual(objectRef, {
        resource: "pods",
        namespace: "default",
        name: "web",
        uid,
        apiVersion: "v1",
        subresource: "exec",
      });
      assert.deepEqual(JSON.parse(annotations["postern.dev/argv"] ?? ""), argv);
      assert.equal(annotations["postern.dev/container"], "sidecar");
      assert.equal(annotations["postern.dev/node"], "node1");
      assert.equal(annotations["postern.dev/protocol"], protocols[client]);
    }

    const [decision] = events;
    assert.equal(decision?.annotations["authorization.k8s.io/decision"], "allow");
    const errorBytes = Buffer.byteLength(exit7(argv));
    assert.deepEqual(bytesByStream(events), {
      stdin: [STDIN_BYTES, 0],
      stdout: [0, STDIN_BYTES],
      stderr: [0, 5],
      error: [0, errorBytes],
    });
    const end = events.at(-1)?.annotations ?? {};
    assert.equal(end["postern.dev/exit-code"], "7");
    assert.equal(end["postern.dev/end-reason"], "command_ended");
    assert.equal(end["postern.dev/bytes-in"], `${STDIN_BYTES}`);
    assert.equal(end["postern.dev/bytes-out"], `${STDIN_BYTES + 5 + errorBytes}`);
    const times = events.map(({ stageTimestamp }) => stageTimestamp);
    assert.deepEqual(times, times.toSorted(), "in the order of time");
  });

  live(`a terminal's session by ${client} has typed bytes and resizes, and no stderr`, async () => {
    const marker = crypto.randomUUID();
    const terminal = new Terminal({
      cluster: gateway().cluster,
      endpoint: gateway(),
      client,
      user: "alice",
      args: ["exec", "-it", "shell", "--", "sh", "-c", "echo ready; read line; exit 0", marker],
    }, { columns: 80, rows: 24 });
    await terminal.shows("ready\r\n");
    terminal.type("secret-typed\r");
    assert.equal(await terminal.end(), 0);
    const events = await sessionOf(marker);
    const bytes = bytesByStream(events);
    assert.deepEqual(Object.keys(bytes).sort(), ["error", "resize", "stdin", "stdout"]);
    assert.deepEqual(bytes["stdin"], [13, 0]);
    assert.deepEqual(bytes["stdout"], [0, Buffer.byteLength(terminal.output)]);
    assert.ok(bytes["resize"]![0] > 0);
    assert.equal(events.at(-1)?.annotations["postern.dev/exit-code"], "0");
    assert.doesNotMatch(await gateway().auditText(), /secret-typed/);
  });

  live(
    `a privileged container refused to alice by ${client} is a decision to forbid and a refusal`,
    async () => {
      const marker = crypto.randomUUID();
      const { code } = await kubectl({
        cluster: gateway().cluster,
        endpoint: gateway(),
        client,
        user: "alice",
        args: ["exec", "privileged", "--", "echo", marker],
      });
      assert.equal(code, 1);
      const events = (await gateway().events()).filter(isAbout(marker));
      // A WebSocket client that is refused asks once more by SPDY.
      const requests = client === "websocket" ? 2 : 1;
      assert.equal(new Set(events.map(({ auditID }) => auditID)).size, requests);
      assert.equal(events.length, 2 * requests);
      for (const { annotations, responseStatus, stage } of events) {
        assert.equal(annotations["authorization.k8s.io/decision"], "forbid");
        assert.equal(annotations["postern.dev/rule"], "privileged-container");
        const isRefusal = annotations["postern.dev/event"] === "refusal";
        assert.equal(stage, isRefusal ? "ResponseComplete" : "RequestReceived");
        if (isRefusal) assert.deepEqual([responseStatus?.code, responseStatus?.reason], [403, "Forbidden"]);
      }
    },
  );
}

live("bob's refusal names bob, what he asked for, and why not", async () => {
  const marker = crypto.randomUUID();
  await kubectl({
    cluster: gateway().cluster,
    endpoint: gateway(),
    client: "spdy",
    user: "bob",
    args: ["exec", "shell", "--", "echo", marker],
  });
  const [refusal, ...others] = (await gateway().events()).filter(isAbout(marker));
  assert.deepEqual(others, []);
  assert.equal(refusal?.user.username, "bob");
  assert.equal(refusal?.annotations["authorization.k8s.io/decision"], "forbid");
  assert.match(refusal?.responseStatus?.message ?? "", /cannot create resource "pods\/exec"/);
});

live("an impersonated session names who did it and as whom", async () => {
  const marker = crypto.randomUUID();
  await kubectl({
    cluster: gateway().cluster,
    endpoint: gateway(),
    user: "root",
    args: ["--as", "alice", "exec", "shell", "--", "echo", marker],
  });
  for (const { user, impersonatedUser } of await sessionOf(marker)) {
    assert.deepEqual([user.username, impersonatedUser?.username], ["root", "alice"]);
  }
});

live("a request without a user is written down, without one", async () => {
  const marker = crypto.randomUUID();
  await raw(`POST /api/v1/namespaces/default/pods/shell/exec?command=${marker}&stdout=true`, SPDY_UPGRADE);
  const [refusal] = (await gateway().events()).filter(({ requestURI }) => requestURI.includes(marker));
  assert.deepEqual(refusal?.user, {});
  assert.equal(refusal?.responseStatus?.code, 401);
});

live("no credential is in the audit file or in the gateway's log, however it was sent", async () => {
  const { cluster } = gateway();
  const target = "/api/v1/namespaces/default/pods/shell/exec?command=true&stdout=true";
  const alice = await tokenOf(cluster, "alice");
  const asSubprotocol = `base64url.bearer.authorization.k8s.io.${Buffer.from(alice).toString("base64url")}`;
  const websocket = WEBSOCKET_UPGRADE.map((line) =>
    line.startsWith("Sec-WebSocket-Protocol") ? `${line}, ${asSubprotocol}` : line
  );
  assert.equal((await raw(`GET ${target}`, websocket)).code, 101);
  await raw(`GET ${target}&access_token=${alice}&token=${alice}`, websocket);
  await raw(`POST ${target}`, [...SPDY_UPGRADE, `Authorization: Bearer ${alice}`]);
  await raw(`POST ${target}`, [...SPDY_UPGRADE, `Authorization: Basic ${alice}`]);
  await raw(`POST ${target}`, [...SPDY_UPGRADE, `Authorization: Bearer ${alice}x`]);

  const tokens = [...(await tokensOf(cluster)).values(), await gatewayToken()];
  const written = { audit: await gateway().auditText(), log: await gateway().log() };
  assert.ok(tokens.length === 5 && written.audit.length > 1000);
  for (const [where, text] of Object.entries(written)) {
    for (const token of tokens) {
      const forms = [token, Buffer.from(token).toString("base64"), Buffer.from(token).toString("base64url")];
      for (const form of forms) {
        assert.ok(
          !text.includes(form.slice(0, 24)),
          `the ${where} holds the start of a token: ${form.slice(0, 6)}…`,
        );
      }
    }
  }
});

live("every line is one event of the API server's kind, and no session is left without its end", async () => {
  const events = await eventually("every start has its end", async () => {
    const all = await gateway().events();
    const ids = (kind: string) =>
      new Set(
        all.filter((event) => event.annotations["postern.dev/event"] === kind).map(({ auditID }) => auditID),
      );
    return ids("start").symmetricDifference(ids("end")).size === 0 ? all : undefined;
  }, { deadlineMs: 40_000, everyMs: 500 });
  for (const { kind, apiVersion, level, auditID } of events) {
    assert.deepEqual([kind, apiVersion, level], ["Event", "audit.k8s.io/v1", "Metadata"]);
    assert.match(auditID, /^[0-9a-f-]{36}$/);
  }
});

live("only its owner may read the audit file", async () => {
  assert.equal((await Deno.stat(gateway().auditFile)).mode! & 0o777, 0o600);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

/** All events of the one session whose command holds the marker, once it has ended. */
async function sessionOf(marker: string): Promise<AuditEvent[]> {
  return await eventually(`the end of ${marker} is written down`, async () => {
    const all = await gateway().events();
    const ids = new Set(all.filter(isAbout(marker)).map(({ auditID }) => auditID));
    assert.ok(ids.size <= 1, "one session has one auditID");
    const events = all.filter(({ auditID }) => ids.has(auditID));
    return events.some(({ stage }) => stage === "ResponseComplete") ? events : undefined;
  });
}

function isAbout(marker: string) {
  return ({ annotations }: AuditEvent) =>
    (JSON.parse(annotations["postern.dev/argv"] ?? "[]") as string[]).includes(marker);
}

/** Bytes in and out of each stream event; each name may stand once. */
function bytesByStream(events: readonly AuditEvent[]): Record<string, [number, number]> {
  const streams = events.filter(({ annotations }) => annotations["postern.dev/event"] === "stream");
  const entries = streams.map(({ annotations }) =>
    [
      annotations["postern.dev/stream"] ?? "",
      [Number(annotations["postern.dev/bytes-in"]), Number(annotations["postern.dev/bytes-out"])],
    ] as [string, [number, number]]
  );
  assert.equal(new Set(entries.map(([name]) => name)).size, entries.length, "one event for each stream");
  return Object.fromEntries(entries);
}

async function raw(start: string, headers: readonly string[]) {
  const { cluster, port } = gateway();
  const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
  return await rawRequest({ port, caCerts }, start, headers);
}

async function gatewayToken(): Promise<string> {
  return (await Deno.readTextFile(gateway().cluster.paths.gatewayToken)).trim();
}
