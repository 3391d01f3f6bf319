/** A gateway that records to a real S3 server, which looks at every signature. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { AwsClient } from "aws4fetch";
import { RecordingReader } from "../../recording/format/recording_reader.ts";
import { Gateway } from "./support/gateway.ts";
import { kubectl } from "./support/kubectl.ts";
import { endOf } from "./support/recordings.ts";
import { S3Server } from "./support/s3_server.ts";
import { eventually } from "./support/wait.ts";

const BUCKET = "evidence";

live("sessions are objects of a bucket, whole when they are over", async () => {
  await using scene = await Scene.open();
  const { gateway } = scene;
  const marker = crypto.randomUUID();
  const hash = createHash("sha256");
  const { code } = await kubectl({
    ...{ cluster: gateway.cluster, endpoint: gateway },
    args: ["exec", "shell", "--", "sh", "-c", "head -c 20000000 /dev/urandom", marker],
    onStdout: (chunk) => hash.update(chunk),
  });
  assert.equal(code, 0);
  const end = await eventually("the end is written down", () => endOf(gateway, marker));
  const path = end.annotations["postern.dev/recording"]!;
  const object = await eventually("the recording is one object", () => scene.object(path), {
    deadlineMs: 30_000,
  });
  const kept = createHash("sha256");
  for (const event of new RecordingReader().push(object)) {
    if (event.type === "data" && event.name === "stdout") kept.update(event.bytes);
  }
  assert.equal(kept.digest("hex"), hash.digest("hex"));
});

live("an S3 server that goes down ends a session that must be recorded, and opens none", async () => {
  await using scene = await Scene.open();
  const { gateway } = scene;
  const marker = crypto.randomUUID();
  const session = kubectl({
    ...{ cluster: gateway.cluster, endpoint: gateway },
    args: ["exec", "shell", "--", "sh", "-c", "for i in $(seq 600); do echo busy; sleep 0.1; done", marker],
    onStdout: () => scene.hasSpoken.resolve(),
    deadlineMs: 60_000,
  });
  await scene.hasSpoken.promise;
  await scene.stopServer();
  const { code, stderr } = await session;
  assert.notEqual(code, 0);
  assert.match(text(stderr), /recording cannot be written/);
  const end = await eventually("the end is written down", () => endOf(gateway, marker));
  assert.equal(end.annotations["postern.dev/end-reason"], "audit_failure");
  const refused = await kubectl({
    ...{ cluster: gateway.cluster, endpoint: gateway, client: "spdy" },
    args: ["exec", "shell", "--", "echo", "hello"],
  });
  assert.deepEqual([refused.code, text(refused.stdout)], [1, ""]);
  assert.match(text(refused.stderr), /the session cannot be recorded/);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** An S3 server, and a gateway that records there. */
class Scene implements AsyncDisposable {
  readonly hasSpoken = Promise.withResolvers<void>();
  #isStopped = false;

  private constructor(
    readonly gateway: Gateway,
    readonly server: S3Server,
    readonly aws: AwsClient,
    readonly folder: string,
  ) {}

  static async open(): Promise<Scene> {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-s3-" });
    const server = await S3Server.start();
    const { id: accessKeyId, secret: secretAccessKey } = await server.requireSignatures();
    const files = { accessKeyIdFile: join(folder, "id"), secretAccessKeyFile: join(folder, "secret") };
    await Deno.writeTextFile(files.accessKeyIdFile, accessKeyId);
    await Deno.writeTextFile(files.secretAccessKeyFile, secretAccessKey);
    const region = "us-east-1";
    const aws = new AwsClient({ accessKeyId, secretAccessKey, service: "s3", region });
    const made = await fetch(await aws.sign(`${server.url}/${BUCKET}`, { method: "PUT" }));
    assert.equal(made.status, 200, await made.text());
    const sink = {
      type: "s3" as const,
      endpoint: server.url,
      region,
      bucket: BUCKET,
      prefix: "prod/",
      ...files,
    };
    const gateway = await Gateway.start({ recording: { sink, writeTimeoutSeconds: 5 } });
    return new Scene(gateway, server, aws, folder);
  }

  /** An object's bytes, once it is there. */
  async object(path: string): Promise<Uint8Array | undefined> {
    const response = await fetch(await this.aws.sign(`${this.server.url}/${BUCKET}/prod/${path}`));
    const bytes = await response.bytes();
    return response.ok ? bytes : undefined;
  }

  async stopServer(): Promise<void> {
    if (!this.#isStopped) await this.server[Symbol.asyncDispose]();
    this.#isStopped = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway[Symbol.asyncDispose]();
    await this.stopServer();
    await Deno.remove(this.folder, { recursive: true });
  }
}
