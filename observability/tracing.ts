import {
  type Attributes,
  type Context,
  context,
  propagation,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";

/** A header line as received. */
type HeaderLine = readonly [name: string, value: string];

/**
 * What a client may say of the trace that its request is a part of. It goes on in every request that follows from this one, so that
 * of anything longer, or said twice, nothing is taken up.
 *
 * @see W3C Trace Context, 3.2 and 3.3: 512 characters of `tracestate` are passed on
 */
const TAKEN_UP: ReadonlyMap<string, RegExp> = new Map([
  ["traceparent", /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/],
  ["tracestate", /^[\x20-\x7e]{1,512}$/],
]);

/**
 * One trace for each request: a span from the request to the end of the session, and one in it for each phase. What is asked of the
 * API server on the way is in it too, for the platform traces its own `fetch`.
 *
 * Without a provider, which the platform sets where `OTEL_DENO=true`, {@linkcode JourneySpan.begin} says that there is none, and
 * nothing else is done.
 */
export class JourneySpan {
  readonly #span: Span;
  readonly #tracer: Tracer;
  readonly #context: Context;
  #isOver = false;

  private constructor(span: Span, tracer: Tracer, context: Context) {
    this.#span = span;
    this.#tracer = tracer;
    this.#context = context;
  }

  /** @returns `undefined` where nobody traces, or not this request */
  static begin(
    name: string,
    headers: readonly HeaderLine[],
    attributes: Attributes,
  ): JourneySpan | undefined {
    // What the API gives where nobody has set another.
    if (trace.getTracerProvider() instanceof ProxyTracerProvider) return undefined;
    const tracer = trace.getTracer("postern");
    const parent = propagation.extract(ROOT_CONTEXT, traceOf(headers));
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    if (!span.isRecording()) return undefined;
    return new JourneySpan(span, tracer, trace.setSpan(parent, span));
  }

  /** Runs something so that what it traces lies in this span. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return context.with(this.#context, work);
  }

  /** Runs a phase, in a span of its own. */
  async phase<T>(name: string, work: () => Promise<T>): Promise<T> {
    const span = this.#tracer.startSpan(name, {}, this.#context);
    try {
      return await context.with(trace.setSpan(this.#context, span), work);
    } catch (thrown) {
      // What is wrong is told to the audit, which knows what to leave out.
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw thrown;
    } finally {
      span.end();
    }
  }

  say(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  /** Ends it; once. */
  end(isError: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (isError) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }

  /** Lines by which somebody else goes on with the trace, below the phase that is running. */
  headers(): HeaderLine[] {
    const carrier: Record<string, string> = {};
    const active = context.active();
    propagation.inject(trace.getSpan(active) === undefined ? this.#context : active, carrier);
    return Object.entries(carrier).filter(([name]) => TAKEN_UP.has(name));
  }
}

/** What is taken up of a client's trace, by lower-case name. */
export function traceOf(headers: readonly HeaderLine[]): Record<string, string> {
  const carrier: Record<string, string> = {};
  for (const [name, form] of TAKEN_UP) {
    const [value, ...more] = headers.filter(([key]) => key.toLowerCase() === name).map((line) => line[1]);
    if (value !== undefined && more.length === 0 && form.test(value)) carrier[name] = value;
  }
  return carrier;
}
