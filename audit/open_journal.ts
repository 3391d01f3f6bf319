import { AuditError } from "./audit_error.ts";
import { SinkJournal } from "./journal.ts";
import type { Sink } from "./sink.ts";
import { FileSink, type FileSinkOptions } from "./sinks/file.ts";
import { OtlpSink, type OtlpSinkOptions } from "./sinks/otlp.ts";
import { StdoutSink } from "./sinks/stdout.ts";
import { WebhookSink, type WebhookSinkOptions } from "./sinks/webhook.ts";

/** What an operator says about one sink. */
export type SinkOptions =
  | { type: "stdout" }
  | { type: "file" } & FileSinkOptions
  | { type: "webhook" } & WebhookSinkOptions
  | { type: "otlp" } & OtlpSinkOptions;

/** What an operator says about the audit. */
export interface AuditOptions {
  sinks: readonly SinkOptions[];
  /** Every sink must have an event, or one of them; those of best effort aside. */
  requireAll: boolean;
  /** How long an append may take. */
  writeTimeoutSeconds: number;
}

/**
 * Opens the sinks and the journal over them. A sink that cannot be opened stops the start where it is required;
 * where it is not, it is tried again with every event.
 *
 * @param onFailure told of every failure of a sink, for the log
 * @throws {AuditError} `sink_failed`
 */
export async function openJournal(
  { sinks: options, requireAll, writeTimeoutSeconds }: AuditOptions,
  onFailure: (sink: string, error: unknown) => void = () => {},
): Promise<SinkJournal> {
  const sinks = options.map((each) => sinkOf(each, onFailure));
  const failures: AuditError[] = [];
  for (const sink of sinks) {
    try {
      await sink.open?.();
    } catch (cause) {
      onFailure(sink.name, cause);
      if (sink.isBestEffort) continue;
      const message = cause instanceof Error ? cause.message : String(cause);
      failures.push(new AuditError("sink_failed", `audit sink ${sink.name}: ${message}`, { cause }));
    }
  }
  const [failure] = failures;
  const counting = sinks.filter(({ isBestEffort }) => !isBestEffort);
  if (failure && (requireAll || failures.length === counting.length)) {
    for (const sink of sinks) sink.close();
    throw failure;
  }
  return new SinkJournal(sinks, { requireAll, deadlineMs: writeTimeoutSeconds * 1000, onFailure });
}

function sinkOf(options: SinkOptions, onFailure: (sink: string, error: unknown) => void): Sink {
  switch (options.type) {
    case "stdout":
      return new StdoutSink();
    case "file":
      return new FileSink(options);
    case "webhook": {
      const sink: WebhookSink = new WebhookSink(options, (error) => onFailure(sink.name, error));
      return sink;
    }
    case "otlp": {
      const sink: OtlpSink = new OtlpSink(options, (error) => onFailure(sink.name, error));
      return sink;
    }
  }
}
