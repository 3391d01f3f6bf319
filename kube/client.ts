import type { Credentials, CredentialSource } from "./credentials.ts";
import { Refusal, type Status } from "./status.ts";

/** Largest answer to the gateway's own requests, in bytes: a pod, a node, a review. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

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
}

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
   * @throws {Refusal} ServiceUnavailable where the API server cannot be reached
   */
  async forward({ method, target, headers, body, signal }: ForwardedRequest): Promise<Response> {
    const url = this.#options.server + target;
    // What `fetch` would read differently was refused before; that is made sure of here, where it would matter.
    const { pathname, search } = new URL(url);
    if (pathname + search !== target && pathname + (search || "?") !== target) {
      throw new Refusal("BadRequest", "the request target is not canonical");
    }
    const sent = new Headers(headers);
    // `fetch` takes a compressed answer apart and says so in no header: ask for a plain one.
    sent.set("Accept-Encoding", "identity");
    try {
      const client = await this.#plainClient();
      const init: RequestInit & { client: Deno.HttpClient; duplex?: "half" } = {
        method,
        headers: sent,
        signal,
        client,
        redirect: "manual",
      };
      if (body !== null) {
        init.body = body;
        init.duplex = "half";
      }
      return await fetch(url, init);
    } catch (cause) {
      throw new Refusal("ServiceUnavailable", "the API server cannot be reached", { cause });
    }
  }

  [Symbol.dispose](): void {
    this.#own?.client.close();
    this.#plain?.client.close();
  }

  async #ask<T>(
    method: "GET" | "POST",
    path: string,
    body: string | undefined,
    signal?: AbortSignal,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    let code: number;
    let text: string;
    try {
      const { credentials, client } = await this.#ownClient();
      const headers = new Headers({ "Accept": "application/json", "Content-Type": "application/json" });
      if (credentials.token !== undefined) headers.set("Authorization", `Bearer ${credentials.token}`);
      const init: RequestInit & { client: Deno.HttpClient } = {
        method,
        headers,
        client,
        redirect: "error",
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        ...(body !== undefined && { body }),
      };
      const answer = await fetch(this.#options.server + path, init);
      code = answer.status;
      text = await readText(answer);
    } catch (cause) {
      const why = timeout.aborted ? "did not answer in time" : "cannot be reached";
      throw new ApiUnreachable(`the API server ${why}`, { cause });
    }
    const document = parse(text);
    if (code < 200 || code > 299) throw new ApiError(code, document as Partial<Status>);
    return document as T;
  }

  async #ownClient(): Promise<{ credentials: Credentials; client: Deno.HttpClient }> {
    const credentials = await this.#options.credentials.current();
    if (this.#own?.credentials !== credentials) {
      const { caCerts, clientCertificate } = credentials;
      const old = this.#own?.client;
      this.#own = {
        credentials,
        client: Deno.createHttpClient({ caCerts: [...caCerts], ...clientCertificate }),
      };
      old?.close();
    }
    return this.#own;
  }

  async #plainClient(): Promise<Deno.HttpClient> {
    const { caCerts } = await this.#options.credentials.current();
    if (this.#plain === undefined || this.#plain.caCerts.join() !== caCerts.join()) {
      const old = this.#plain?.client;
      this.#plain = { caCerts, client: Deno.createHttpClient({ caCerts: [...caCerts] }) };
      old?.close();
    }
    return this.#plain.client;
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
  return await new Blob(pieces as BlobPart[]).text();
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
