import { Buffer } from "node:buffer";
import { authorities, type Credentials, type CredentialSource } from "./credentials.ts";
import { Refusal, type Status } from "./status.ts";

/** Largest answer to the gateway's own requests, in bytes: a pod, a node, a review. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * How long an answer to somebody else's request may take to begin, in milliseconds. The API server gives up on its own
 * after 60 s; what is longer (a watch, a followed log) begins at once.
 */
const FORWARD_MS = 90_000;

/**
 * One request at a time on a connection. With HTTP/2 they would share one: a few who do not read their answers would
 * stop everybody else's, and a connection that dies without a word would stay in use for as long as the kernel hopes.
 */
const TRANSPORT = { http2: false, poolMaxIdlePerHost: 64, poolIdleTimeout: 30_000 } as const;

/** Methods that the platform does not send, nor the API server serve. */
const UNSENT: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/** The API server said no to the gateway itself. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(readonly code: number, readonly status: Partial<Status>) {
    super(`the API server answered ${code}: ${status.message ?? status.reason ?? "no reason given"}`);
  }
}

/** The API server could not be asked: unreachable, too slow, or its answer makes no sense. */
export class ApiUnreachable extends Error {
  override readonly name = "ApiUnreachable";
}

/** Somebody else's request, as it came in. */
export interface ForwardedRequest {
  method: string;
  /** Path and query, canonical. */
  target: string;
  headers: Headers;
  body: ReadableStream<Uint8Array> | null;
  signal: AbortSignal;
}

/** Options of a {@linkcode KubeClient}. */
export interface KubeClientOptions {
  /** `https://host:port` */
  server: string;
  credentials: CredentialSource;
  /** How long one request of the gateway's own may take, in milliseconds. */
  timeoutMs: number;
  /** How long the answer to a forwarded request may take to begin, in milliseconds. @default {90000} */
  forwardTimeoutMs?: number;
  /** Told of every request that failed for reasons of the server's, or of ours. Must not throw. */
  onTrouble?(trouble: Trouble): void;
}

/** What may go wrong with a request, without regard to what it asked for. */
export type Trouble = "unreachable" | "timeout" | "unauthorized" | "forbidden" | "throttled" | "server_error";

const TROUBLES: Readonly<Record<number, Trouble>> = {
  401: "unauthorized",
  403: "forbidden",
  429: "throttled",
};

/**
 * The API server, by `fetch`, over connections that are kept.
 *
 * Two clients, so that the gateway's credentials and other people's requests never meet: one shows the
 * gateway's certificate and token, the other shows nothing of its own.
 */
export class KubeClient implements Disposable {
  readonly #options: KubeClientOptions;
  #own: { credentials: Credentials; client: Deno.HttpClient } | undefined;
  #plain: { caCerts: readonly string[]; client: Deno.HttpClient } | undefined;

  constructor(options: KubeClientOptions) {
    this.#options = options;
  }

  /**
   * GET, as the gateway.
   *
   * @param path made of segments that were escaped
   * @throws {ApiError} {@linkcode ApiUnreachable}
   */
  get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#ask<T>("GET", path, undefined, signal);
  }

  /** POST, as the gateway; throws as {@linkcode get}. */
  create<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    return this.#ask<T>("POST", path, JSON.stringify(body), signal);
  }

  /**
   * Sends a request on with nothing but what is in it. The answer streams, for as long as the caller's signal lets it.
   *
   * @throws {Refusal} ServiceUnavailable where the API server cannot be reached, Timeout where it does not answer
   */
  async forward({ method, target, headers, body, signal }: ForwardedRequest): Promise<Response> {
    const url = this.#canonical(target);
    if (UNSENT.has(method)) {
      const message = "the server does not allow this method on the requested resource";
      throw new Refusal("MethodNotAllowed", message);
    }
    const sent = new Headers(headers);
    // The platform takes an answer apart that it was not asked to leave alone, and still calls it compressed.
    sent.set("Accept-Encoding", "identity");
    using deadline = new Deadline(this.#options.forwardTimeoutMs ?? FORWARD_MS, signal);
    try {
      const client = await this.#plainClient();
      const init: RequestInit & { client: Deno.HttpClient; duplex?: "half" } = {
        method,
        headers: sent,
        signal: deadline.signal,
        client,
        redirect: "manual",
      };
      if (body !== null) {
        init.body = body;
        init.duplex = "half";
      }
      return await fetch(url, init);
    } catch (cause) {
      if (!signal.aborted) this.#options.onTrouble?.(deadline.hasPassed ? "timeout" : "unreachable");
      if (deadline.hasPassed) {
        throw new Refusal("Timeout", "the API server did not answer in time", { cause });
      }
      throw new Refusal("ServiceUnavailable", "the API server cannot be reached", { cause });
    }
  }

  [Symbol.dispose](): void {
    this.#own?.client.close();
    this.#plain?.client.close();
  }

  /** What `fetch` would read differently was refused before; that is made sure of here, where it would matter. */
  #canonical(target: string): URL {
    const url = URL.parse(this.#options.server + target);
    const isSame = url !== null && url.origin === this.#options.server && target.startsWith("/") &&
      [url.pathname + url.search, `${url.pathname}?`].includes(target);
    if (!isSame) throw new Refusal("BadRequest", "the request target is not canonical");
    return url;
  }

  async #ask<T>(
    method: "GET" | "POST",
    path: string,
    body: string | undefined,
    signal?: AbortSignal,
  ): Promise<T> {
    using deadline = new Deadline(this.#options.timeoutMs, signal);
    const answer = await this.#send(method, path, body, deadline, signal);
    let text: string;
    try {
      text = await readText(answer);
    } catch (cause) {
      throw this.#unreachable(deadline, cause, signal);
    }
    const document = parse(text);
    if (!answer.ok) throw this.#refused(answer.status, document);
    return document as T;
  }

  /** Sends a request of the gateway's own. */
  async #send(
    method: string,
    path: string,
    body: string | undefined,
    deadline: Deadline,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    try {
      const { credentials, client } = await this.#ownClient();
      const headers = new Headers({ "Accept": "application/json", "Content-Type": "application/json" });
      if (credentials.token !== undefined) headers.set("Authorization", `Bearer ${credentials.token}`);
      const init: RequestInit & { client: Deno.HttpClient } = {
        method,
        headers,
        client,
        redirect: "error",
        signal: deadline.signal,
        ...(body !== undefined && { body }),
      };
      return await fetch(this.#options.server + path, init);
    } catch (cause) {
      throw this.#unreachable(deadline, cause, signal);
    }
  }

  #refused(code: number, document: object): ApiError {
    const trouble = TROUBLES[code] ?? (code >= 500 ? "server_error" : undefined);
    if (trouble !== undefined) this.#options.onTrouble?.(trouble);
    return new ApiError(code, document);
  }

  /** @param signal of whoever asked: that they went away is nobody's trouble */
  #unreachable(deadline: Deadline, cause: unknown, signal: AbortSignal | undefined): ApiUnreachable {
    const isLate = deadline.hasPassed;
    if (isLate || signal?.aborted !== true) this.#options.onTrouble?.(isLate ? "timeout" : "unreachable");
    const why = isLate ? "did not answer in time" : "cannot be reached";
    return new ApiUnreachable(`the API server ${why}`, { cause });
  }

  async #ownClient(): Promise<{ credentials: Credentials; client: Deno.HttpClient }> {
    const credentials = await this.#options.credentials.current();
    if (this.#own?.credentials !== credentials) {
      const { caCerts, clientCertificate } = credentials;
      const client = Deno.createHttpClient({
        ...TRANSPORT,
        caCerts: authorities(caCerts),
        ...clientCertificate,
      });
      // Requests that are under way keep what they have until they end.
      this.#own?.client.close();
      this.#own = { credentials, client };
    }
    return this.#own;
  }

  async #plainClient(): Promise<Deno.HttpClient> {
    const { caCerts } = await this.#options.credentials.current();
    if (this.#plain?.caCerts.join() !== caCerts.join()) {
      const client = Deno.createHttpClient({ ...TRANSPORT, caCerts: authorities(caCerts) });
      this.#plain?.client.close();
      this.#plain = { caCerts, client };
    }
    return this.#plain!.client;
  }
}

/** Ends what takes too long to begin, or what nobody waits for any more. Once disposed, only the latter. */
class Deadline implements Disposable {
  readonly signal: AbortSignal;
  readonly #timeout = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.#timer = setTimeout(() => this.#timeout.abort(), ms);
    this.signal = signal === undefined
      ? this.#timeout.signal
      : AbortSignal.any([signal, this.#timeout.signal]);
  }

  get hasPassed(): boolean {
    return this.#timeout.signal.aborted;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

async function readText(answer: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.body ?? []) {
    bytes += piece.length;
    if (bytes > MAX_ANSWER_BYTES) throw new RangeError(`answer exceeds ${MAX_ANSWER_BYTES} bytes`);
    pieces.push(piece);
  }
  return new TextDecoder().decode(Buffer.concat(pieces));
}

function parse(text: string): object {
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document === "object" && document !== null) return document;
  } catch {
    // Told below.
  }
  throw new ApiUnreachable("the API server's answer is no JSON object");
}
