/**
 * What is seen of a gateway in front of the real cluster: each dependency that is down is named, the metrics are what kubectl did, and
 * a trace goes on to the API server where sessions are opened there.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { TestReceiver } from "../../audit/sinks/test_receiver.ts";
import { lint, parseText } from "../../observability/test_exposition.ts";
import { issue, parseAuthority } from "../cluster/certificates.ts";
import { layout } from "../cluster/layout.ts";
import { type Cluster, runningCluster } from "./support/cluster.ts";
import { Gateway } from "./support/gateway.ts";
import { CLIENTS, Kubectl, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { TcpProxy } from "./support/tcp_proxy.ts";
import { eventually, sleep } from "./support/wait.ts";
import { freePort } from "../support/free_port.ts";

/** For what comes a moment later, however busy the machine is. */
const SOON = { deadlineMs: 120_000 };

/** What each client sends to a `cat`, and has back from it. */
const BYTES = 300_007;

/** The gateway with its admin port, and with wires to API server and kubelet that can be cut. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly gateway: Gateway,
    readonly adminUrl: string,
    readonly apiServer: TcpProxy,
    readonly kubelet: TcpProxy,
    readonly disk: SmallDisk,
    readonly collector: TestReceiver,
    readonly parts: AsyncDisposableStack,
  ) {}

  static async start(): Promise<Scene> {
    await using starting = new AsyncDisposableStack();
    const cluster = await runningCluster();
    const wire = (port: number) => {
      const proxy = new TcpProxy(port);
      starting.defer(() => proxy.close());
      return proxy;
    };
    const apiServer = wire(Number(new URL(cluster.apiServerUrl).port));
    const kubelet = wire(cluster.ports.kubelet);
    const disk = starting.use(await SmallDisk.mount(4 << 20));
    const collector = starting.use(new TestReceiver());
    const port = freePort();
    const gateway = starting.use(
      await Gateway.start({
        kubernetes: { kubeconfig: await kubeconfigAt(cluster, apiServer.port, disk.folder) },
        kubeletPort: kubelet.port,
        audit: {
          sinks: [
            { type: "file", path: join(disk.folder, "audit.log") },
            { type: "otlp", url: `http://127.0.0.1:${collector.port}/v1/logs` },
          ],
        },
        admin: { listener: "on", port },
      }),
    );
    const parts = starting.move();
    return new Scene(gateway, `http://127.0.0.1:${port}`, apiServer, kubelet, disk, collector, parts);
  }

  /** Runs kubectl at the gateway to its end. */
  async run(user: "alice" | "bob", args: readonly string[], more: Partial<KubectlRun> = {}) {
    const { cluster } = this.gateway;
    const { code, stdout } = await kubectl({ cluster, endpoint: this.gateway, user, args, ...SOON, ...more });
    return { code, bytes: stdout.length };
  }

  async ask(path: string): Promise<{ status: number; body: string }> {
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const answer = await fetch(`${this.adminUrl}${path}`, { client });
    return { status: answer.status, body: await answer.text() };
  }

  async samples(): Promise<ReadonlyMap<string, number>> {
    return parseText((await this.ask("/metrics")).body).samples;
  }

  /** Waits for a metric to be something. */
  async metric(name: string, isIt: (value: number) => boolean): Promise<void> {
    await eventually(`${name} is what is waited for`, async () => {
      const value = (await this.samples()).get(name);
      return (value !== undefined && isIt(value)) || undefined;
    }, SOON);
  }

  /** Waits for an answer of `/readyz`. */
  async readiness(status: number, says: RegExp): Promise<void> {
    let last = "";
    await eventually(`/readyz answers ${status} ${says}`, async () => {
      const answer = await this.ask("/readyz");
      last = `${answer.status} ${answer.body}`;
      return (answer.status === status && says.test(answer.body)) || undefined;
    }, SOON).catch((error) => {
      throw new Error(`${error}: ${last}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.disposeAsync();
  }
}

Deno.test({
  name: "the admin port in front of the real cluster tells what was done and what is down",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using scene = await Scene.start();
    const of = (name: string) => async () => (await scene.samples()).get(name) ?? 0;

    await t.step("bytes of each stream are those that kubectl sent and received", async () => {
      const args = ["exec", "-i", "shell", "--", "sh", "-c", "tee /dev/stderr"];
      for (const client of CLIENTS) {
        const { code, bytes } = await scene.run("alice", args, { client, stdin: new Uint8Array(BYTES) });
        assert.deepEqual([code, bytes], [0, BYTES]);
      }
      const protocols = ["WebSocket v5.channel.k8s.io", "SPDY/3.1 v4.channel.k8s.io"];
      await scene.metric(
        'postern_sessions_ended_total{kind="exec",reason="command_ended"}',
        (value) => value === CLIENTS.length,
      );
      const samples = await scene.samples();
      for (const stream of ['stdin",direction="in', 'stdout",direction="out', 'stderr",direction="out']) {
        assert.equal(
          samples.get(`postern_stream_bytes_total{stream="${stream}"}`),
          CLIENTS.length * BYTES,
          stream,
        );
      }
      assert.deepEqual(
        protocols.map((protocol) =>
          samples.get(`postern_sessions_opened_total{kind="exec",protocol="${protocol}"}`)
        ),
        [1, 2],
      );
      await scene.metric("postern_recordings_open", (value) => value === 0);
      await scene.metric("postern_recording_lag_seconds", (value) => value === 0);
    });

    await t.step("the time of each phase adds up to that of the whole", async () => {
      const samples = await scene.samples();
      const seconds = (phase: string) =>
        samples.get(`postern_session_open_seconds_sum{phase="${phase}"}`) ?? NaN;
      const whole = samples.get('postern_session_setup_seconds_sum{kind="exec"}') ?? NaN;
      const [authenticate, resolve, authorize] = ["authenticate", "resolve", "authorize"].map(seconds);
      const [decide, record, dial] = ["decide", "record", "dial"].map(seconds);
      const all = [authenticate, resolve, authorize, decide, record, dial].map((one) => one ?? NaN);
      const sum = all.reduce((total, one) => total + one, 0);
      // Nothing of weight lies between them; and those that run at the same time are no longer together than the whole and once more.
      assert.ok(sum > whole / 2 && sum < whole * 2, `${all} come to ${sum} of ${whole} s`);
      assert.ok(all.every((one) => one > 0 && one < whole), String(all));
    });

    await t.step("who is known already is told by memory", async () => {
      const count = (kind: string) => of(`postern_cache_${kind}_total{cache="token_reviews"}`)();
      // What is remembered is forgotten after a while: twice in a row, that is, as soon as the machine is fast enough for it.
      await eventually("the second of two is known", async () => {
        const known = ["exec", "shell", "--", "true"];
        assert.equal((await scene.run("alice", known, { client: "spdy" })).code, 0);
        const [hits, misses] = [await count("hits"), await count("misses")];
        assert.equal((await scene.run("alice", known, { client: "spdy" })).code, 0);
        return (await count("hits") > hits && await count("misses") === misses) || undefined;
      }, SOON);
    });

    await t.step("who is refused is counted by why", async () => {
      assert.equal((await scene.run("bob", ["exec", "shell", "--", "true"], { client: "spdy" })).code, 1);
      assert.equal(
        (await scene.run("alice", ["exec", "privileged", "--", "true"], { client: "spdy" })).code,
        1,
      );
      const labels = 'postern_sessions_refused_total{kind="exec",reason="Forbidden"';
      await scene.metric(`${labels},rule="authorization"}`, (value) => value === 1);
      await scene.metric(`${labels},rule="privileged-container"}`, (value) => value === 1);
    });

    await t.step("a client that does not read is where time is waited for", async () => {
      const { cluster } = scene.gateway;
      const args = ["exec", "shell", "--", "sh", "-c", "head -c 60000000 /dev/zero"];
      const waited = of('postern_backpressure_seconds_total{party="client"}');
      const stdout = of('postern_stream_bytes_total{stream="stdout",direction="out"}');
      // On a busy machine it may be the pod that is slow, and nothing is held up: it is tried again then.
      await eventually("it is counted that a client held a session up", async () => {
        const [secondsBefore, bytesBefore] = [await waited(), await stdout()];
        const reading = Kubectl.start({
          ...{ cluster, endpoint: scene.gateway, user: "alice", args, client: "spdy", onStdout: () => {} },
          ...SOON,
        });
        await eventually("bytes come", async () => await stdout() > bytesBefore || undefined, SOON);
        reading.kill("SIGSTOP");
        await sleep(3_000);
        reading.kill("SIGCONT");
        assert.equal((await reading.outcome).code, 0);
        assert.equal(await stdout(), bytesBefore + 60_000_000);
        return await waited() - secondsBefore > 1 || undefined;
      }, SOON);
    });

    await t.step("a collector that does not answer lags behind, and then does not", async () => {
      const { promise, resolve } = Promise.withResolvers<Response>();
      scene.collector.answer = () => promise;
      assert.equal((await scene.run("alice", ["exec", "shell", "--", "true"])).code, 0);
      await scene.metric('postern_audit_lag_seconds{sink="otlp-1"}', (value) => value > 0.5);
      assert.equal(await of('postern_audit_lag_seconds{sink="file-0"}')(), 0);
      scene.collector.answer = () => new Response("{}");
      resolve(new Response("{}"));
      await scene.metric('postern_audit_lag_seconds{sink="otlp-1"}', (value) => value === 0);
    });

    await t.step("it names nobody, and nobody makes it longer", async () => {
      const { body } = await scene.ask("/metrics");
      assert.deepEqual(lint(body), []);
      assert.doesNotMatch(body, /alice|bob|shell|"default"|privileged"|node1|127\.0\.0\.1/);
      const before = parseText(body).samples.size;
      for (let index = 0; index < 20; index++) {
        const made = crypto.randomUUID();
        const refused = await scene.run("bob", ["-n", made, "exec", made, "--", made], { client: "spdy" });
        assert.equal(refused.code, 1);
      }
      assert.ok((await scene.samples()).size <= before);
    });

    await t.step("a kubelet that is gone is an upstream's error, and no reason to be unready", async () => {
      scene.kubelet.isOpen = false;
      scene.kubelet.cut();
      assert.equal((await scene.run("alice", ["exec", "shell", "--", "true"], { client: "spdy" })).code, 1);
      await scene.metric(
        'postern_upstream_errors_total{upstream="session",kind="dial"}',
        (value) => value >= 1,
      );
      assert.equal((await scene.ask("/readyz")).status, 200);
      scene.kubelet.isOpen = true;
    });

    await t.step("the log tells of it in an object, by the audit ID that the event has", async () => {
      const objects = (text: string) => text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
      const events = objects(await Deno.readTextFile(join(scene.disk.folder, "audit.log")));
      const ids = events.flatMap(({ responseStatus, auditID }) =>
        responseStatus?.code >= 500 ? [auditID] : []
      );
      assert.ok(ids.length > 0);
      await eventually("the log has it", async () => {
        const lines = objects(await scene.gateway.log());
        for (const line of lines) {
          assert.ok(["time", "level", "message"].every((field) => typeof line[field] === "string"));
        }
        return ids.every((id) => lines.some(({ auditId }) => auditId === id)) || undefined;
      }, SOON);
    });

    await t.step("an API server that is gone is named, and that it is back", async () => {
      scene.apiServer.isOpen = false;
      scene.apiServer.cut();
      await scene.readiness(503, /^apiServer: the API server cannot be reached\n$/);
      scene.apiServer.isOpen = true;
      await scene.readiness(200, /^ok\n/);
      const errors = 'postern_upstream_errors_total{upstream="apiserver",kind="unreachable"}';
      assert.ok(await of(errors)() > 0);
    });

    await t.step("a sink that takes nothing is named", async () => {
      await scene.disk.fill(join(scene.disk.folder, "ballast"));
      // The last block of the audit file may have room for an event or two.
      await eventually("a session is refused", async () => {
        const { code } = await scene.run("alice", ["exec", "shell", "--", "true"], { client: "spdy" });
        return code === 1 || undefined;
      }, SOON);
      await scene.readiness(503, /^audit: file .*No space left/m);
      assert.ok(await of('postern_audit_events_failed_total{sink="file-0"}')() > 0);
      assert.equal(await of('postern_audit_sink_healthy{sink="file-0"}')(), 0);
    });
  },
});

Deno.test({
  name: "the admin port names an index that takes nothing, and the gateway stays ready",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using parts = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-index-" });
    parts.defer(() => Deno.remove(folder, { recursive: true }));
    const [urlFile, port] = [join(folder, "url"), freePort()];
    // Nobody listens there.
    await Deno.writeTextFile(urlFile, `postgresql://postern:sesame@127.0.0.1:${freePort()}/postgres`);
    const gateway = parts.use(
      await Gateway.start({
        index: { type: "postgresql", postgresql: { urlFile } },
        admin: { listener: "on", port },
      }),
    );
    const { cluster } = gateway;
    const run = { cluster, endpoint: gateway, user: "alice", args: ["exec", "shell", "--", "true"] } as const;
    assert.equal((await kubectl(run)).code, 0, "sessions go on");
    await eventually("it is named", async () => {
      using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { client });
      const body = await answer.text();
      assert.equal(answer.status, 200);
      return body === "ok\nindex: the index of sessions does not take events; sessions go on without it\n" ||
        undefined;
    }, SOON);
  },
});

Deno.test({
  name: "traceparent goes on to the real API server, where sessions are opened by it",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using parts = new AsyncDisposableStack();
    const cluster = await runningCluster();
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-trace-" });
    parts.defer(() => Deno.remove(folder, { recursive: true }));
    const listener = parts.use(await Listener.start(cluster));
    const receiver = parts.use(new TestReceiver());
    const gateway = parts.use(
      await Gateway.start({
        kubernetes: { kubeconfig: await kubeconfigAt(cluster, listener.port, folder) },
        upstream: { mode: "apiserver" },
        env: {
          OTEL_DENO: "true",
          OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.port}`,
          OTEL_BSP_SCHEDULE_DELAY: "100",
        },
      }),
    );
    const args = ["exec", "shell", "--", "echo", "traced"];
    assert.equal((await kubectl({ cluster, endpoint: gateway, user: "alice", args, ...SOON })).code, 0);
    interface Sent {
      traceId: string;
      spanId: string;
      parentSpanId: string;
      name: string;
    }
    const spans = (): Sent[] =>
      receiver.posted.flatMap(({ text }) =>
        (JSON.parse(text).resourceSpans ?? []).flatMap((resource: { scopeSpans: { spans: Sent[] }[] }) =>
          resource.scopeSpans.flatMap(({ spans }) => spans)
        )
      );
    const root = await eventually(
      "the session's span arrives",
      () => spans().find(({ name }) => name === "exec"),
      SOON,
    );
    const phases = spans().filter(({ parentSpanId }) => parentSpanId === root.spanId);
    assert.deepEqual(
      phases.map(({ name }) => name).sort(),
      ["authenticate", "authorize", "decide", "dial", "record", "resolve"],
    );
    const dial = phases.find(({ name }) => name === "dial");
    const [opened] = listener.requests().filter((head) => head.includes("/pods/shell/exec?"));
    assert.match(opened ?? "", new RegExp(`^traceparent: 00-${root.traceId}-${dial?.spanId}-01\r?$`, "mi"));
    const reviews = listener.requests().filter((head) => /^POST \S+tokenreviews /.test(head));
    assert.ok(reviews.some((head) => head.includes(`00-${root.traceId}-`)));
  },
});

/** Stands between the gateway and the API server with a certificate of the cluster's, and keeps what is asked. */
class Listener implements AsyncDisposable {
  readonly #listener: Deno.TlsListener;
  readonly #ca: string;
  readonly #server: URL;
  readonly #heard: string[] = [];
  readonly #open = new Set<Deno.TlsConn>();
  readonly #serving: Promise<void>;

  private constructor(listener: Deno.TlsListener, ca: string, server: URL) {
    this.#listener = listener;
    this.#ca = ca;
    this.#server = server;
    this.#serving = this.#serve();
  }

  static async start(cluster: Cluster): Promise<Listener> {
    const { pki } = layout(cluster.directory);
    const read = (name: string) => Deno.readTextFile(join(pki, name));
    const [certificate, privateKey] = [await read("ca.crt"), await read("ca.key")];
    const authority = await parseAuthority({ certificate, key: privateKey });
    const leaf = await issue(authority, { commonName: "listener", ipAddresses: ["127.0.0.1"] });
    const listener = Deno.listenTls({
      ...{ hostname: "127.0.0.1", port: 0, cert: leaf.certificate, key: leaf.key },
    });
    return new Listener(listener, certificate, new URL(cluster.apiServerUrl));
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** The heads of what was asked so far, one each. */
  requests(): string[] {
    return this.#heard.join("\r\n\r\n").split("\r\n\r\n").flatMap((part) => {
      const start = part.search(/(GET|POST) \/\S* HTTP\/1\.1/);
      return start < 0 ? [] : [part.slice(start)];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) close(connection);
    await this.#serving;
  }

  async #serve(): Promise<void> {
    const pipes: Promise<void>[] = [];
    try {
      for await (const client of this.#listener) pipes.push(this.#join(client));
    } catch { /* closed */ }
    await Promise.all(pipes);
  }

  async #join(client: Deno.TlsConn): Promise<void> {
    this.#open.add(client);
    const { hostname, port } = this.#server;
    try {
      const server = await Deno.connectTls({ hostname, port: Number(port), caCerts: [this.#ca] });
      this.#open.add(server);
      const index = this.#heard.push("") - 1;
      const decoder = new TextDecoder("latin1");
      const heard = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          this.#heard[index] += decoder.decode(chunk);
          controller.enqueue(chunk);
        },
      });
      await Promise.allSettled([
        client.readable.pipeThrough(heard).pipeTo(server.writable),
        server.readable.pipeTo(client.writable),
      ]);
      close(server);
    } finally {
      close(client);
    }
  }
}

function close(closable: { close(): void }): void {
  try {
    closable.close();
  } catch { /* it was closed */ }
}

/** The gateway's kubeconfig, by another way to the API server. @returns its path */
async function kubeconfigAt({ paths, apiServerUrl }: Cluster, port: number, folder: string): Promise<string> {
  const path = join(folder, "gateway-kubeconfig");
  const text = await Deno.readTextFile(paths.gatewayKubeconfig);
  await Deno.writeTextFile(path, text.replaceAll(apiServerUrl, `https://127.0.0.1:${port}`), { mode: 0o600 });
  return path;
}
