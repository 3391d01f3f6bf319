import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { issue, makeCa } from "../../tests/support/certificates.ts";
import { TestReceiver, until } from "./test_receiver.ts";
import { WebhookSink, type WebhookSinkOptions } from "./webhook.ts";

/** What a test of a sink works with. */
interface Scene {
  receiver: TestReceiver;
  folder: string;
  /** Options that fit the receiver, and lose no time. */
  options(more?: Partial<WebhookSinkOptions>): WebhookSinkOptions;
  /** What was told to the log, as text. */
  failures: string[];
  start(more?: Partial<WebhookSinkOptions>): WebhookSink;
}

function webhookTest(name: string, body: (scene: Scene) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      await using receiver = new TestReceiver();
      const folder = await Deno.makeTempDir();
      const failures: string[] = [];
      const options = (more: Partial<WebhookSinkOptions> = {}): WebhookSinkOptions => ({
        url: `http://127.0.0.1:${receiver.port}/audit?token=in-query`,
        timeoutSeconds: 30,
        batch: { maxEvents: 100, maxBytes: 1 << 20, maxWaitSeconds: 0 },
        retry: { initialBackoffSeconds: 0.005, maxBackoffSeconds: 0.02 },
        spool: { directory: `${folder}/spool`, maxBytes: 1 << 20 },
        ...more,
      });
      const start = (more: Partial<WebhookSinkOptions> = {}) =>
        new WebhookSink(options(more), (error) => failures.push(String(error)));
      try {
        await body({ receiver, folder, options, failures, start });
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

function events(...auditIds: string[]): Uint8Array {
  return new TextEncoder().encode(auditIds.map((auditID) => `${JSON.stringify({ auditID })}\n`).join(""));
}

/** The auditIDs of the events that were set aside. */
async function setAside(folder: string): Promise<string[]> {
  const directory = `${folder}/spool/rejected`;
  const names = (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name).sort();
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(`${directory}/${name}`)));
  return texts.join("").trimEnd().split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line).auditID
  );
}

webhookTest("WebhookSink posts the API server's own EventList", async ({ receiver, folder, start }) => {
  await Deno.writeTextFile(`${folder}/token`, "secret-token\n");
  await using sink = start({ tokenFile: `${folder}/token` });
  await sink.write(
    new TextEncoder().encode('{"auditID":"a","kind":"Event"}\n{"auditID":"b","kind":"Event"}\n'),
  );
  await sink.flush();
  const [{ text, headers, path } = { text: "", headers: new Headers(), path: "" }] = receiver.posted;
  assert.deepEqual(JSON.parse(text), {
    kind: "EventList",
    apiVersion: "audit.k8s.io/v1",
    metadata: {},
    items: [{ auditID: "a", kind: "Event" }, { auditID: "b", kind: "Event" }],
  });
  assert.deepEqual([path, headers.get("content-type")], ["/audit", "application/json"]);
  assert.equal(headers.get("authorization"), "Bearer secret-token");
});

webhookTest(
  "WebhookSink: what comes together goes together, up to the bound",
  async ({ receiver, start }) => {
    await using sink = start({ batch: { maxEvents: 3, maxBytes: 1 << 20, maxWaitSeconds: 60 } });
    for (const id of ["a", "b", "c", "d"]) await sink.write(events(id));
    await until(() => receiver.posted.length > 0);
    await sink.flush();
    const batches = receiver.posted.map(({ text }) => JSON.parse(text).items.length);
    assert.deepEqual([batches, receiver.auditIds()], [[3, 1], ["a", "b", "c", "d"]]);
  },
);

webhookTest("WebhookSink: a flush does not wait for what may come", async ({ receiver, start }) => {
  await using sink = start({ batch: { maxEvents: 3, maxBytes: 1 << 20, maxWaitSeconds: 60 } });
  await sink.open();
  await sink.flush();
  await sink.write(events("a"));
  await sink.flush();
  assert.deepEqual(receiver.auditIds(), ["a"]);
});

webhookTest("WebhookSink: no session waits for a receiver that is slow or down", async (scene) => {
  const held = Promise.withResolvers<void>();
  scene.receiver.answer = async () => {
    await held.promise;
    return new Response();
  };
  await using sink = scene.start();
  await sink.write(events("a"));
  await sink.write(events("b"));
  assert.deepEqual(scene.receiver.auditIds(), []);
  held.resolve();
  await sink.flush();
  assert.deepEqual(scene.receiver.auditIds(), ["a", "b"]);
});

for (const status of [301, 302, 307, 401, 403, 404, 405, 408, 409, 425, 429, 500, 502, 503, 504]) {
  webhookTest(`WebhookSink asks again after ${status}, for the events are not to blame`, async (scene) => {
    const { receiver, failures } = scene;
    await using elsewhere = new TestReceiver();
    let answers = 0;
    receiver.answer = () => {
      if (++answers > 3) return new Response();
      return new Response(null, { status, headers: { Location: `http://127.0.0.1:${elsewhere.port}/` } });
    };
    await using sink = scene.start();
    await sink.write(events("a", "b"));
    await sink.flush();
    assert.deepEqual(receiver.auditIds(), ["a", "b"]);
    assert.deepEqual(elsewhere.posted, [], "no redirect is followed");
    assert.equal(failures.length, 3);
    assert.match(failures[0] ?? "", new RegExp(`answered ${status}`));
    assert.deepEqual(await setAside(scene.folder), []);
  });
}

for (const status of [400, 406, 411, 413, 415, 422]) {
  webhookTest(
    `WebhookSink sets one event aside that is answered ${status}, and sends all others`,
    async (scene) => {
      const { receiver, folder, failures } = scene;
      receiver.answer = ({ text }) => new Response(null, { status: text.includes("poison") ? status : 200 });
      await using sink = scene.start();
      const good = Array.from({ length: 40 }, (_, number) => `${number}`);
      await sink.write(events(...good.slice(0, 23), "poison", ...good.slice(23)));
      await sink.flush();
      assert.deepEqual(receiver.auditIds(), good);
      assert.deepEqual(await setAside(folder), ["poison"]);
      assert.deepEqual(failures.length, 1);
      assert.match(
        failures[0] ?? "",
        new RegExp(`answered ${status} to an event, which is kept in .*/spool/rejected`),
      );
    },
  );
}

webhookTest("WebhookSink refuses to write when the spool is full: no audit, no session", async (scene) => {
  scene.receiver.answer = () => new Response(null, { status: 503 });
  await using sink = scene.start({ spool: { directory: `${scene.folder}/spool`, maxBytes: 4096 } });
  await assert.rejects(async () => {
    for (;;) await sink.write(events("x".repeat(500)));
  }, /the spool is full/);
  scene.receiver.answer = () => new Response();
  await sink.flush();
  await sink.write(events("there is room again"));
});

webhookTest("WebhookSink gives up a request that takes too long, and asks again", async (scene) => {
  const { receiver, failures } = scene;
  const held = Promise.withResolvers<Response>();
  receiver.answer = () => held.promise;
  await using sink = scene.start({ timeoutSeconds: 0.05 });
  await sink.write(events("a"));
  await until(() => failures.length > 0);
  assert.equal(failures[0], "NoAnswer: no answer within 0.05 s");
  receiver.answer = () => new Response();
  held.resolve(new Response(null, { status: 500 }));
  await sink.flush();
  assert.deepEqual(receiver.auditIds(), ["a"]);
});

webhookTest("WebhookSink reads no more of an endless answer than its bound", async (scene) => {
  let chunks = 0;
  scene.receiver.answer = () =>
    new Response(
      new ReadableStream({
        pull: (controller) => {
          chunks++;
          controller.enqueue(new Uint8Array(16384));
        },
      }),
    );
  await using sink = scene.start();
  await sink.write(events("a"));
  await sink.flush();
  assert.deepEqual(scene.receiver.auditIds(), ["a"]);
  assert.ok(chunks < 2000, `${chunks} chunks were made`);
});

webhookTest("WebhookSink tells neither token nor query, neither by name nor in what fails", async (scene) => {
  const { folder, receiver, failures } = scene;
  await Deno.writeTextFile(`${folder}/token`, "secret-token");
  receiver.answer = () => new Response("secret-token", { status: 401 });
  await using refused = scene.start({ tokenFile: `${folder}/token` });
  await refused.write(events("a"));
  await until(() => failures.length > 0);
  const url = `http://127.0.0.1:${closedPort()}/audit?token=in-query`;
  const directory = `${folder}/other`;
  await using down = scene.start({
    url,
    tokenFile: `${folder}/token`,
    spool: { directory, maxBytes: 1 << 20 },
  });
  await down.write(events("a"));
  await until(() =>
    failures.some((failure) => /no answer: tcp connect error: Connection refused/.test(failure))
  );
  assert.doesNotMatch([refused.name, down.name, ...failures].join(), /secret-token|in-query/);
});

webhookTest("WebhookSink speaks TLS to whom its authority vouches for, and to nobody else", async (scene) => {
  const { folder } = scene;
  const ca = await makeCa();
  await using receiver = new TestReceiver({ tls: await issue(ca) });
  const url = `https://localhost:${receiver.port}/`;
  await Deno.writeTextFile(`${folder}/ca.crt`, ca.cert);
  await Deno.writeTextFile(`${folder}/other.crt`, (await makeCa()).cert);
  {
    await using wrong = scene.start({ url, caFile: `${folder}/other.crt` });
    await wrong.write(events("a"));
    await until(() => scene.failures.some((failure) => /certificate/.test(failure)));
  }
  assert.deepEqual(receiver.posted, []);
  await using right = scene.start({ url, caFile: `${folder}/ca.crt` });
  await right.open();
  await right.flush();
  assert.deepEqual(receiver.auditIds(), ["a"]);
});

webhookTest("WebhookSink without its token does not start, and takes it once it is there", async (scene) => {
  const { folder, receiver } = scene;
  await using sink = scene.start({ tokenFile: `${folder}/token` });
  await assert.rejects(sink.open(), /No such file/, "a start without its token fails");
  await Deno.writeTextFile(`${folder}/token`, "one");
  await sink.open();
  await sink.write(events("a"));
  await sink.flush();
  assert.equal(receiver.posted[0]?.headers.get("authorization"), "Bearer one");
});

webhookTest("WebhookSink that is closed sends nothing more, and the next one does", async (scene) => {
  const { receiver } = scene;
  receiver.answer = () => new Response(null, { status: 503 });
  {
    await using sink = scene.start();
    await sink.write(events("a", "b"));
    sink.close();
    await assert.rejects(sink.write(events("c")), /closed/);
    await sink.flush();
  }
  receiver.answer = () => new Response();
  await using sink = scene.start();
  await sink.open();
  await sink.flush();
  assert.deepEqual(receiver.auditIds(), ["a", "b"]);
});

webhookTest(
  "WebhookSink, killed again and again: whatever was acknowledged arrives, in order",
  async (scene) => {
    const { receiver, folder } = scene;
    let answers = 0;
    // Fails at times before it has taken the events, and at times after.
    receiver.answer = () => new Response(null, { status: ++answers % 3 === 0 ? 503 : 200 });
    const acknowledged: number[] = [];
    for (const killAfter of [1, 40, 150]) {
      const first = (acknowledged.at(-1) ?? -1) + 1000;
      acknowledged.push(...await runUntilKilled(scene.options().url, `${folder}/spool`, first, killAfter));
    }
    await using sink = scene.start();
    await sink.open();
    await sink.flush();
    const received = receiver.auditIds().map(Number);
    const missing = acknowledged.filter((number) => !received.includes(number));
    assert.deepEqual(missing, []);
    const firsts = [...new Set(received)];
    assert.deepEqual(firsts, firsts.toSorted((one, other) => one - other));
    // One that was written when the process died may be there without having been acknowledged.
    assert.ok(firsts.length <= acknowledged.length + 3);
  },
);

/** Where nobody listens. */
function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Starts a process that writes events, kills it without warning, and says which it had acknowledged. */
async function runUntilKilled(
  url: string,
  directory: string,
  first: number,
  killAfter: number,
): Promise<number[]> {
  const script = fileURLToPath(new URL("test_webhook_child.ts", import.meta.url));
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, url, directory, `${first}`],
    stdout: "piped",
  }).spawn();
  let text = "";
  let isKilled = false;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (!isKilled && text.split("\n").length > killAfter) {
      child.kill("SIGKILL");
      isKilled = true;
    }
  }
  return text.split("\n").slice(0, -1).map(Number);
}
