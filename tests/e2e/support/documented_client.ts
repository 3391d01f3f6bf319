import { RST_STATUS, synStream } from "../../../protocol/spdy/mod.ts";
import type { SpdyPeer } from "../../support/spdy_peer.ts";
import type { RawResponse } from "./raw_http.ts";
import { openSpdy, type Server } from "./raw_http.ts";

/** What the documents name of the handshake, and no more: no version of a stream protocol. */
const UPGRADE = ["Connection: Upgrade", "Upgrade: SPDY/3.1"];

/**
 * A client as the OpenShift documents describe it. For a command it opens a stream for each of stdin, stdout and stderr, told
 * apart by their `streamType` header; for a forwarded connection one stream with a `port` header. It closes all streams, then the
 * upgraded connection, then the connection below it.
 */
export class DocumentedClient {
  readonly #peer: SpdyPeer;
  readonly #names = new Map<number, string>();
  readonly #received = new Map<number, string>();
  readonly #ended = new Set<number>();
  #lastId = -1;

  private constructor(peer: SpdyPeer) {
    this.#peer = peer;
  }

  static async open(
    server: Server,
    path: string,
    headers: readonly string[],
  ): Promise<{ response: RawResponse; client: DocumentedClient | undefined }> {
    const { response, peer } = await openSpdy(server, `POST ${path}`, [...UPGRADE, ...headers]);
    if (response.code === 101) return { response, client: new DocumentedClient(peer) };
    peer.close();
    return { response, client: undefined };
  }

  /** Header names are lower case on the wire, as SPDY has it. @returns the stream's id */
  async openStream(headers: { streamtype: string } | { port: string }): Promise<number> {
    this.#lastId += 2;
    this.#names.set(this.#lastId, Object.values(headers)[0]!);
    await this.#peer.send(synStream(this.#lastId, { ...headers }));
    return this.#lastId;
  }

  async write(id: number, text: string, isEnd = false): Promise<void> {
    await this.#peer.data(id, text, isEnd);
  }

  /** What came on a stream up to its end, or to the end of the connection. */
  async readToEnd(id: number): Promise<string> {
    while (!this.#ended.has(id) && await this.#readFrame());
    return this.#received.get(id) ?? "";
  }

  /** Reads until the stream has brought a text. */
  async readUntil(id: number, text: string): Promise<string> {
    while (!(this.#received.get(id) ?? "").includes(text) && await this.#readFrame());
    return this.#received.get(id) ?? "";
  }

  async #readFrame(): Promise<boolean> {
    const frame = await this.#peer.next();
    if (frame === null || frame.type === "goaway") return false;
    if (frame.type === "data") {
      this.#received.set(frame.id, (this.#received.get(frame.id) ?? "") + frame.text);
      if (frame.fin) this.#ended.add(frame.id);
    }
    if (frame.type === "rst_stream") this.#ended.add(frame.id);
    if (frame.type === "ping" && frame.id % 2 === 0) await this.#peer.send(frame);
    return true;
  }

  /** All streams, the upgraded connection, the underlying connection, in this order. */
  async close(): Promise<void> {
    for (const id of this.#names.keys()) {
      if (this.#ended.has(id)) continue;
      await this.#peer.send({ type: "rst_stream", id, status: RST_STATUS.CANCEL });
    }
    await this.#peer.send({ type: "goaway", lastGoodId: 0, status: 0 }).catch(() => {}); // it may be closed already
    this.#peer.close();
  }
}
