import type { ForwardedStreamType } from "../protocol/port_forward/mod.ts";

/** One forwarded connection, summed up when it has ended. */
export interface ForwardedConnection {
  /** What its two streams have in common, as the client says it. */
  requestId: string;
  /** In the pod; 0 where the client named none that can be read. */
  port: number;
  /** Bytes towards the pod. */
  bytesIn: number;
  /** Bytes towards the client. */
  bytesOut: number;
  openedAt: Date;
  durationMs: number;
  /** Who ended it first; `session` where the pod still had it open at the end of that, `gateway` where it was refused. */
  endedBy: "client" | "upstream" | "gateway" | "session";
  /** The text of its error stream, at most 2 KiB of it, or why the gateway refused it. */
  error?: string;
  /** The policy refused it. */
  isDenied?: boolean;
}

/** Bytes of an error stream that are kept. */
const MAX_ERROR_BYTES = 2 * 1024;

/** A stream of a forwarded connection. */
export interface ForwardedStream {
  readonly connection: OpenConnection;
  readonly type: ForwardedStreamType;
  /** As the tap calls it: `data:8080`. */
  readonly name: string;
  /** As the client numbers it; `undefined` for an error stream that the gateway opened for a client that has none. */
  readonly id: number | undefined;
  /** As we number it upstream; `undefined` where it was not opened there. */
  upstreamId: number | undefined;
  /** A second stream of its type for the same connection: the kubelet accepts it and never reads it (E-104). */
  readonly isSpare: boolean;
  /** The client was sent a SYN_REPLY. */
  isAccepted: boolean;
  /** The client says no more on it. */
  clientEnded: boolean;
  /** The upstream says no more on it. */
  upstreamEnded: boolean;
}

/** A stream that neither side has answered or ended, but for what is given. */
export function newStream(
  connection: OpenConnection,
  type: ForwardedStreamType,
  port: number,
  given: Partial<ForwardedStream>,
): ForwardedStream {
  return {
    connection,
    type,
    name: `${type}:${port}`,
    id: undefined,
    upstreamId: undefined,
    isSpare: false,
    isAccepted: false,
    clientEnded: false,
    upstreamEnded: false,
    ...given,
  };
}

/** A forwarded connection from its first stream to the end of its last. */
export class OpenConnection {
  readonly #openedAt = new Date();
  readonly #openedAtMs = performance.now();
  readonly #error: Uint8Array[] = [];
  #errorBytes = 0;
  readonly requestId: string;
  port: number;
  bytesIn = 0;
  bytesOut = 0;
  data: ForwardedStream | undefined;
  error: ForwardedStream | undefined;
  endedBy: ForwardedConnection["endedBy"] | undefined;
  /** Why the policy refuses it. */
  denial: string | undefined;

  constructor(requestId: string, port: number) {
    this.requestId = requestId;
    this.port = port;
  }

  get ageMs(): number {
    return performance.now() - this.#openedAtMs;
  }

  /** Something came on its error stream, or was put there. */
  get hasFailed(): boolean {
    return this.#errorBytes > 0;
  }

  /** Every stream that it ever had has ended both ways. */
  get hasEnded(): boolean {
    return [this.data, this.error].every((stream) => !stream || stream.clientEnded && stream.upstreamEnded);
  }

  /** Takes text of its error stream. Copies what it keeps. */
  fail(text: Uint8Array): void {
    const kept = text.slice(0, MAX_ERROR_BYTES - this.#errorBytes);
    if (kept.length === 0) return;
    this.#errorBytes += kept.length;
    this.#error.push(kept);
  }

  summary(): ForwardedConnection {
    const decoder = new TextDecoder();
    const text = this.#error.map((piece) => decoder.decode(piece, { stream: true })).join("");
    const error = this.denial ?? text;
    return {
      requestId: this.requestId,
      port: this.port,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      openedAt: this.#openedAt,
      durationMs: this.ageMs,
      endedBy: this.denial !== undefined ? "gateway" : this.endedBy ?? "session",
      ...(error !== "" && { error }),
      ...(this.denial !== undefined && { isDenied: true }),
    };
  }
}
