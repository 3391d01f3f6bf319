/** A real S3 server: PyPI's moto, in an environment of its own; s3_requirements.txt pins all of it by hash. It holds everything in memory. */

import { AwsClient } from "aws4fetch";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { removeIfThere } from "../../cluster/files.ts";
import { layout } from "../../cluster/layout.ts";
import { isInstalled, run } from "../../cluster/processes.ts";

/** Written with `pip-compile --generate-hashes` of pip-tools from `moto[s3]`, `flask` and `flask-cors`. */
const REQUIREMENTS = fileURLToPath(new URL("s3_requirements.txt", import.meta.url));

/** Wheels alone: nothing of a package runs while it is installed. */
const PIP_INSTALL = [
  "-m",
  "pip",
  "install",
  "--require-hashes",
  "--only-binary=:all:",
  "--no-deps",
  "--quiet",
];

/** An access key as IAM gives it. */
export interface AccessKey {
  id: string;
  secret: string;
}

/** How a server is started. */
export interface S3ServerOptions {
  /** Where its certificate and key are; absent: plain HTTP. */
  tls?: { certFile: string; keyFile: string };
}

export class S3Server implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #output: Promise<void>;

  private constructor(process: Deno.ChildProcess, output: Promise<void>, readonly url: string) {
    this.#process = process;
    this.#output = output;
  }

  /** Some 15 s the first time, then 2. */
  static async start({ tls }: S3ServerOptions = {}): Promise<S3Server> {
    const python = await install();
    const arguments_ = tls === undefined ? [] : ["--ssl-cert", tls.certFile, "--ssl-key", tls.keyFile];
    const process = new Deno.Command(python, {
      args: ["-m", "moto.server", "-H", "127.0.0.1", "-p", "0", ...arguments_],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const output = read(process.stderr, resolve).then(() =>
      reject(new Error("the S3 server does not start"))
    );
    promise.catch(() => {});
    return new S3Server(process, output, await promise);
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** @returns a key that may do everything with S3; from now on every request's signature is looked at */
  async requireSignatures(http?: Deno.HttpClient): Promise<AccessKey> {
    const iam = new AwsClient({
      accessKeyId: "none",
      secretAccessKey: "none",
      service: "iam",
      region: "us-east-1",
    });
    const call = async (parameters: Record<string, string>) => {
      const body = new URLSearchParams({ ...parameters, UserName: "postern", Version: "2010-05-08" })
        .toString();
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const request = await iam.sign(this.url, { method: "POST", body, headers });
      return await textOf(await fetch(request, { ...(http && { client: http }) }));
    };
    await call({ Action: "CreateUser" });
    const policy = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "s3:*", Resource: "*" }] };
    await call({ Action: "PutUserPolicy", PolicyName: "s3", PolicyDocument: JSON.stringify(policy) });
    const key = await call({ Action: "CreateAccessKey" });
    const find = (name: string) => new RegExp(`<${name}>([^<]+)<`).exec(key)?.[1] ?? "";
    await textOf(
      await fetch(`${this.url}/moto-api/reset-auth`, {
        method: "POST",
        body: "0",
        ...(http && { client: http }),
      }),
    );
    return { id: find("AccessKeyId"), secret: find("SecretAccessKey") };
  }

  /** @param headers such as one that lets its objects be locked */
  async makeBucket(name: string, key: AccessKey, headers: Record<string, string> = {}): Promise<void> {
    const secret = { accessKeyId: key.id, secretAccessKey: key.secret };
    const aws = new AwsClient({ ...secret, service: "s3", region: "us-east-1" });
    await textOf(await fetch(await aws.sign(`${this.url}/${name}`, { method: "PUT", headers })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
    await this.#output.catch(() => {});
  }
}

async function textOf(response: Response): Promise<string> {
  const text = await response.text();
  if (!response.ok) throw new Error(`the S3 server: ${response.status} ${text}`);
  return text;
}

async function read(output: ReadableStream<Uint8Array>, onUrl: (url: string) => void): Promise<void> {
  let text = "";
  for await (const part of output.pipeThrough(new TextDecoderStream())) {
    text = (text + part).slice(-4096);
    const [url] = /https?:\/\/127\.0\.0\.1:\d+/.exec(text) ?? [];
    if (url !== undefined) onUrl(url);
  }
}

/** @returns the path of a python that has moto */
async function install(): Promise<string> {
  const root = join(layout().bin, "moto");
  const python = join(root, "bin", "python");
  const stamp = join(root, "requirements.sha256");
  const wanted = createHash("sha256").update(await Deno.readFile(REQUIREMENTS)).digest("hex");
  const installed = await Deno.readTextFile(stamp).catch(() => "");
  if (installed === wanted && await isInstalled(python)) return python;

  await removeIfThere(root);
  await run(["python3", "-m", "venv", root]);
  await run([python, ...PIP_INSTALL, "--requirement", REQUIREMENTS]);
  await Deno.writeTextFile(stamp, wanted);
  return python;
}
