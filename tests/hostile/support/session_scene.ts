import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { AuditEvent } from "../../../audit/event.ts";
import { readResponseHead } from "../../../protocol/http/response_head.ts";
import type { ByteConnection } from "../../../session/byte_connection.ts";
import { PrefixedConnection } from "../../../session/prefixed_connection.ts";
import { StreamConnection } from "../../../session/stream_connection.ts";
import { within } from "../../e2e/support/wait.ts";
import { type MuxStream, SpdyMux } from "../../support/spdy_mux.ts";
import { upgrade, type WebSocketClient } from "../../support/websocket_client.ts";
import { ALICE, HostileScene, type HostileSceneOptions, requestText } from "./hostile_scene.ts";

/** What no wait in a test of sessions takes longer than, in milliseconds. */
export const PATIENCE_MS = 20_000;

/** How much of a flood is sent. `POSTERN_FLOOD_MB` makes it as large as one wants. */
export const FLOOD_BYTES = Math.round(Number(Deno.env.get("POSTERN_FLOOD_MB") ?? "0.25") * 2 ** 20);

/** What a gateway may grow by in a flood, in bytes, whatever its length: buffers, and what waits to be collected. */
export const MAX_GROWTH_BYTES = 96 << 20;

/** What a kubelet does with the connection of a session. */
export type Kubelet = (connection: ByteConnection) => Promise<void>;

/** The streams of a command without a terminal and without stderr, as Go clients open them: 1, 3, 5. */
const STREAMS = ["error", "stdin", "stdout"] as const;

/** Ids of these streams, where a test makes its frames itself. */
export const ID = { error: 1, stdin: 3, stdout: 5, next: 7 } as const;

/** A gateway in a process of its own, hostile sessions through it, and beside them one of somebody who means well. */
export class SessionScene implements AsyncDisposable {
  readonly #kubelets = new Map<string, Kubelet>();
  readonly #parts = new AsyncDisposableStack();
  readonly hostile: HostileScene;
  #good!: SpdyCommand;
  #pods = 0;

  private constructor(hostile: HostileScene) {
    this.hostile = this.#parts.use(hostile);
    hostile.cluster.kubelet = (connection, target) => {
      const [, , , pod = ""] = target.split("/");
      return (this.#kubelets.get(pod) ?? echoing)(connection);
    };
  }

  static async start(options: HostileSceneOptions = {}): Promise<SessionScene> {
    const scene = new SessionScene(await HostileScene.start(options));
    scene.#good = await scene.openSpdy("good");
    scene.#parts.defer(() => scene.#good.mux.close());
    return scene;
  }

  /** A pod of a test's own; by default its kubelet runs `cat`. */
  pod(kubelet: Kubelet = echoing): string {
    const pod = `hostile-${this.#pods++}`;
    this.#kubelets.set(pod, kubelet);
    return pod;
  }

  /** A session by SPDY at its first byte, with what is to be sent right behind the request. */
  async connectSpdy(
    pod: string,
    {
      protocol = "v4.channel.k8s.io",
      action = "exec?command=cat&stdin=1&stdout=1&container=main",
      glued = new Uint8Array(),
    } = {},
  ): Promise<ByteConnection> {
    const { connection: tls } = await this.hostile.connect();
    const connection = new StreamConnection(tls);
    const lines = ["Connection: Upgrade", "Upgrade: SPDY/3.1", `X-Stream-Protocol-Version: ${protocol}`];
    const request = requestText(`POST /api/v1/namespaces/default/pods/${pod}/${action}`, [
      ...ALICE,
      ...lines,
    ]);
    await connection.write(Buffer.concat([Buffer.from(request), glued]));
    let held: Uint8Array = new Uint8Array();
    for (;;) {
      const chunk = await connection.read();
      assert.ok(chunk !== null, "closed without an answer");
      held = Buffer.concat([held, chunk]);
      const head = readResponseHead(held, 65_536);
      if (head === undefined) continue;
      assert.equal(head.status, 101, Buffer.from(held).toString());
      return new PrefixedConnection(held.slice(head.headBytes), connection);
    }
  }

  /** The same with the streams of `cat` open. */
  async openSpdy(pod: string): Promise<SpdyCommand> {
    return await SpdyCommand.open(await this.connectSpdy(pod));
  }

  /** `cat` by WebSocket, after its greeting. */
  async openWebSocket(pod: string, protocol = "v5.channel.k8s.io"): Promise<WebSocketClient> {
    const { connection } = await this.hostile.connect();
    const { answer, client } = await upgrade(connection, {
      path: `/api/v1/namespaces/default/pods/${pod}/exec?command=cat&stdin=1&stdout=1&container=main`,
      host: "gateway",
      headers: ALICE.slice(1).map((
        line,
      ) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
      protocols: [protocol],
      timeoutMs: PATIENCE_MS,
    });
    assert.ok(client !== undefined, answer.body);
    await client.receive();
    return client;
  }

  /** How a pod's session ended, as the audit says it: `reason by: message`. */
  async endOf(pod: string): Promise<string> {
    const isEnd = ({ annotations, objectRef }: AuditEvent) =>
      annotations["postern.dev/event"] === "end" && objectRef?.name === pod;
    const { annotations } = await this.hostile.eventOf(isEnd);
    const said = (name: string) => annotations[`postern.dev/${name}`];
    return `${said("end-reason")} ${said("ended-by")}: ${said("message")}`;
  }

  /** The session of somebody who means well goes on. */
  async goodGoesOn(): Promise<void> {
    await this.#good.echoes(`still here ${this.#pods}`);
  }

  async residentBytes(): Promise<number> {
    return await this.hostile.residentBytes();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }
}

/** A `cat` by SPDY whose streams are open. */
export class SpdyCommand {
  private constructor(
    readonly connection: ByteConnection,
    readonly mux: SpdyMux,
    readonly streams: Readonly<Record<typeof STREAMS[number], MuxStream>>,
  ) {}

  static async open(connection: ByteConnection): Promise<SpdyCommand> {
    const mux = new SpdyMux(connection);
    const [error, stdin, stdout] = STREAMS.map((streamtype) => mux.open({ streamtype }));
    assert.equal(await within(PATIENCE_MS, "a SYN_REPLY", stdout!.answered), "accepted");
    return new SpdyCommand(connection, mux, { error: error!, stdin: stdin!, stdout: stdout! });
  }

  /** What is typed comes back. */
  async echoes(text: string): Promise<void> {
    const { stdin, stdout } = this.streams;
    await stdin.write(text);
    for (let seen = ""; seen.length < text.length;) {
      const bytes = await within(PATIENCE_MS, `the echo of ${text}`, stdout.read());
      assert.ok(bytes !== null, "stdout has ended");
      seen += Buffer.from(bytes);
      assert.ok(text.startsWith(seen), `${seen} instead of ${text}`);
    }
  }
}

/** Runs `cat`. */
export async function echoing(connection: ByteConnection): Promise<void> {
  const mux = kubelet(connection, async ({ stdin, stdout, error }) => {
    for (let bytes = await stdin.read(); bytes !== null; bytes = await stdin.read()) {
      await stdout.write(bytes);
    }
    await error.write('{"metadata":{},"status":"Success"}', true);
    await stdout.end();
    await mux.close();
  });
  await mux.ended;
}

/** Says something, once all streams are open and something was typed; then is silent. */
export function saying(bytes: Uint8Array): Kubelet {
  return async (connection) => {
    const mux = kubelet(connection, async ({ stdin }) => {
      await stdin.read();
      await mux.write(bytes);
    });
    await mux.ended;
  };
}

function kubelet(
  connection: ByteConnection,
  run: (streams: Record<typeof STREAMS[number], MuxStream>) => Promise<void>,
): SpdyMux {
  const open: Record<string, MuxStream> = {};
  return new SpdyMux(connection, async (stream) => {
    open[stream.headers.get("streamtype") ?? ""] = stream;
    await stream.accept();
    const { error, stdin, stdout } = open;
    if (stream === stdout && error && stdin) await run({ error, stdin, stdout });
  });
}

/** Sends pieces until a flood is over, or the other side takes no more, and no longer than it has patience. @returns bytes */
export async function flood(
  connection: Pick<ByteConnection, "write">,
  piece: Uint8Array,
  floodBytes = FLOOD_BYTES,
): Promise<number> {
  const chunk = Buffer.concat(
    Array.from({ length: Math.max(1, Math.floor(65_536 / piece.length)) }, () => piece),
  );
  let sent = 0;
  let isStuck = false;
  while (sent < floodBytes && !isStuck) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stuck = new Promise<true>((resolve) => timer = setTimeout(() => resolve(true), 500));
    const written = connection.write(chunk).then(() => false, () => true);
    isStuck = await Promise.race([written, stuck]);
    clearTimeout(timer);
    sent += chunk.length;
  }
  return sent;
}
