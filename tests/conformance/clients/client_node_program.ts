/** Uses `@kubernetes/client-node` as its documentation does: one request a line (JSON), answered by one line each. */

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { PassThrough, Readable } from "node:stream";
import { Attach, Exec, KubeConfig, PortForward, type V1Status } from "@kubernetes/client-node";
import { z } from "zod";
import { answerOf } from "./client.ts";

const Asked = z.object({
  id: z.number(),
  verb: z.enum(["exec", "attach", "forward"]),
  server: z.string(),
  caFile: z.string(),
  token: z.string(),
  pod: z.string(),
  container: z.string().default(""),
  argv: z.array(z.string()).default([]),
  /** Base64. */
  stdin: z.string().optional(),
  tty: z.boolean().default(false),
  line: z.string().optional(),
  until: z.string().default(""),
  ports: z.array(z.number()).default([]),
  /** Base64. */
  bytes: z.string().default(""),
});

type Asked = z.infer<typeof Asked>;

interface Answered {
  outputs: Record<string, string>;
}

/** The part of a WebSocket that is needed here. */
interface Socket {
  close(): void;
  addEventListener(type: "close", listener: () => void): void;
}

function configOf({ server, caFile, token }: Asked): KubeConfig {
  const config = new KubeConfig();
  const caData = readFileSync(caFile).toString("base64");
  const cluster = { name: "cluster", server, caData, skipTLSVerify: false };
  config.loadFromClusterAndUser(cluster, { name: "user", token });
  return config;
}

/** A stream that keeps what is written to it. */
class Kept extends PassThrough {
  readonly #chunks: Buffer[] = [];

  constructor() {
    super();
    this.on("data", (chunk: Buffer) => this.#chunks.push(chunk));
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get base64(): string {
    return this.bytes.toString("base64");
  }
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.addEventListener("close", () => resolve()));
}

async function exec(asked: Asked): Promise<Answered> {
  const { pod, container, argv, stdin, tty } = asked;
  const [stdout, stderr] = [new Kept(), new Kept()];
  let status: V1Status | undefined;
  const socket = await new Exec(configOf(asked)).exec(
    "default",
    pod,
    container,
    argv,
    stdout,
    tty ? null : stderr,
    stdin === undefined ? null : Readable.from([Buffer.from(stdin, "base64")]),
    tty,
    (given) => status = given,
  );
  await closed(socket);
  const said = Buffer.from(JSON.stringify(status ?? null)).toString("base64");
  return { outputs: { stdout: stdout.base64, stderr: stderr.base64, status: said } };
}

async function attach(asked: Asked): Promise<Answered> {
  const { pod, container, line, until, tty } = asked;
  const stdout = new Kept();
  const stdin = line === undefined ? null : new PassThrough();
  const socket = await new Attach(configOf(asked)).attach(
    "default",
    pod,
    container,
    stdout,
    null,
    stdin,
    tty,
  );
  stdin?.write(`${line}\n`);
  while (!stdout.bytes.toString().includes(until)) await pause();
  socket.close();
  await closed(socket);
  return { outputs: { answer: Buffer.from(answerOf(stdout.bytes.toString(), until)).toString("base64") } };
}

async function forward(asked: Asked): Promise<Answered> {
  const [output, errors, input] = [new Kept(), new Kept(), new PassThrough()];
  const { pod, ports: [port = 0], bytes } = asked;
  const forwarding = new PortForward(configOf(asked));
  const socket = await forwarding.portForward("default", pod, [port], output, errors, input);
  if (typeof socket === "function") throw new Error("no socket, but a way to one");
  const sent = Buffer.from(bytes, "base64");
  input.write(sent);
  let isOver = false;
  const ended = closed(socket).then(() => isOver = true);
  while (output.bytes.length < sent.length && !isOver) await pause();
  socket.close();
  await ended;
  return { outputs: { [`port ${port}`]: output.base64, errors: errors.base64 } };
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

const VERBS = { exec, attach, forward };

async function answer(line: string): Promise<void> {
  const asked = Asked.parse(JSON.parse(line));
  let reply: Answered | { error: string };
  try {
    reply = await VERBS[asked.verb](asked);
  } catch (failure) {
    // The library rejects with an event, not with an error.
    const message = z.object({ message: z.string() }).safeParse(failure);
    reply = { error: message.success ? message.data.message : String(failure) };
  }
  process.stdout.write(`${JSON.stringify({ id: asked.id, ...reply })}\n`);
}

for await (const line of createInterface({ input: process.stdin })) answer(line);
process.exit(0);
