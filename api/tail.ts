import { safeJson } from "../audit/line.ts";
import { Refusal } from "../kube/status.ts";
import type { ApiCall, ApiGate, KnownSession, WatchedEvent, Watcher } from "./call.ts";
import { reach } from "./guard.ts";
import { locate } from "./located_session.ts";

/** How often a comment says that the connection lives, in milliseconds. */
const HEARTBEAT_MS = 15_000;

/** How long a client is to wait before it comes back, in milliseconds. */
const RETRY_MS = 2_000;

/**
 * What passes in a session that runs here, as server-sent events, until it ends. The session is not held up by whoever watches: a
 * client that is too slow is told so, and has to come back with the ID of the last event that it has.
 */
export async function tail(
  request: Request,
  call: ApiCall,
  gate: ApiGate,
  auditId: string,
  heartbeatMs = HEARTBEAT_MS,
): Promise<Response> {
  const grant = { resource: "sessions", verb: "watch" } as const;
  const { found, reason, granted } = await reach(call, gate, grant, auditId, () => locate(gate, auditId));
  const session = runningHere(auditId, found);
  await call.allow(reason);
  const headers = { "Content-Type": "text/event-stream" };
  if (call.method === "HEAD") return new Response(null, { headers });
  const watcher = session.watch(request.headers.get("Last-Event-ID") ?? undefined);
  const stream = new TailStream(session, watcher, heartbeatMs, call.signal);
  stream.whileOpen(call.whileAllowed("the watch", granted, (message) => stream.revoke(message)));
  return new Response(stream.readable, { headers });
}

/**
 * The session, where it runs in this replica.
 *
 * @throws {Refusal} Gone where it has ended; Conflict where it runs elsewhere
 */
export function runningHere(
  auditId: string,
  { here, isOver }: { here: KnownSession | undefined; isOver: boolean },
): KnownSession {
  if (isOver) throw new Refusal("Gone", `session "${auditId}" has ended`, { rule: "session-over" });
  if (here !== undefined) return here;
  const message =
    `session "${auditId}" does not run in this replica of the gateway: ask the one that holds it`;
  throw new Refusal("Conflict", message, { rule: "other-replica" });
}

class TailStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #watcher: Watcher;
  readonly #heartbeatMs: number;
  readonly #signal: AbortSignal;
  /** What is waited for, over any number of heartbeats. */
  #next: Promise<WatchedEvent[]> | undefined;
  #isClosed = false;
  /** Why it may be watched no more. */
  #revoked: string | undefined;
  /** It was said why there is no more. */
  #isTold = false;
  #stopAsking: (() => void) | undefined;

  constructor(session: KnownSession, watcher: Watcher, heartbeatMs: number, signal: AbortSignal) {
    this.#watcher = watcher;
    this.#heartbeatMs = heartbeatMs;
    this.#signal = signal;
    signal.addEventListener("abort", this.#close);
    if (signal.aborted) this.#close();
    let isBegun = false;
    this.readable = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const text = isBegun ? await this.#more() : firstWords(session, watcher);
        isBegun = true;
        if (text !== undefined) return controller.enqueue(new TextEncoder().encode(text));
        this.#close();
        controller.close();
      },
      cancel: () => this.#close(),
    }, { highWaterMark: 0 });
  }

  /** Gives nothing more, but the reason. */
  revoke(message: string): void {
    this.#revoked = message;
    this.#watcher.close();
  }

  /** What asks whether it may be watched, until nobody does. */
  whileOpen(stopAsking: () => void): void {
    if (this.#isClosed) stopAsking();
    else this.#stopAsking = stopAsking;
  }

  /** What is to be said next; `undefined` where there is no more. */
  async #more(): Promise<string | undefined> {
    this.#next ??= this.#watcher.next();
    const events = await unlessAfter(this.#heartbeatMs, this.#next);
    if (this.#revoked !== undefined) return this.#last("revoked", this.#revoked);
    if (events === undefined) return ": alive\n\n";
    this.#next = undefined;
    if (events.length > 0) return events.map(toText).join("");
    if (!this.#watcher.isTooSlow) return undefined;
    return this.#last("dropped", "what came was not read fast enough: some of it is lost");
  }

  #last(type: string, why: string): string | undefined {
    if (this.#isTold) return undefined;
    this.#isTold = true;
    return message(type, { message: why });
  }

  readonly #close = () => {
    this.#isClosed = true;
    this.#stopAsking?.();
    this.#signal.removeEventListener("abort", this.#close);
    this.#watcher.close();
  };
}

/** What the session is, before anything that happens in it. */
function firstWords({ facts }: KnownSession, { streams, hasGap }: Watcher): string {
  const { auditId, kind, namespace, pod, container, username, startedAt } = facts;
  const header = { auditId, kind, namespace, pod, container, username, startedAt, streams };
  const gap = hasGap ? message("gap", { message: "some of what came since is not kept any more" }) : "";
  return `retry: ${RETRY_MS}\n${message("header", header)}${gap}`;
}

function toText({ id, type, ...data }: WatchedEvent): string {
  return message(type, data, id);
}

/** One event. JSON has no line end in it, so nothing of a session's can be taken for a line of the protocol. */
function message(type: string, data: unknown, id?: string): string {
  return `event: ${type}\n${id === undefined ? "" : `id: ${id}\n`}data: ${safeJson(data)}\n\n`;
}

/** What a promise resolves with; `undefined` if it takes longer. */
async function unlessAfter<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), ms));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
