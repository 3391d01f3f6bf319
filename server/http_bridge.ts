import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import { type Status, toStatus } from "../kube/status.ts";
import type { Handler, RequestContext } from "../routes/handler.ts";
import {
  type BadRequest,
  faultOf,
  hasBody,
  parserFault,
  rawAnswer,
  type RequestFault,
  statusOf,
} from "./bad_request.ts";
import type { ClientConnection } from "./client_connection.ts";
import { ConnectionStream, LINGER } from "./connection_stream.ts";
import { HeaderBudget } from "./header_budget.ts";
import { headerLines, toRequest } from "./request.ts";
import { writeResponse } from "./response.ts";
import type { ServerLimits } from "./server_options.ts";
import { type AcceptedUpgrade, UpgradeExchange } from "./upgrade_exchange.ts";

/** Whom the bridge tells what. */
export interface HttpBridgeHooks {
  /** A request was refused before the handler was asked, so that whoever audits can say so. */
  onBadRequest(bad: BadRequest): void;
  /** A handler or a session failed in a way that it should have answered itself. */
  report(message: string, cause?: unknown): void;
}

/** Requests that a client may send without waiting for the answers. One segment could hold thousands. */
const MAX_PIPELINED = 16;

/** Reasons of an aborted {@linkcode RequestContext.signal}. */
const CLIENT_GONE = "the client has gone";
const DRAINED = "the gateway is shutting down";

/** An upgrade that was accepted. */
interface Session {
  connection: ClientConnection;
  accepted: AcceptedUpgrade;
  controller: AbortController;
}

/**
 * HTTP/1.1 on connections that are open already: `node:http` reads and writes, a {@linkcode Handler} answers.
 *
 * What `node:http` parses goes one way only, as data: it never opens, closes or waits for a socket of its own, and
 * its own timeouts are off, because {@linkcode ConnectionStream} has the clocks.
 */
export class HttpBridge {
  readonly #handler: Handler;
  readonly #limits: ServerLimits;
  readonly #hooks: HttpBridgeHooks;
  readonly #server: Server;
  readonly #headers: HeaderBudget;
  readonly #streams = new Set<ConnectionStream>();
  /** One for each request that is being answered, and each session. */
  readonly #running = new Set<AbortController>();
  #isDraining = false;

  constructor(handler: Handler, limits: ServerLimits, hooks: HttpBridgeHooks) {
    this.#handler = handler;
    this.#limits = limits;
    this.#hooks = hooks;
    this.#headers = new HeaderBudget(limits.maxHeldHeaderBytes);
    const server = createServer({
      maxHeaderSize: limits.maxHeaderBytes,
      insecureHTTPParser: false,
      requireHostHeader: false, // ours says so with a Status
      headersTimeout: 0,
      requestTimeout: 0,
      keepAliveTimeout: 0,
    });
    server.timeout = 0;
    // The default of 2000 drops the rest without a word. The bound on lines is in bad_request.ts.
    server.maxHeadersCount = 0;
    // Without it, each connection is closed after its first answer (denoland/deno#35609).
    Object.defineProperty(server, "listening", { value: true });
    server.on("request", (request, response) => this.#enqueue(request, response));
    server.on("checkContinue", (request, response) => this.#enqueue(request, response));
    server.on("checkExpectation", (request, response) => this.#enqueue(request, response));
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, streamOf(socket), head));
    server.on("connect", (request, socket, head) => this.#upgrade(request, streamOf(socket), head));
    server.on("clientError", (error: Error, socket) => {
      this.#refuse(streamOf(socket), parserFault(error, limits.maxHeaderBytes));
    });
    this.#server = server;
  }

  /** Speaks HTTP on a connection, and lets handlers take it over. */
  serve(connection: ClientConnection): void {
    const { headerTimeoutSeconds, idleTimeoutSeconds, stalledWriteSeconds } = this.#limits;
    const deadlines = {
      headerMs: headerTimeoutSeconds * 1000,
      idleMs: idleTimeoutSeconds * 1000,
      stalledWriteMs: stalledWriteSeconds * 1000,
    };
    const stream = new ConnectionStream(connection, deadlines, this.#headers.account());
    this.#streams.add(stream);
    stream.once("close", () => this.#streams.delete(stream));
    stream.on("error", () => {}); // the connection was lost: whoever waits for it learns it from "close"
    stream.on("slow", () => {
      const reason = `the request's headers took longer than ${headerTimeoutSeconds} seconds`;
      this.#refuse(stream, { code: 408, reason });
    });
    stream.on("crowded", () => {
      this.#refuse(stream, { code: 503, reason: "too many requests with large headers are under way" });
    });
    this.#server.emit("connection", stream);
  }

  /** Requests that are being answered, and sessions. */
  get running(): number {
    return this.#running.size;
  }

  /** From now on each connection is closed as soon as it has been answered, and has nothing more to do. */
  closeWhenIdle(): void {
    this.#isDraining = true;
    for (const stream of this.#streams) {
      // Who has just come is about to ask: a client does not ask again where its first request was not answered.
      if (stream.isIdle && stream.requests > 0) stream.destroy();
    }
  }

  /** Aborts the signals of everything that runs. */
  abortAll(): void {
    for (const controller of this.#running) controller.abort(new Error(DRAINED));
  }

  /** Answers one request after the other: answers leave in the order of their requests in any case. */
  #enqueue(request: IncomingMessage, response: ServerResponse): void {
    const stream = streamOf(request.socket);
    stream.requests++;
    stream.owed++;
    stream.message = request;
    if (stream.owed > MAX_PIPELINED) {
      this.#tellBadRequest(stream, { code: 400, reason: "too many requests were sent ahead" });
      return void stream.destroy();
    }
    const isLast = stream.requests >= this.#limits.maxRequestsPerConnection;
    stream.turn = stream.turn.then(() => this.#exchange(stream, request, response, isLast)).then(
      () => this.#answered(stream),
      (thrown) => {
        this.#hooks.report("a request could not be answered", thrown);
        stream.destroy();
      },
    );
  }

  #answered(stream: ConnectionStream): void {
    stream.owed--;
    stream.isAnswering = false;
    if (stream.destroyed || stream.writableEnded) return;
    stream.answered();
    if (this.#isDraining && stream.isIdle) stream.end();
  }

  async #exchange(
    stream: ConnectionStream,
    message: IncomingMessage,
    response: ServerResponse,
    isLast: boolean,
  ): Promise<void> {
    // The answer before was the last one: this request must have no effect, because nobody would learn of it.
    if (stream.destroyed || stream.writableEnded) return;
    if (isLast || message.httpVersion === "1.0") closeAfter(response);
    const fault = faultOf(message, false);
    if (fault !== undefined) {
      this.#tellBadRequest(stream, fault);
      closeAfter(response);
      return await this.#write(stream, response, statusResponse(statusOf(fault)));
    }
    const withBody = hasBody(message);
    stream.headersCame(withBody);
    const { controller, untilReleased } = this.#track(stream);
    try {
      const { signal } = controller;
      const onBody = () => {
        if (message.headers.expect !== undefined) response.writeContinue();
      };
      const answer = await this.#ask(stream, message, { hasBody: withBody, onBody, signal });
      // What is left of the body would have to be read to the end to find the next request.
      if (!message.complete) closeAfter(response);
      await this.#write(stream, response, answer);
    } finally {
      untilReleased();
      this.#running.delete(controller);
    }
    if (!message.complete) stream.end();
  }

  /** Node's parser is done with this connection: what follows are bytes that only the handler understands. */
  #upgrade(message: IncomingMessage, stream: ConnectionStream, head: Uint8Array): void {
    const fault = stream.owed > 0
      ? { code: 400 as const, reason: "an upgrade was sent ahead, before the answer to another request" }
      : faultOf(message, true);
    stream.requests++;
    stream.stopReading(head);
    if (fault !== undefined) return this.#refuse(stream, fault);
    stream.owed++;
    this.#exchangeUpgrade(message, stream).then((session) => {
      if (session !== undefined) void this.#runSession(session);
    }, (thrown) => {
      this.#hooks.report("an upgrade could not be answered", thrown);
      stream.destroy();
    });
  }

  /** @returns the session that it came to: what runs it holds nothing of the request, for it may live for days */
  async #exchangeUpgrade(message: IncomingMessage, stream: ConnectionStream): Promise<Session | undefined> {
    const { connection } = stream;
    // Bytes that come in now are for whoever takes the connection over; that the client leaves is for us.
    void connection.isLeaving().then((isLeaving) => isLeaving && stream.destroy());
    const { controller, untilReleased } = this.#track(stream);
    let isSession = false;
    try {
      const upgrade = new UpgradeExchange();
      const answer = await this.#ask(stream, message, {
        hasBody: false,
        signal: controller.signal,
        upgrade,
      });
      const choice = upgrade.takeChoice(answer);
      if (choice?.type === "accepted") {
        isSession = true;
        untilReleased();
        stream.release();
        return { connection, accepted: choice, controller };
      }
      if (choice?.type === "raw") {
        stream.end(choice.bytes);
      } else {
        const response = new ServerResponse(message);
        response.assignSocket(message.socket);
        closeAfter(response);
        await this.#write(stream, response, answer);
        stream.end();
      }
      return undefined;
    } finally {
      untilReleased();
      if (!isSession) this.#running.delete(controller);
    }
  }

  /** From the 101 on, whatever becomes of it: what the session has opened elsewhere is its own to close. */
  async #runSession({ connection, accepted: { head, run }, controller }: Session): Promise<void> {
    try {
      // A client that has gone meanwhile is found out by the session's first read.
      await connection.write(head).catch(() => {});
      await run(connection);
    } catch (thrown) {
      this.#hooks.report("a session failed", thrown);
    }
    await connection.closeGracefully(LINGER);
    this.#running.delete(controller);
  }

  /**
   * Keeps a signal for what is done on a connection: aborted on {@linkcode abortAll}, or when the client goes, until that is
   * for a session to find out.
   */
  #track(stream: ConnectionStream): { controller: AbortController; untilReleased: () => void } {
    const controller = new AbortController();
    const gone = () => controller.abort(new Error(CLIENT_GONE));
    stream.once("close", gone);
    if (stream.destroyed) gone();
    this.#running.add(controller);
    return { controller, untilReleased: () => void stream.off("close", gone) };
  }

  /** Asks the handler. Whatever it throws becomes an answer. */
  async #ask(
    { connection: { remoteAddress, remotePort } }: ConnectionStream,
    message: IncomingMessage,
    { signal, upgrade, ...body }: {
      hasBody: boolean;
      onBody?: () => void;
      signal: AbortSignal;
      upgrade?: UpgradeExchange;
    },
  ): Promise<Response> {
    const rawHeaders = headerLines(message);
    const context: RequestContext = {
      remoteAddress,
      remotePort,
      rawTarget: message.url ?? "",
      rawHeaders,
      signal,
      ...(upgrade !== undefined && { upgrade }),
    };
    try {
      return await this.#handler(toRequest(message, rawHeaders, { ...body, signal }), context);
    } catch (thrown) {
      this.#hooks.report("a handler failed", thrown);
      return statusResponse(toStatus(thrown));
    }
  }

  async #write(stream: ConnectionStream, response: ServerResponse, answer: Response): Promise<void> {
    // What was wrong further down in the request was answered meanwhile.
    if (stream.writableEnded) return void answer.body?.cancel().catch(() => {});
    if (this.#isDraining) closeAfter(response);
    stream.isAnswering = true;
    try {
      await writeResponse(response, answer);
      await finished(response);
    } catch (thrown) {
      if (stream.destroyed) return;
      this.#hooks.report("an answer broke off", thrown);
      stream.destroy();
    }
  }

  #refuse(stream: ConnectionStream, fault: RequestFault): void {
    if (stream.destroyed || stream.writableEnded) return;
    this.#tellBadRequest(stream, fault);
    // There is no place for this answer in the middle of another one, or before that to an earlier request.
    const isOfLater = stream.owed > 1 || (stream.owed === 1 && stream.message?.complete !== false);
    if (stream.isAnswering || isOfLater) return void stream.destroy();
    stream.end(rawAnswer(statusOf(fault), fault.code));
  }

  #tellBadRequest({ connection }: ConnectionStream, { code, reason }: RequestFault): void {
    const { remoteAddress, remotePort } = connection;
    this.#hooks.onBadRequest({ remoteAddress, remotePort, code, reason });
  }
}

/** Resolves when an answer was written, or cannot be any more. */
function finished(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    response.once("finish", resolve).once("close", resolve);
    if (response.writableFinished || response.destroyed) resolve();
  });
}

function closeAfter(response: ServerResponse): void {
  response.shouldKeepAlive = false;
}

function statusResponse(status: Status): Response {
  return new Response(`${JSON.stringify(status)}\n`, {
    status: status.code ?? 500,
    headers: { "Cache-Control": "no-cache, private", "Content-Type": "application/json" },
  });
}

/** `node:http` hands back the stream that it was given, and calls it a socket. */
function streamOf(socket: unknown): ConnectionStream {
  if (socket instanceof ConnectionStream) return socket;
  throw new TypeError("node:http used a socket of its own");
}
