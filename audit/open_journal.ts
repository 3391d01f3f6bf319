import { AuditError } from "./audit_error.ts";
import { SinkJournal } from "./journal.ts";
import type { Sink } from "./sink.ts";
import { FileSink, type FileSinkOptions } from "./sinks/file.ts";
import { StdoutSink } from "./sinks/stdout.ts";

/** What an operator says about the audit. */
export interface AuditOptions {
  sinks: readonly ({ type: "stdout" } | { type: "file" } & FileSinkOptions)[];
  /** Every sink must have an event, or one of them. */
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
  const sinks = options.map(sinkOf);
  const failures: AuditError[] = [];
  for (const sink of sinks) {
    try {
      if (sink instanceof FileSink) await sink.open();
    } catch (cause) {
      onFailure(sink.name, cause);
      const message = cause instanceof Error ? cause.message : String(cause);
      failures.push(new AuditError("sink_failed", `audit sink ${sink.name}: ${message}`, { cause }));
    }
  }
  const [failure] = failures;
  if (failure && (requireAll || failures.length === sinks.length)) {
    for (const sink of sinks) sink.close();
    throw failure;
  }
  return new SinkJournal(sinks, { requireAll, deadlineMs: writeTimeoutSeconds * 1000, onFailure });
}

function sinkOf(options: AuditOptions["sinks"][number]): Sink {
  return options.type === "stdout" ? new StdoutSink() : new FileSink(options);
}
