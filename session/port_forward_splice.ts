import { ProtocolError } from "../protocol/errors.ts";
import { type Frame, FrameDecoder, GOAWAY_STATUS } from "../protocol/spdy/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { atMost, GuardedConnection, Lifetime, type SessionLimits } from "./lifetime.ts";
import { type ForwardingOptions, PortForwardRelay } from "./port_forward_relay.ts";
import { FrameSender } from "./frame_sender.ts";
import { MAX_SPARE_REPLIES } from "./refused_streams.ts";
import { SpdyPings } from "./spdy_pings.ts";
import { CLIENT_CLOSED, CLIENT_VANISHED, type SessionEnd, SessionFailure } from "./stream_event.ts";

export type { ForwardedConnection } from "./port_forward_connection.ts";

const UPSTREAM_CLOSED: SessionEnd = {
  reason: "upstream_closed",
  by: "upstream",
  message: "the upstream ended the port-forward",
};

/** What a port-forward needs to know of its session. */
export interface PortForwardOptions extends ForwardingOptions {
  limits: SessionLimits;
  /** Aborted when the gateway must end the session. */
  signal: AbortSignal;
}

/**
 * A SPDY client of a port-forward spliced to a SPDY kubelet. Any number of connections come and go; each is a data and an
 * error stream of one request ID. Data passes as it is. Closes both sides.
 *
 * Both directions are read only while the other side takes what was read. What has ended is forgotten: memory is bounded
 * by what is open, however long the session lasts.
 *
 * @param upstream switched to SPDY `portforward.k8s.io`, nothing sent yet
 * @returns how it ended, after the client was told and every connection was written down
 */
export async function splicePortForward(
  client: ByteConnection,
  upstream: ByteConnection,
  options: PortForwardOptions,
): Promise<SessionEnd> {
  using splice = new PortForwardSplice(client, upstream, options);
  return await splice.run();
}

class PortForwardSplice implements Disposable {
  readonly #client: GuardedConnection;
  readonly #upstream: GuardedConnection;
  readonly #lingerMs: number;
  readonly #lifetime: Lifetime;
  readonly #fromClient = new FrameDecoder({ maxReplies: MAX_SPARE_REPLIES });
  readonly #fromUpstream = new FrameDecoder();
  readonly #toClient: FrameSender;
  readonly #toUpstream: FrameSender;
  readonly #relay: PortForwardRelay;
  readonly #clientPings: SpdyPings;
  readonly #upstreamPings: SpdyPings;
  #clientSaidGoodbye = false;

  constructor(client: ByteConnection, upstream: ByteConnection, options: PortForwardOptions) {
    this.#client = new GuardedConnection(client, "client");
    this.#upstream = new GuardedConnection(upstream, "upstream");
    this.#lingerMs = options.limits.lingerMs;
    this.#toClient = new FrameSender(this.#client);
    this.#toUpstream = new FrameSender(this.#upstream);
    this.#clientPings = new SpdyPings(this.#client, "server");
    this.#upstreamPings = new SpdyPings(this.#upstream, "client");
    const pings = { client: this.#clientPings, upstream: this.#upstreamPings };
    this.#lifetime = new Lifetime(options.limits, options.signal, pings);
    this.#lifetime.setUp(); // a client need not open anything
    const senders = { toClient: this.#toClient, toUpstream: this.#toUpstream };
    this.#relay = new PortForwardRelay(senders, options, (end) => this.#lifetime.end(end));
  }

  [Symbol.dispose](): void {
    this.#lifetime[Symbol.dispose]();
  }

  async run(): Promise<SessionEnd> {
    const fromClient = this.#pumpClient();
    const fromUpstream = this.#pumpUpstream();
    const end = await this.#lifetime.ended;
    await atMost(this.#lingerMs, this.#leaveUpstream());
    this.#upstream.close();
    await atMost(this.#lingerMs, fromUpstream);
    if (end.by !== "client" || end.reason === "protocol_error") this.#relay.tellAll(end.message);
    const written = this.#relay.endAll();
    await atMost(this.#lingerMs, written);
    await atMost(this.#lingerMs, this.#leaveClient(end).then(() => this.#client.endWrites()));
    // The client reads the end, then closes; what it still says is read and dropped, lest TCP reset the connection.
    await atMost(this.#lingerMs, fromClient);
    this.#client.close();
    await Promise.all([fromClient, fromUpstream, written]);
    await this.#relay.endAll(); // what was opened while the session ended
    return end;
  }

  async #leaveUpstream(): Promise<void> {
    if (this.#lifetime.client.isBlocked) return;
    this.#toUpstream.addFrame({ type: "goaway", lastGoodId: 0, status: GOAWAY_STATUS.OK });
    await this.#toUpstream.flush();
  }

  async #leaveClient({ by, reason }: SessionEnd): Promise<void> {
    if (by === "client" && reason !== "protocol_error") return;
    const status = reason === "protocol_error" ? GOAWAY_STATUS.PROTOCOL_ERROR : GOAWAY_STATUS.OK;
    this.#toClient.addFrame({ type: "goaway", lastGoodId: this.#relay.lastClientId, status });
    await this.#toClient.flush();
  }

  async #pumpClient(): Promise<void> {
    try {
      for (;;) {
        const chunk = await readFrom(this.#client);
        if (chunk === null) break;
        if (this.#lifetime.isOver) continue;
        this.#lifetime.client.heard();
        this.#toUpstream.passOn(chunk, this.#client.headroomBytes);
        for (const frame of this.#fromClient.push(chunk)) {
          const told = this.#clientFrame(frame);
          if (told) await told;
          if (this.#clientSaidGoodbye || this.#lifetime.isOver) break; // what follows a GOAWAY is read by nobody
        }
        await this.#toClient.flushAnswers();
        this.#lifetime.client.isBlocked = true;
        await this.#toUpstream.flush();
        this.#lifetime.client.isBlocked = false;
        await this.#relay.room();
        if (this.#clientSaidGoodbye) break;
      }
      this.#lifetime.end(this.#clientSaidGoodbye ? CLIENT_CLOSED : CLIENT_VANISHED);
    } catch (thrown) {
      this.#lifetime.fail("client", thrown);
      this.#toUpstream.discard();
      await this.#discardClient();
    }
  }

  /** After a failure: the client's bytes are read, so that it can read our last words. */
  async #discardClient(): Promise<void> {
    try {
      while (await this.#client.read() !== null);
    } catch {
      // It is gone.
    }
  }

  async #pumpUpstream(): Promise<void> {
    try {
      for (let isOpen = true; isOpen;) {
        const chunk = await readFrom(this.#upstream);
        if (chunk === null) break;
        this.#lifetime.upstream.heard();
        this.#toClient.passOn(chunk, this.#upstream.headroomBytes);
        for (const frame of this.#fromUpstream.push(chunk)) {
          if (this.#lifetime.isOver) return; // what ends because the session does is no end that the client should see
          const told = this.#upstreamFrame(frame);
          if (told) await told;
          isOpen = frame.type !== "goaway";
          if (!isOpen) break;
        }
        await this.#toUpstream.flushAnswers();
        this.#lifetime.upstream.isBlocked = true;
        await this.#toClient.flush();
        this.#lifetime.upstream.isBlocked = false;
        await this.#relay.room();
      }
      this.#lifetime.end(UPSTREAM_CLOSED);
    } catch (thrown) {
      this.#lifetime.fail("upstream", thrown);
    }
  }

  #clientFrame(frame: Frame): void | Promise<void> {
    switch (frame.type) {
      case "syn_stream":
      case "data":
      case "rst_stream":
        this.#lifetime.touch();
        return this.#relay.fromClient(frame);
      case "ping":
        if (this.#clientPings.received(frame)) this.#lifetime.client.answered();
        return;
      case "goaway":
        this.#clientSaidGoodbye = true;
        return;
      case "syn_reply": // nobody opens streams towards a client
      case "headers": // a kubelet would wait for ever for someone to read them
      case "settings":
      case "window_update":
        return;
      default:
        frame satisfies never;
    }
  }

  #upstreamFrame(frame: Frame): void | Promise<void> {
    switch (frame.type) {
      case "syn_reply":
      case "data":
      case "rst_stream":
        this.#lifetime.touch();
        return this.#relay.fromUpstream(frame);
      case "syn_stream":
        return this.#relay.fromUpstream(frame);
      case "ping":
        if (this.#upstreamPings.received(frame)) this.#lifetime.upstream.answered();
        return;
      case "goaway":
      case "headers":
      case "settings":
      case "window_update":
        return;
      default:
        frame satisfies never;
    }
  }
}

/** Reads from a side. A fault of the protocol that carries its bytes is told as one, not as a lost connection. */
async function readFrom(connection: GuardedConnection): Promise<Uint8Array | null> {
  try {
    return await connection.read();
  } catch (thrown) {
    throw thrown instanceof SessionFailure && thrown.cause instanceof ProtocolError ? thrown.cause : thrown;
  }
}
