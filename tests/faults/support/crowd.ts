import { z } from "zod";
import type { Cluster } from "../../e2e/support/cluster.ts";
import { eventually, within } from "../../e2e/support/wait.ts";
import { CONTAINER, ECHO_PORT } from "./pod.ts";

/** One session of a crowd that has ended, as the program that opened it by client-go was told. */
export interface Departed {
  kind: "exec" | "attach" | "portforward";
  transport: "spdy" | "websocket";
  tty: boolean;
  /** What client-go said; empty where the session ended as if all were well. */
  error: string;
  /** Exit code of the command; -1 where there is none. */
  code: number;
  /** Unix time in milliseconds. */
  endedAtMs: number;
}

const Answer = z.object({
  alive: z.number().optional(),
  ended: z.array(z.object({
    kind: z.enum(["exec", "attach", "portforward"]),
    transport: z.enum(["spdy", "websocket"]),
    tty: z.boolean(),
    error: z.string(),
    code: z.number(),
    endedAtMs: z.number(),
  })).optional(),
});

/** How long an answer of the program may take. */
const ANSWER_MS = 10_000;

/** Many live sessions of every kind, held by one program that uses client-go: cheap, and as clients really are. */
export class Crowd implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #answers: ReadableStreamDefaultReader<string>;
  /** One question at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(child: Deno.ChildProcess, readonly size: number) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#answers = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lines()).getReader();
  }

  /** Opens sessions by this kubeconfig, and waits until all of them have been heard of. */
  static async gather({ cluster, kubeconfig, pod, size, deadlineMs = 60_000 + size * 300 }: {
    cluster: Cluster;
    kubeconfig: string;
    pod: string;
    size: number;
    deadlineMs?: number;
  }): Promise<Crowd> {
    const child = new Deno.Command(cluster.paths.goClient, {
      args: [
        "crowd",
        ...["--kubeconfig", kubeconfig, "--context", "alice", "--pod", pod, "--container", CONTAINER],
        ...["--ports", String(ECHO_PORT), "--sessions", String(size)],
      ],
      env: { GOMAXPROCS: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const crowd = new Crowd(child, size);
    try {
      await eventually("every session is open", async () => {
        const [first] = await crowd.departed();
        if (first !== undefined) throw new Error(`a ${first.kind} ended too early: ${first.error}`);
        return await crowd.alive() === size || undefined;
      }, { deadlineMs, everyMs: 250 });
    } catch (thrown) {
      await crowd[Symbol.asyncDispose]();
      throw thrown;
    }
    return crowd;
  }

  /** How many have heard something in the last three seconds. */
  async alive(): Promise<number> {
    return (await this.#ask("alive")).alive ?? 0;
  }

  /** The sessions that have ended so far. */
  async departed(): Promise<Departed[]> {
    return (await this.#ask("ended")).ended ?? [];
  }

  /** Waits until all have ended by themselves. */
  async gone(deadlineMs: number): Promise<Departed[]> {
    return await eventually(`all ${this.size} sessions have ended for their clients`, async () => {
      const departed = await this.departed();
      return departed.length === this.size ? departed : undefined;
    }, { deadlineMs, everyMs: 100 });
  }

  /** Waits until all are heard of again, and none has ended. */
  async allAlive(deadlineMs: number): Promise<void> {
    await eventually(
      `all ${this.size} sessions are alive`,
      async () => await this.alive() === this.size || undefined,
      { deadlineMs, everyMs: 250 },
    );
  }

  async #ask(question: "alive" | "ended"): Promise<z.infer<typeof Answer>> {
    const asked = this.#turn.then(async () => {
      await this.#writer.write(new TextEncoder().encode(`${question}\n`));
      const { value, done } = await within(ANSWER_MS, "the crowd answers", this.#answers.read());
      if (done) throw new Error("the crowd has ended");
      return Answer.parse(JSON.parse(value));
    });
    this.#turn = asked.catch(() => {});
    return await asked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#child.status;
    await this.#writer.close().catch(() => {});
    await this.#answers.cancel().catch(() => {});
  }
}

function lines(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(chunk, controller) {
      const whole = (rest + chunk).split("\n");
      rest = whole.pop() ?? "";
      for (const line of whole) controller.enqueue(line);
    },
  });
}
