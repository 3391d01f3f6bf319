import type { ByteConnection } from "../../session/byte_connection.ts";
import { type MuxStream, SpdyMux } from "./spdy_mux.ts";

/** A program in the pod that listens on a port: it returns when it has closed its connection, and throws where that broke. */
export type Service = (data: MuxStream) => Promise<void>;

/** Sends back what it gets. */
export async function echo(data: MuxStream): Promise<void> {
  for (let bytes = await data.read(); bytes !== null; bytes = await data.read()) await data.write(bytes);
}

/**
 * What a kubelet and its runtime make of a port-forward: streams are paired by request ID, a port that nobody listens on is told on
 * the error stream.
 *
 * @see k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go
 */
export class ForwardingKubelet {
  readonly mux: SpdyMux;
  /** The headers of every stream that was opened, by its number. */
  readonly opened = new Map<number, Record<string, string>>();
  readonly #services: Readonly<Record<number, Service>>;
  readonly #halves = new Map<string, Partial<Record<string, MuxStream>>>();
  readonly #running = new Set<Promise<void>>();

  constructor(connection: ByteConnection, services: Readonly<Record<number, Service>> = {}) {
    this.#services = services;
    this.mux = new SpdyMux(connection, (stream) => this.#take(stream));
  }

  /** Everything that runs has come to its end. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #take(stream: MuxStream): void {
    const headers = Object.fromEntries(stream.headers);
    this.opened.set(stream.id, headers);
    const { streamtype = "", requestid = "" } = headers;
    stream.accept();
    const half = this.#halves.get(requestid) ?? {};
    if (half[streamtype]) {
      half.error?.write(
        `error processing stream for request ${requestid}: ${streamtype} stream already assigned`,
      );
      return;
    }
    half[streamtype] = stream;
    this.#halves.set(requestid, half);
    const { data, error } = half;
    if (data === undefined || error === undefined) return;
    this.#halves.delete(requestid);
    const running = this.#forward(data, error).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #forward(data: MuxStream, error: MuxStream): Promise<void> {
    const port = Number(data.headers.get("port"));
    try {
      const service = this.#services[port];
      if (service === undefined) throw new Error("connect: connection refused");
      await service(data);
      await error.end();
      await data.end();
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      await error.write(`error forwarding port ${port} to pod web, uid : ${why}`);
      await data.cancel();
      await error.cancel();
    }
  }
}
