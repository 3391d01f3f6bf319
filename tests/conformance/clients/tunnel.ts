import { Buffer } from "node:buffer";
import { OPCODE } from "../../../protocol/websocket/mod.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { type Request, webSocketUpgrade } from "./request.ts";
import { SpdySession } from "./spdy_session.ts";
import { frameOf, WebSocketSession } from "./websocket_session.ts";
import type { BytePipe } from "./wire.ts";

/** The subprotocol by which SPDY goes through a WebSocket. */
export const TUNNEL = "SPDY/3.1+portforward.k8s.io";

/** How bytes become messages: where a peer cuts them means nothing. */
export type Cut = (bytes: Uint8Array) => readonly Uint8Array[];

/** SPDY within a WebSocket, both of our own. */
export class Tunnel implements BytePipe {
  /** Every write is one message unless this says otherwise. */
  cut: Cut = (bytes) => [bytes];

  private constructor(readonly socket: WebSocketSession) {}

  static async open(
    at: Column,
    request: Request,
  ): Promise<{ socket: WebSocketSession; tunnel: Tunnel; session: SpdySession }> {
    const socket = await WebSocketSession.open(at, { headers: webSocketUpgrade(TUNNEL), ...request });
    const tunnel = new Tunnel(socket);
    return { socket, tunnel, session: new SpdySession(at, tunnel, socket.answer, socket.isOpen) };
  }

  get ended(): "closed" | "reset" | undefined {
    return this.socket.closeCode !== undefined ? "closed" : this.socket.wire.ended;
  }

  get lastMs(): number {
    return this.socket.wire.lastMs;
  }

  async send(bytes: Uint8Array): Promise<void> {
    const frames = this.cut(bytes).map((piece) => frameOf(OPCODE.BINARY, piece));
    await this.socket.wire.send(Buffer.concat(frames));
  }

  hand(take: (bytes: Uint8Array) => void): void {
    this.socket.onMessage = ({ payload }) => take(payload);
  }

  async until(holds: () => boolean, deadlineMs?: number): Promise<boolean> {
    return await this.socket.until(holds, deadlineMs);
  }

  async end(quietMs: number): Promise<void> {
    await this.socket.until(() => performance.now() - this.lastMs > quietMs, 20_000);
  }

  close(): void {
    this.socket.close();
  }
}

/** What came through a tunnel, and how it ended. */
export async function seenThrough(
  { socket, session }: { socket: WebSocketSession; session: SpdySession },
): Promise<Seen> {
  if (!session.isOpen) return { answer: session.answer };
  await session.wire.end(1_500);
  const { end, ...seen } = session.seenSoFar();
  const { closeCode } = socket;
  socket.close();
  return { ...seen, end: closeCode === undefined ? end! : `Close ${closeCode}` };
}
