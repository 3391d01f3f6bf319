/** The gateway's own API, in front of real sessions, guarded by real RBAC. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { type Cluster, runningCluster, tokenOf, type User } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { type Client, CLIENTS, Kubectl, kubectl } from "./support/kubectl.ts";
import { rawRequest } from "./support/raw_http.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually, within } from "./support/wait.ts";

const gateway = sharedGateway({ index: { type: "sqlite", sqlite: { path: "index.sqlite" } } });

const ROLE = "postern-api-test";

// bob may do everything with the sessions of `default`, root is a cluster-admin; alice and carol have no grant.
Deno.test.beforeAll(async () => {
  const cluster = await runningCluster();
  await removeGrant(cluster);
  await grant(cluster, "bob");
});
Deno.test.afterAll(async () => await removeGrant(await runningCluster()));

async function grant(cluster: Cluster, name: string): Promise<void> {
  const rbac = "rbac.authorization.k8s.io";
  const rules = [
    { apiGroups: ["postern.dev"], resources: ["sessions"], verbs: ["get", "list", "watch", "delete"] },
    { apiGroups: ["postern.dev"], resources: ["recordings"], verbs: ["get"] },
  ];
  const items = [
    { apiVersion: `${rbac}/v1`, kind: "ClusterRole", metadata: { name: ROLE }, rules },
    {
      ...{ apiVersion: `${rbac}/v1`, kind: "RoleBinding", metadata: { name: ROLE, namespace: "default" } },
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name: ROLE },
      subjects: [{ apiGroup: rbac, kind: "User", name }],
    },
  ];
  const { code, stderr } = await kubectl({
    ...{ cluster, endpoint: cluster.paths, user: "admin", args: ["create", "-f", "-"] },
    stdin: new TextEncoder().encode(JSON.stringify({ apiVersion: "v1", kind: "List", items })),
  });
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

async function removeGrant(cluster: Cluster): Promise<void> {
  await asAdmin(cluster, "delete", "rolebinding", ROLE, "-n", "default", "--ignore-not-found");
  await asAdmin(cluster, "delete", "clusterrole", ROLE, "--ignore-not-found");
}

for (const client of CLIENTS) {
  apiTest(`a session by ${client} is ended by DELETE, and kubectl says by whom`, async ({ ask }) => {
    const session = start({ client, args: exec("echo ready; cat"), stdin: "open" });
    await session.shows("ready");
    const auditId = await liveSession();
    const response = await ask("bob", `/sessions/${auditId}`, { method: "DELETE" });
    const { status, message } = await response.json();
    assert.deepEqual([response.status, status, message], [200, "Success", "the session has ended"]);
    const { code, stderr } = await session.outcome;
    assert.notEqual(code, 0);
    assert.match(new TextDecoder().decode(stderr), /the session was ended by "bob"/);
    // It was written down when the answer came.
    const end = (await gateway().events()).find((each) => each.auditID === auditId && typeOf(each) === "end");
    assert.equal(end?.annotations["postern.dev/end-reason"], "ended_by_operator");
    assert.equal(end.annotations["postern.dev/message"], 'the session was ended by "bob"');
    assert.equal(end.responseStatus?.status, "Failure");
    const again = await ask("bob", `/sessions/${auditId}`, { method: "DELETE" });
    assert.equal(again.status, 410);
    await again.body?.cancel();
  });
}

apiTest("a port-forward is ended by DELETE", async ({ ask }) => {
  const session = start({ args: ["port-forward", "--address", "127.0.0.1", "pod/shell", ":8080"] });
  await session.shows("Forwarding from");
  const auditId = await liveSession();
  const response = await ask("bob", `/sessions/${auditId}`, { method: "DELETE" });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  await session.showsError("lost connection to pod");
  session.kill();
  await session.outcome;
});

apiTest("what passes in a session is seen as it passes; what is typed is not", async ({ ask }) => {
  const session = start({ args: exec("echo ready; read line; echo got it >&2; exit 3"), stdin: "open" });
  await session.shows("ready");
  const auditId = await liveSession();
  const response = await ask("bob", `/sessions/${auditId}/tail`);
  assert.equal(response.headers.get("Content-Type"), "text/event-stream");
  const tail = new Tail(response);
  const header = await tail.until("header");
  assert.deepEqual([header.auditId, header.namespace, header.pod, header.username], [
    ...[auditId, "default", "shell", "alice"],
  ]);
  await session.write("hunter2\n");
  const typed = await tail.until("data", (data) => data.name === "stdin");
  assert.deepEqual([typed.bytes, typed.data], [8, undefined]);
  const shown = await tail.until("data", (data) => data.name === "stderr");
  assert.equal(atob(String(shown.data)), "got it\n");
  const ended = await tail.until("ended");
  assert.deepEqual([ended.reason, ended.exitCode], ["command_ended", 3]);
  await tail.end();
  assert.doesNotMatch(tail.text, /hunter2|aHVudGVyMg/);
  assert.equal((await session.outcome).code, 3);
  const own = await eventually("that it was watched is written down", async () => {
    const id = response.headers.get("Audit-Id");
    const events = (await gateway().events()).filter((each) => each.auditID === id);
    return events.length === 2 ? events : undefined;
  });
  assert.deepEqual(own.map(typeOf), ["decision", "response"]);
  assert.deepEqual(own.map(({ verb, objectRef }) => [verb, objectRef?.resource, objectRef?.name]), [
    ["watch", "sessions", auditId],
    ["watch", "sessions", auditId],
  ]);
});

apiTest("whoever does not read what it watches is given up, and the session goes on", async ({ ask }) => {
  const session = start({
    args: exec("echo ready; read line; head -c 20000000 /dev/zero; echo done"),
    stdin: "open",
    onStdout: () => {},
  });
  const auditId = await liveSession();
  const response = await ask("bob", `/sessions/${auditId}/tail`);
  await session.write("go\n");
  const startedAtMs = performance.now();
  assert.equal((await session.outcome).code, 0);
  assert.ok(performance.now() - startedAtMs < 20_000);
  const tail = new Tail(response);
  await tail.until("header");
  await tail.until("dropped");
  await tail.end();
});

apiTest("whoever goes away while watching watches no more", async ({ ask }) => {
  const session = start({ args: exec("echo ready; read line"), stdin: "open" });
  await session.shows("ready");
  const auditId = await liveSession();
  const gone = new AbortController();
  const response = await ask("bob", `/sessions/${auditId}/tail`, { signal: gone.signal });
  gone.abort();
  await response.body?.cancel().catch(() => {});
  const event = await eventually("that is written down", async () => {
    const events = (await gateway().events()).filter((each) => typeOf(each) === "response");
    return events.find((each) => each.auditID === response.headers.get("Audit-Id"));
  });
  assert.equal(event.responseStatus?.code, 200);
  await session.write("\n");
  assert.equal((await session.outcome).code, 0);
});

apiTest("kubectl is client enough: it watches, ends and fetches", async () => {
  const raw = (verb: string, path: string) => ({
    ...run({ args: [verb, "--raw", `/postern/v1/sessions${path}`] }),
    user: "bob" as const,
  });
  const session = start({ args: exec("echo ready; read line; echo seen"), stdin: "open" });
  await session.shows("ready");
  const auditId = await liveSession();
  const tail = Kubectl.start(raw("get", `/${auditId}/tail`));
  await tail.shows("event: header");
  const deleted = await kubectl(raw("delete", `/${auditId}`));
  assert.match(new TextDecoder().decode(deleted.stdout), /"the session has ended"/);
  assert.equal((await tail.outcome).code, 0);
  assert.match(tail.stdoutText, /event: ended\n.*\n.*was ended by \\"bob\\"/);
  assert.notEqual((await session.outcome).code, 0);
  const end = await lastEnd();
  const fetched = await kubectl(raw("get", `/${auditId}/recording`));
  const path = join(gateway().recordings, end.annotations["postern.dev/recording"] ?? "");
  assert.deepEqual(fetched.stdout, await Deno.readFile(path));
});

apiTest("a recording is read in ranges, is the file, and each reading is an event", async ({ ask }) => {
  const { code } = await kubectl(run({ args: exec("head -c 300000 /dev/urandom"), onStdout: () => {} }));
  assert.equal(code, 0);
  const end = await lastEnd();
  const { auditID } = end;
  const path = end.annotations["postern.dev/recording"] ?? "";
  const file = await Deno.readFile(join(gateway().recordings, path));
  const url = `/sessions/${auditID}/recording`;

  const whole = await ask("bob", url);
  assert.deepEqual([whole.status, whole.headers.get("ETag")], [
    200,
    `"${end.annotations["postern.dev/recording-link"]}"`,
  ]);
  assert.deepEqual(await whole.bytes(), file);

  const etag = whole.headers.get("ETag") ?? "";
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < file.length; at += 100_000) {
    const headers = { Range: `bytes=${at}-${at + 99_999}`, "If-Range": etag };
    const part = await ask("bob", url, { headers });
    assert.equal(part.status, 206);
    parts.push(await part.bytes());
  }
  assert.ok(parts.length > 2);
  assert.deepEqual(await new Blob(parts).bytes(), file);

  const behind = await ask("bob", url, { headers: { Range: `bytes=${file.length}-` } });
  assert.deepEqual([behind.status, behind.headers.get("Content-Range")], [416, `bytes */${file.length}`]);
  await behind.body?.cancel();

  const readings = await eventually("every reading is written down", async () => {
    const events = (await gateway().events()).filter(({ objectRef }) =>
      objectRef?.resource === "recordings" && objectRef.name === auditID
    );
    return events.length === 2 * (parts.length + 2) ? events : undefined;
  });
  assert.ok(readings.every(({ user }) => user.username === "bob"));
});

apiTest("sessions are listed and shown by the index, in the namespace that is granted", async ({ ask }) => {
  const marker = crypto.randomUUID();
  await kubectl(run({ args: exec(`true ${marker}`) }));
  const { auditID } = await lastEnd();
  const listed = await eventually("the index has it", async () => {
    const response = await ask("bob", `/sessions?namespace=default&text=${marker}&live=false`);
    assert.equal(response.status, 200);
    const { items } = await response.json();
    return items.length > 0 ? items : undefined;
  });
  assert.deepEqual(
    listed.map((each: Record<string, unknown>) => [each.auditId, each.username, each.exitCode]),
    [[auditID, "alice", 0]],
  );
  const { session, here } = await (await ask("bob", `/sessions/${auditID}`)).json();
  assert.deepEqual([session.pod, session.endReason, here], ["shell", "command_ended", false]);
  const { items } = await (await ask("bob", `/sessions/${auditID}/events`)).json();
  const types = items.map(({ type }: { type: string }) => type);
  assert.deepEqual([types[0], types[1], types.at(-1)], ["decision", "start", "end"]);
  // That sessions and recordings were read and ended is no session.
  const all = await (await ask("bob", "/sessions?namespace=default&limit=1000")).json();
  const opened = (await gateway().events()).filter((each) => typeOf(each) === "start");
  assert.equal(all.items.length, opened.length);
  assert.equal(await codeOf(ask("bob", "/sessions")), 403);
  assert.equal(await codeOf(ask("root", "/sessions")), 200);
});

apiTest("who has no grant learns nothing, not even whether a session is there", async ({ ask }) => {
  await kubectl(run({ args: exec("true") }));
  const { auditID } = await lastEnd();
  const unknown = crypto.randomUUID();
  for (const suffix of ["", "/events", "/recording", "/tail"]) {
    const there = await ask("alice", `/sessions/${auditID}${suffix}`);
    const not = await ask("alice", `/sessions/${unknown}${suffix}`);
    assert.deepEqual([there.status, not.status], [403, 403]);
    const status = await there.text();
    assert.equal((await not.text()).replaceAll(unknown, auditID), status);
    assert.match(status, /"kind":"Status".*cannot (get|watch) resource .* in API group .*postern\.dev/);
  }
  assert.equal(await codeOf(ask("alice", `/sessions/${auditID}`, { method: "DELETE" })), 403);
  assert.equal(await codeOf(ask("alice", "/sessions?namespace=default")), 403);
  assert.equal(await codeOf(ask("root", `/sessions/${unknown}`)), 404);
  assert.equal(await codeOf(ask(undefined, `/sessions/${auditID}`)), 401);
});

apiTest("attack: no spelling of the API's paths goes on to the API server", async () => {
  const server = { port: gateway().port, caCerts: await authorities() };
  const token = await tokenOf(gateway().cluster, "root");
  const headers = [`Authorization: Bearer ${token}`];
  for (
    const path of [
      "/postern",
      "/postern/v1",
      "/postern/v1/nothing",
      "/postern/v1/api/v1/pods",
      "/postern/v2/x",
    ]
  ) {
    const { code, body } = await rawRequest(server, `GET ${path}`, headers);
    assert.deepEqual([code, JSON.parse(body).reason], [404, "NotFound"], path);
  }
  for (
    const path of ["/postern/v1/../../api/v1/pods", "/postern//v1/sessions", "/postern/v1/sessions/%2e%2e"]
  ) {
    assert.equal((await rawRequest(server, `GET ${path}`, headers)).code, 400, path);
  }
});

apiTest("the OpenAPI document is the one in docs/", async ({ ask }) => {
  const served = await (await ask("alice", "/openapi.json")).json();
  const kept = await Deno.readTextFile(new URL("../../docs/openapi.json", import.meta.url));
  assert.deepEqual(served, JSON.parse(kept));
});

/** Asks the API as a user; without a token as nobody. */
type Ask = (user: Exclude<User, "admin"> | undefined, path: string, init?: RequestInit) => Promise<Response>;

function apiTest(name: string, body: (scene: { ask: Ask }) => Promise<void>): void {
  Deno.test({
    name: `api: ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      using client = Deno.createHttpClient({ caCerts: await authorities() });
      const ask: Ask = async (user, path, init = {}) => {
        const headers = new Headers(init.headers);
        if (user !== undefined) {
          headers.set("Authorization", `Bearer ${await tokenOf(gateway().cluster, user)}`);
        }
        const url = `${gateway().url}/postern/v1${path}`;
        return await within(20_000, `an answer to ${path}`, fetch(url, { ...init, headers, client }));
      };
      await body({ ask });
    },
  });
}

async function codeOf(answer: Promise<Response>): Promise<number> {
  const { status, body } = await answer;
  await body?.cancel();
  return status;
}

async function authorities(): Promise<string[]> {
  return [await Deno.readTextFile(gateway().cluster.paths.caCertificate)];
}

interface Run {
  client?: Client;
  args: string[];
  stdin?: "open";
  onStdout?: (chunk: Uint8Array) => void;
}

function run(given: Run) {
  return { user: "alice" as const, ...given, cluster: gateway().cluster, endpoint: gateway() };
}

function start(given: Run): Kubectl {
  return Kubectl.start(run(given));
}

function exec(script: string): string[] {
  return ["exec", "-i", "shell", "--", "sh", "-c", script];
}

function typeOf({ annotations }: AuditEvent): string | undefined {
  return annotations["postern.dev/event"];
}

/** The one session that is open. */
async function liveSession(): Promise<string> {
  return await eventually("a session is open", async () => {
    const events = await gateway().events();
    const ended = new Set(events.filter((each) => typeOf(each) === "end").map(({ auditID }) => auditID));
    return events.find((each) => typeOf(each) === "start" && !ended.has(each.auditID))?.auditID;
  });
}

/** The end of the last session; there is none open. */
async function lastEnd(): Promise<AuditEvent> {
  return await eventually("the session's end is written down", async () => {
    const events = await gateway().events();
    const started = events.findLast((each) => typeOf(each) === "start");
    return events.find((each) => each.auditID === started?.auditID && typeOf(each) === "end");
  });
}

/** Reads server-sent events. */
class Tail {
  text = "";
  readonly #reader: ReadableStreamDefaultReader<string>;
  #read = 0;

  constructor(response: Response) {
    assert.equal(response.status, 200);
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The data of the next event of this type, others are left out. */
  async until(
    type: string,
    isIt: (data: Record<string, unknown>) => boolean = () => true,
  ): Promise<Record<string, unknown>> {
    for (;;) {
      const end = this.text.indexOf("\n\n", this.#read);
      if (end < 0) {
        const { done, value } = await within(10_000, `an event ${type}`, this.#reader.read());
        if (done) throw new Error(`the tail ended before ${type}: ${this.text}`);
        this.text += value;
        continue;
      }
      const lines = this.text.slice(this.#read, end).split("\n");
      this.#read = end + 2;
      if (!lines.includes(`event: ${type}`)) continue;
      const data: Record<string, unknown> = JSON.parse(
        lines.find((line) => line.startsWith("data: "))!.slice(6),
      );
      if (isIt(data)) return data;
    }
  }

  /** It ends by itself. */
  async end(): Promise<void> {
    for (;;) {
      const { done, value } = await within(10_000, "the tail's end", this.#reader.read());
      if (done) return;
      this.text += value;
    }
  }
}
