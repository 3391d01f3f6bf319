import { rootCertificates } from "node:tls";
import { type Credentials, CredentialSource } from "../../kube/credentials.ts";
import { concat } from "../sink.ts";

/** Whom documents are posted to, and what is shown to them. */
export interface PostEndpoint {
  url: string;
  /** Certificate authorities that are trusted beside the platform's own, in PEM. */
  caFile?: string | undefined;
  /** A bearer token, read again when it changes. */
  tokenFile?: string | undefined;
  /** Headers, `name: value` one a line, read again for each request. */
  headersFile?: string | undefined;
  clientCertificateFile?: string | undefined;
  clientKeyFile?: string | undefined;
  /** How long the answer to one request may take, its body included. */
  timeoutSeconds: number;
}

/** An answer, whatever it says. */
export interface PostAnswer {
  /** HTTP status code. */
  status: number;
  /** The body's first {@linkcode MAX_ANSWER_BYTES}. */
  body: Uint8Array;
  /** How long it asks us to wait, in milliseconds. */
  retryAfterMs: number;
}

/** There was no answer. Tells nothing of the request, neither its token nor its query. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
}

/** As much as is read of an answer's body, in bytes. */
export const MAX_ANSWER_BYTES = 65536;

/** Posts JSON documents to one URL, over connections that are kept. A redirect is not followed: an answer like any other. */
export class PostClient implements Disposable {
  readonly #endpoint: PostEndpoint;
  readonly #source: CredentialSource;
  #http: { credentials: Credentials; client: Deno.HttpClient } | undefined;
  #isClosed = false;

  constructor(endpoint: PostEndpoint) {
    const { caFile, tokenFile, clientCertificateFile, clientKeyFile } = endpoint;
    this.#endpoint = endpoint;
    this.#source = new CredentialSource({
      ca: fileOf(caFile),
      token: fileOf(tokenFile),
      clientCertificate: clientCertificateFile === undefined || clientKeyFile === undefined
        ? undefined
        : { cert: { file: clientCertificateFile }, key: { file: clientKeyFile } },
    });
  }

  /** Reads what is shown, so that a start fails where a request would. */
  async check(): Promise<void> {
    await this.#source.current();
    await this.#headers(undefined);
  }

  /**
   * @param body a JSON document
   * @throws {NoAnswer} where there is none in time, or `signal` ends it
   */
  async post(body: string, signal: AbortSignal): Promise<PostAnswer> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), this.#endpoint.timeoutSeconds * 1000);
    try {
      const { credentials: { token }, client } = await this.#client();
      const init: RequestInit & { client: Deno.HttpClient } = {
        method: "POST",
        headers: await this.#headers(token),
        body,
        client,
        redirect: "manual",
        signal: AbortSignal.any([signal, timeout.signal]),
      };
      const answer = await fetch(this.#endpoint.url, init);
      return {
        status: answer.status,
        body: await firstBytes(answer),
        retryAfterMs: readRetryAfter(answer.headers.get("Retry-After")),
      };
    } catch (error) {
      if (timeout.signal.aborted) throw new NoAnswer(`no answer within ${this.#endpoint.timeoutSeconds} s`);
      throw new NoAnswer(`no answer: ${reasonOf(error)}`); // without its cause, which names the URL
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#http?.client.close();
    this.#http = undefined;
  }

  async #client(): Promise<{ credentials: Credentials; client: Deno.HttpClient }> {
    const credentials = await this.#source.current();
    if (this.#isClosed) throw new Error("the sink is closed");
    if (this.#http?.credentials !== credentials) {
      const { caCerts, clientCertificate } = credentials;
      const client = Deno.createHttpClient({
        http2: false,
        poolMaxIdlePerHost: 1,
        poolIdleTimeout: 30_000,
        caCerts: [...rootCertificates, ...caCerts],
        ...clientCertificate,
      });
      this.#http?.client.close();
      this.#http = { credentials, client };
    }
    return this.#http;
  }

  async #headers(token: string | undefined): Promise<Headers> {
    const { headersFile } = this.#endpoint;
    const headers = headersFile === undefined
      ? new Headers()
      : readHeaders(await Deno.readTextFile(headersFile));
    headers.set("Content-Type", "application/json");
    headers.set("User-Agent", "postern");
    if (token !== undefined) headers.set("Authorization", `Bearer ${token}`);
    return headers;
  }
}

/** `https://host:port/path`: a URL without the query, in which some receivers have their token. */
export function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

function fileOf(path: string | undefined): { file: string } | undefined {
  return path === undefined ? undefined : { file: path };
}

/** @throws without telling what is in the file, for it is secret */
function readHeaders(text: string): Headers {
  const headers = new Headers();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const [, name = "", value = ""] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e][\x20-\x7e]*?)\s*$/
      .exec(line) ?? [];
    if (name === "") throw new Error(`line ${index + 1} of the headers file is not "name: value"`);
    headers.set(name, value);
  }
  return headers;
}

async function firstBytes(answer: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop early cancels the rest.
  for await (const chunk of answer.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_ANSWER_BYTES) break;
  }
  return concat(chunks).subarray(0, MAX_ANSWER_BYTES);
}

/** Seconds, or a date; what is neither is no wish. */
function readRetryAfter(header: string | null): number {
  if (header === null) return 0;
  const ms = /^[0-9]{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

/** Why there was no answer, of which the platform names the whole URL first, in whose query some receivers have their token. */
function reasonOf(error: unknown): string {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const reason = cause instanceof Error
    ? /client error \([A-Za-z]+\)(?:: (.*))?$/s.exec(cause.message)
    : null;
  const told = reason?.[1] ?? message;
  return told.includes("://") ? "the request failed" : told;
}
