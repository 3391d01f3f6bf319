import type { AuditEvent } from "../event.ts";
import type { QueueBounds, Sink } from "../sink.ts";
import { Backoff, type BackoffOptions, pause } from "./backoff.ts";
import { logsRequest } from "./otlp_logs.ts";
import { type PostAnswer, PostClient, type PostEndpoint, withoutQuery } from "./post_client.ts";

/** Options of an {@linkcode OtlpSink}. */
export interface OtlpSinkOptions extends PostEndpoint {
  /** Sessions wait for the collector, and are refused where it fails. */
  required: boolean;
  batch: {
    /** At most so many in one request. What comes while a request is under way shares the next. */
    maxEvents: number;
  };
  retry: BackoffOptions;
  /** What waits for the collector, in memory. */
  queue: {
    maxEvents: number;
    maxBytes: number;
  };
}

/** Answers after which the protocol has one ask again. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/**
 * Events as OpenTelemetry logs, by OTLP over HTTP, in JSON.
 *
 * | what happens | `required: false` | `required: true` |
 * | --- | --- | --- |
 * | 2xx | sent | sent |
 * | 429, 502, 503, 504, no answer | asked again after a while, for ever; the log says so | the write fails: no audit, no session |
 * | every other answer, or records it rejects | those events are lost to the collector; the log says so | the write fails |
 * | the queue is full | new events are lost to the collector; the log says so | the append fails at once |
 * | the process ends | what waits has the journal's deadline, and is lost to the collector after it | the same; nobody was told that it was written |
 *
 * @see https://opentelemetry.io/docs/specs/otlp/ "OTLP/HTTP"
 */
export class OtlpSink implements Sink {
  readonly name: string;
  readonly isBestEffort: boolean;
  readonly queue: QueueBounds;
  readonly #options: OtlpSinkOptions;
  readonly #client: PostClient;
  readonly #onFailure: (error: unknown) => void;
  readonly #end = new AbortController();

  /** @param onFailure told of each attempt that fails and is made again, for the log */
  constructor(options: OtlpSinkOptions, onFailure: (error: unknown) => void = () => {}) {
    this.name = `otlp ${withoutQuery(options.url)}`;
    this.isBestEffort = !options.required;
    this.queue = { maxPendingEvents: options.queue.maxEvents, maxPendingBytes: options.queue.maxBytes };
    this.#options = options;
    this.#client = new PostClient(options);
    this.#onFailure = onFailure;
  }

  /** Reads what is shown to the collector; it is not asked anything yet. */
  open(): Promise<void> {
    return this.#client.check();
  }

  async write(lines: Uint8Array): Promise<void> {
    const { maxEvents } = this.#options.batch;
    const texts = new TextDecoder().decode(lines).trimEnd().split("\n");
    for (let start = 0; start < texts.length; start += maxEvents) {
      const events = texts.slice(start, start + maxEvents).map((line): AuditEvent => JSON.parse(line));
      await this.#send(JSON.stringify(logsRequest(events)));
    }
  }

  close(): void {
    this.#end.abort();
    this.#client[Symbol.dispose]();
  }

  async #send(body: string): Promise<void> {
    const backoff = new Backoff(this.#options.retry);
    const { signal } = this.#end;
    for (;;) {
      if (signal.aborted) throw new Error("the sink is closed");
      const { error, isFinal, retryAfterMs } = await this.#attempt(body);
      if (error === undefined) return;
      if (isFinal || this.#options.required || signal.aborted) throw error;
      this.#onFailure(error);
      await pause(backoff.next(retryAfterMs), signal);
    }
  }

  async #attempt(body: string): Promise<{ error?: unknown; isFinal: boolean; retryAfterMs: number }> {
    try {
      const answer = await this.#client.post(body, this.#end.signal);
      const { status, retryAfterMs } = answer;
      if (status >= 200 && status < 300) {
        const rejected = rejectedRecords(answer);
        if (rejected === 0) return { isFinal: true, retryAfterMs };
        return { error: new Error(`rejected ${rejected} of the events`), isFinal: true, retryAfterMs };
      }
      return { error: new Error(`answered ${status}`), isFinal: !RETRYABLE.has(status), retryAfterMs };
    } catch (error) {
      return { error, isFinal: false, retryAfterMs: 0 };
    }
  }
}

/** How many records a collector that answered with success did not take. An answer that is no JSON complains of nothing. */
function rejectedRecords({ body }: PostAnswer): number {
  try {
    const { partialSuccess } = JSON.parse(new TextDecoder().decode(body));
    // A 64-bit number is a string in protobuf's JSON, though not everybody writes it so.
    return Number(partialSuccess?.rejectedLogRecords ?? 0) || 0;
  } catch {
    return 0;
  }
}
