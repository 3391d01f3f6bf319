/** What lies in S3 when a gateway ended that recorded there, by itself or not. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { chainInstance } from "../../recording/chain/chain_writer.ts";
import { RecordingReader } from "../../recording/format/recording_reader.ts";
import { S3Store } from "../../recording/sinks/s3.ts";
import { Verifier } from "../../recording/format/signer.ts";
import { RecordingVerifier } from "../../recording/format/verify.ts";
import { Gateway, type GatewayOptions } from "./support/gateway.ts";
import { Kubectl, kubectl } from "./support/kubectl.ts";
import { endOf } from "./support/recordings.ts";
import { S3Server } from "./support/s3_server.ts";
import { eventually } from "./support/wait.ts";

interface Bench extends AsyncDisposable {
  store: S3Store;
  options: GatewayOptions;
}

/** A server with a bucket, and a gateway's configuration that names it. */
async function bench(): Promise<Bench> {
  const folder = await Deno.makeTempDir();
  const server = await S3Server.start();
  const key = await server.requireSignatures();
  const credentials = { accessKeyIdFile: join(folder, "id"), secretAccessKeyFile: join(folder, "secret") };
  await Deno.writeTextFile(credentials.accessKeyIdFile, key.id);
  await Deno.writeTextFile(credentials.secretAccessKeyFile, key.secret);
  await server.makeBucket("evidence", key);
  const store = await S3Store.open({
    endpoint: server.url,
    region: "us-east-1",
    bucket: "evidence",
    prefix: "prod/",
    credentials,
    instance: "test",
    onTrouble: (message, cause) => assert.fail(`${message}: ${cause}`),
  });
  const sink = {
    type: "s3",
    endpoint: server.url,
    region: "us-east-1",
    bucket: "evidence",
    prefix: "prod/",
    ...credentials,
  } as const;
  return {
    store,
    options: { recording: { sink, stdin: "content", writeTimeoutSeconds: 2, instance: "gateway" } },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** What a recording holds of stdout, and what is wrong with it. */
async function read(gateway: Gateway, store: S3Store, path: string) {
  const verifier = new RecordingVerifier(new Verifier([await Deno.readTextFile(gateway.recordingsKey)]));
  const reader = new RecordingReader();
  let stdout = "";
  for await (const chunk of await store.open(path)) {
    verifier.push(chunk);
    for (const event of reader.push(chunk)) {
      if (event.type !== "data" || event.name !== "stdout") continue;
      stdout += new TextDecoder().decode(event.bytes);
    }
  }
  return { stdout, fault: verifier.end().fault };
}

live("a session's recording is whole in S3 once the session is over", async () => {
  await using at = await bench();
  await using gateway = await Gateway.start(at.options);
  await kubectl({
    cluster: gateway.cluster,
    endpoint: gateway,
    args: ["exec", "shell", "--", "echo", "in-s3"],
  });
  const end = await eventually("the session's last event", () => endOf(gateway, "in-s3"));
  const path = end.annotations["postern.dev/recording"] ?? "";
  const { stdout, fault } = await read(gateway, at.store, path);
  assert.deepEqual([stdout, fault], ["in-s3\n", undefined]);
  await eventually("its pieces are one", async () => {
    const left = await Array.fromAsync(at.store.unjoined());
    return left.every((each) => each.path !== path) || undefined;
  });
  await gateway.stop();
  assert.deepEqual(
    await Array.fromAsync(at.store.unjoined()),
    [],
    "and its chain, when the gateway has ended",
  );
  const paths = (await Array.fromAsync(at.store.list(""))).map((each) => each.path);
  assert.equal(paths.filter((each) => chainInstance(each) === "gateway").length, 1);
});

live(
  "what a gateway left in S3 that was killed is assembled by its next start, which tells the end",
  async () => {
    await using at = await bench();
    await using gateway = await Gateway.start(at.options);
    const stop = `/tmp/stop-${crypto.randomUUID()}`;
    const busy = `until [ -e ${stop} ]; do echo busy; sleep 0.1; done`;
    const session = Kubectl.start({
      ...{
        cluster: gateway.cluster,
        endpoint: gateway,
        args: ["exec", "shell", "--", "sh", "-c", busy, "s3-lost"],
      },
      deadlineMs: 60_000,
    });
    await session.shows("busy\nbusy\n", 30_000);
    gateway.child?.kill("SIGKILL");
    await session.outcome;
    assert.equal(
      (await Array.fromAsync(at.store.unjoined())).length,
      2,
      "a recording and a chain, in pieces",
    );

    await using next = await Gateway.start(at.options);
    await kubectl({ cluster: next.cluster, endpoint: next, args: ["exec", "shell", "--", "touch", stop] });
    const end = await eventually("the end is written", () => endOf(next, "s3-lost"), { deadlineMs: 30_000 });
    const path = end.annotations["postern.dev/recording"] ?? "";
    const { stdout, fault } = await read(gateway, at.store, path);
    assert.match(stdout, /^(busy\n)+$/);
    assert.equal(fault?.code, "tail_missing");
    await next.stop();
    assert.deepEqual(await Array.fromAsync(at.store.unjoined()), []);
  },
);

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
