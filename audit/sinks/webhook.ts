import type { Sink } from "../sink.ts";
import { Backoff, type BackoffOptions, pause } from "./backoff.ts";
import { PostClient, type PostEndpoint, withoutQuery } from "./post_client.ts";
import { Spool, type SpooledBatch, type SpoolOptions } from "./spool.ts";

/** Options of a {@linkcode WebhookSink}. */
export interface WebhookSinkOptions extends PostEndpoint {
  /** What is sent in one request. */
  batch: {
    maxEvents: number;
    /** Of the events as JSON; a longer event goes alone. */
    maxBytes: number;
    /** How long the first event of a request waits for others. */
    maxWaitSeconds: number;
  };
  retry: BackoffOptions;
  spool: SpoolOptions;
}

/**
 * Answers that speak of the events and would be the same next time. Whatever else is no success speaks of us, of where
 * we ask, or of the receiver's state, and is asked again: an operator puts that right, and no event is lost meanwhile.
 */
const UNACCEPTABLE: ReadonlySet<number> = new Set([400, 406, 411, 413, 415, 422]);

/**
 * Events to a webhook, in the format in which the API server sends its own: `POST` of an `audit.k8s.io/v1` EventList.
 *
 * A write resolves when the events are on disk, in the spool, and no session waits for the receiver. From there they
 * are sent in order, one request at a time, at least once, by this process or the next.
 *
 * | what happens | outcome |
 * | --- | --- |
 * | 2xx | sent; what was sent is deleted |
 * | 400, 406, 411, 413, 415, 422 | the batch is sent again in halves; a single event goes to `rejected/`, and the log says so |
 * | every other answer, none, too late a one | asked again after a while, for ever; the log says so |
 * | the spool or the disk is full | the write fails: no audit, no session |
 * | the process is killed | the next one goes on where the cursor is |
 *
 * @see k8s.io/apiserver plugin/pkg/audit/webhook
 */
export class WebhookSink implements Sink, AsyncDisposable {
  readonly name: string;
  readonly #options: WebhookSinkOptions;
  readonly #client: PostClient;
  readonly #onFailure: (error: unknown) => void;
  readonly #end = new AbortController();
  #opening: Promise<Spool> | undefined;
  #sending: Promise<void> | undefined;
  /** Told that there is something new to send. */
  #wake: () => void = () => {};
  /** Told when there is nothing left to send. */
  #waiting: (() => void)[] = [];
  #newEvents = 0;
  #newBytes = 0;

  /** @param onFailure told of what does not go through, for the log */
  constructor(options: WebhookSinkOptions, onFailure: (error: unknown) => void = () => {}) {
    this.name = `webhook ${withoutQuery(options.url)}`;
    this.#options = options;
    this.#client = new PostClient(options);
    this.#onFailure = onFailure;
  }

  /** Opens the spool, and begins to send what is in it. */
  async open(): Promise<void> {
    await this.#client.check();
    await this.#open();
  }

  async write(lines: Uint8Array): Promise<void> {
    const spool = await this.#open();
    await spool.append(lines);
    this.#newEvents += lines.reduce((count, byte) => byte === 10 ? count + 1 : count, 0);
    this.#newBytes += lines.length;
    this.#wake();
  }

  /** Resolves when everything is sent, or the sink is closed. Does not wait for more to send with it. */
  async flush(): Promise<void> {
    if (this.#sending === undefined || this.#end.signal.aborted) return;
    const sent = Promise.withResolvers<void>();
    this.#waiting.push(sent.resolve);
    this.#wake();
    await sent.promise;
  }

  /** What is not sent stays in the spool. */
  close(): void {
    this.#end.abort();
    this.#wake();
    this.#client[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#opening?.catch(() => {});
    await this.#sending;
  }

  /** The spool; a failure to open it is of this attempt alone. */
  #open(): Promise<Spool> {
    if (this.#end.signal.aborted) return Promise.reject(new Error("the sink is closed"));
    this.#opening ??= Spool.open(this.#options.spool).then((spool) => {
      this.#sending = this.#send(spool);
      return spool;
    }, (error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  /** Works the spool off until the sink is closed. Never rejects. */
  async #send(spool: Spool): Promise<void> {
    const { batch: { maxEvents, maxBytes }, retry } = this.#options;
    const { signal } = this.#end;
    const backoff = new Backoff(retry);
    /** Fewer than may be, after a batch was not accepted: one of its events is the cause. */
    let limit = maxEvents;
    while (!signal.aborted) {
      try {
        // What was counted until now is in the spool, and sent before the sender is idle.
        this.#newEvents = 0;
        this.#newBytes = 0;
        const batch = await spool.peek(limit, maxBytes);
        if (batch === undefined) {
          await this.#idle();
          continue;
        }
        const { status, retryAfterMs } = await this.#client.post(eventList(batch.lines), signal);
        if (status >= 200 && status < 300) {
          await spool.advance(batch);
          limit = Math.min(maxEvents, limit * 2);
          backoff.reset();
        } else if (!UNACCEPTABLE.has(status)) {
          this.#onFailure(new Error(`answered ${status}; ${spool.pendingBytes} bytes wait`));
          await pause(backoff.next(retryAfterMs), signal);
        } else if (batch.lines.length > 1) {
          limit = Math.ceil(batch.lines.length / 2);
        } else {
          await this.#setAside(spool, batch, status);
        }
      } catch (error) {
        if (signal.aborted) break;
        this.#onFailure(error);
        await pause(backoff.next(), signal);
      }
    }
    this.#tellWaiting();
    spool[Symbol.dispose]();
  }

  async #setAside(spool: Spool, batch: SpooledBatch, status: number): Promise<void> {
    await spool.reject(batch);
    const where = `${this.#options.spool.directory}/rejected`;
    this.#onFailure(
      new Error(
        `answered ${status} to an event, which is kept in ${where}; ${spool.rejectedBytes} bytes are`,
      ),
    );
  }

  /** Waits until there is something to send, and then for what may go with it. */
  async #idle(): Promise<void> {
    const { batch: { maxEvents, maxBytes, maxWaitSeconds } } = this.#options;
    const { signal } = this.#end;
    this.#tellWaiting();
    while (!signal.aborted && this.#newEvents === 0 && this.#waiting.length === 0) await this.#woken();
    const goesAt = performance.now() + maxWaitSeconds * 1000;
    const isFull = () => this.#newEvents >= maxEvents || this.#newBytes >= maxBytes;
    while (!signal.aborted && this.#waiting.length === 0 && !isFull()) {
      const leftMs = goesAt - performance.now();
      if (leftMs <= 0) break;
      await this.#woken(leftMs);
    }
  }

  /** Waits for {@linkcode WebhookSink.#wake} to be called, or for a while. */
  #woken(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #tellWaiting(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** As `audit.k8s.io/v1` has it. The lines are JSON already. */
function eventList(lines: readonly string[]): string {
  return `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${lines.join(",")}]}`;
}
