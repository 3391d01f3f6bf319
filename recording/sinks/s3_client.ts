import { Buffer } from "node:buffer";
import { AwsV4Signer } from "aws4fetch";
import { createHash } from "node:crypto";
import { rootCertificates } from "node:tls";
import { StoreError } from "../store.ts";
import { type S3CredentialFiles, type S3Credentials, S3CredentialSource } from "./s3_credentials.ts";
import { xmlText } from "./s3_xml.ts";

/** Where a bucket is, and how long its store may take. */
export interface S3ClientOptions {
  /** `https://s3.eu-central-1.amazonaws.com`, without a path. */
  endpoint: string;
  region: string;
  bucket: string;
  /** `path`: `endpoint/bucket/key`. `virtual-host`: the bucket is the first label of the host. @default "path" */
  addressing?: "path" | "virtual-host";
  /** Certificates in PEM that are trusted beside the platform's own. */
  caFile?: string;
  credentials: S3CredentialFiles;
  /** One request, in milliseconds, from its begin to the last byte of its answer. @default 10_000 */
  requestTimeoutMs?: number;
  /** A request with all that are made again for it, in milliseconds. @default 15_000 */
  deadlineMs?: number;
  /** How often a request is made at most. @default 5 */
  maxAttempts?: number;
  /** The longest pause before the first repetition, doubled with each; in milliseconds. @default 100 */
  backoffMs?: number;
}

/** One request; what it sends is signed with it. */
export interface S3Request {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Of an object; absent: the bucket. */
  key?: string;
  query?: Readonly<Record<string, string>>;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array<ArrayBuffer>;
  /** SHA-256 of the body. */
  sha256?: Uint8Array;
  /** Whether the store is given that digest to compare and keep. @default true */
  hasChecksum?: boolean;
}

/** When a larger undertaking must be over, by `performance.now()`. */
export type Until = number;

/** Longest answer that is read as text, in bytes: a thousand keys are a quarter of it. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;

/** Longest pause between two attempts, in milliseconds. */
const MAX_BACKOFF_MS = 5_000;

/** SHA-256 of no bytes, hexadecimal. */
const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Answers below 500 that say "later", by status or by S3's own code. */
const LATER_STATUS: ReadonlySet<number> = new Set([408, 409, 429]);
const LATER_CODE: ReadonlySet<string> = new Set(["RequestTimeout", "SlowDown", "ThrottlingException"]);

/** What a failed attempt leads to: another one, one with credentials that are read anew, or the end. */
interface Failure {
  error: StoreError;
  next: "retry" | "reread" | "stop";
}

/**
 * Signed requests to one bucket. What fails for a while is made again, with growing pauses, until the deadline; what the
 * store refuses is not. Errors name the code that S3 gave, never its text, which may quote what the request was signed with.
 */
export class S3Client implements Disposable {
  readonly #options: Required<Omit<S3ClientOptions, "caFile" | "credentials">>;
  readonly #base: string;
  readonly #credentials: S3CredentialSource;
  readonly #http: Deno.HttpClient;

  /**
   * @param caCerts PEM; trusted beside the public ones
   * @throws {TypeError} where the endpoint is no URL of a host
   */
  constructor(options: S3ClientOptions, caCerts: readonly string[] = []) {
    this.#options = {
      addressing: "path",
      requestTimeoutMs: 10_000,
      deadlineMs: 15_000,
      maxAttempts: 5,
      backoffMs: 100,
      ...options,
    };
    this.#base = baseUrl(this.#options);
    this.#credentials = new S3CredentialSource(options.credentials);
    this.#http = Deno.createHttpClient({
      caCerts: [...rootCertificates, ...caCerts],
      http2: false,
      poolMaxIdlePerHost: 64,
    });
  }

  /** @throws where the authorities cannot be read */
  static async open(options: S3ClientOptions): Promise<S3Client> {
    const { caFile } = options;
    return new S3Client(options, caFile === undefined ? [] : [await Deno.readTextFile(caFile)]);
  }

  /** How long a request may take with all its attempts, in milliseconds. */
  get deadlineMs(): number {
    return this.#options.deadlineMs;
  }

  /** How long nothing may come, in milliseconds. */
  get requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs;
  }

  /**
   * Makes a request until it is answered with success.
   *
   * @param read what of the answer is wanted; must read or cancel its body. Called again with each attempt
   * @param until when all of it must be over, where that is before the deadline
   * @throws {StoreError} `not_found` 404, `exists` 412, `refused` other 4xx and 501, `unavailable` all else, and what `read` throws
   */
  async send<T>(request: S3Request, read: (response: Response) => Promise<T>, until?: Until): Promise<T> {
    const { deadlineMs, maxAttempts, backoffMs } = this.#options;
    const deadline = Math.min(until ?? Infinity, performance.now() + deadlineMs);
    let wasReread = false;
    for (let attempt = 1;; attempt++) {
      const result = await this.#attempt(request, read, deadline);
      if ("value" in result) return result.value;
      const { error, next } = result;
      if (next === "stop" || (next === "reread" && wasReread)) throw error;
      if (next === "reread") {
        const before = await this.#credentials.current();
        wasReread = true;
        if (await this.#credentials.reread() === before) throw error;
        continue;
      }
      // From a half to the whole, so that those who failed together do not come back together.
      const pauseMs = Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
      if (attempt >= maxAttempts || performance.now() + pauseMs >= deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  [Symbol.dispose](): void {
    this.#http.close();
  }

  async #attempt<T>(
    request: S3Request,
    read: (response: Response) => Promise<T>,
    deadline: number,
  ): Promise<{ value: T } | Failure> {
    const abort = new AbortController();
    const leftMs = Math.min(this.#options.requestTimeoutMs, deadline - performance.now());
    const timer = setTimeout(() => abort.abort(), Math.max(0, leftMs));
    try {
      const signed = await this.#sign(request);
      // A redirect would be asked with the same signature, which is for another host: S3 means a wrong region by it.
      const options = {
        ...signed.init,
        redirect: "manual",
        signal: abort.signal,
        client: this.#http,
      } as const;
      const response = await fetch(signed.url, options);
      if (!response.ok) return await failureOf(request, response);
      return { value: await read(response) };
    } catch (cause) {
      if (cause instanceof StoreError) return { error: cause, next: "stop" };
      const why = abort.signal.aborted
        ? `gave no answer within ${(leftMs / 1000).toFixed(1)} s`
        : "cannot be reached";
      const error = new StoreError("unavailable", `the recording store ${why} (${describe(request)})`, {
        cause,
      });
      return { error, next: "retry" };
    } finally {
      clearTimeout(timer);
    }
  }

  async #sign(request: S3Request): Promise<{ url: string; init: RequestInit }> {
    const { method, key, query = {}, headers = {}, body, sha256, hasChecksum = true } = request;
    const { accessKeyId, secretAccessKey, sessionToken, derivedKeys } = await this.#readCredentials();
    const search = Object.entries(query).map(([name, value]) => `${name}=${encode(value)}`).join("&");
    const path = key === undefined ? "" : key.split("/").map(encode).join("/");
    const digest = body === undefined ? undefined : sha256 ?? await sha256Of(body);
    const signer = new AwsV4Signer({
      method,
      url: `${this.#base}${path}${search && `?${search}`}`,
      headers: {
        ...headers,
        "x-amz-content-sha256": digest === undefined ? EMPTY_SHA256 : Buffer.from(digest).toString("hex"),
        ...(digest && hasChecksum && {
          "x-amz-sdk-checksum-algorithm": "SHA256",
          "x-amz-checksum-sha256": base64(digest),
        }),
      },
      accessKeyId,
      secretAccessKey,
      ...(sessionToken !== undefined && { sessionToken }),
      service: "s3",
      region: this.#options.region,
      cache: derivedKeys,
    });
    const signed = await signer.sign();
    return {
      url: signed.url.href,
      init: { method, headers: signed.headers, ...(body && { body }) },
    };
  }

  async #readCredentials(): Promise<S3Credentials> {
    try {
      return await this.#credentials.current();
    } catch (cause) {
      throw new StoreError("refused", "the recording store's credentials cannot be read", { cause });
    }
  }
}

/** @returns 32 bytes */
export async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** As the headers of S3 hold digests. */
export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** Some stores still want it for requests whose body is XML. */
export function contentMd5(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}

/** For answers of which only the success counts. */
export async function ignoreBody(response: Response): Promise<void> {
  await response.body?.cancel();
}

/** @throws {StoreError} `damaged` where it is longer than any answer */
export async function readText(response: Response): Promise<string> {
  return new TextDecoder().decode(await readBytes(response, MAX_TEXT_BYTES));
}

/**
 * @param maxBytes refused where the body is longer
 * @throws {StoreError} `damaged`
 */
export async function readBytes(response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > maxBytes) {
      throw new StoreError("damaged", "the recording store sent more than was asked for");
    }
    parts.push(part);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function failureOf(request: S3Request, response: Response): Promise<Failure> {
  const { status } = response;
  const said = xmlText(await readText(response).catch(() => ""), "Code") ?? "";
  // Nothing but a code: whatever else a store might put there is not repeated.
  const code = /^[A-Za-z0-9.]{1,64}$/.test(said) ? said : "";
  const answer = `${code ? `${code}, ` : ""}HTTP ${status}`;
  const fail = (kind: StoreError["code"], what: string, next: Failure["next"] = "stop"): Failure => ({
    error: new StoreError(kind, `the recording store ${what}: ${answer} (${describe(request)})`),
    next,
  });
  if (status === 404) return fail("not_found", "has no such thing");
  if (status === 412) return fail("exists", "has one already");
  if (LATER_STATUS.has(status) || LATER_CODE.has(code) || (status >= 500 && status !== 501)) {
    return fail("unavailable", "cannot do it now", "retry");
  }
  if (status === 401 || status === 403 || code === "ExpiredToken" || code === "InvalidToken") {
    return fail("refused", "does not allow it", "reread");
  }
  return fail("refused", "refused");
}

function describe({ method, key }: S3Request): string {
  return key === undefined ? method : `${method} ${key}`;
}

function baseUrl(
  { endpoint, bucket, addressing }: Required<Omit<S3ClientOptions, "caFile" | "credentials">>,
) {
  const url = new URL(endpoint);
  const isPlain = url.pathname === "/" && !url.search && !url.hash && !url.username && !url.password;
  if (!/^https?:$/.test(url.protocol) || !isPlain) {
    throw new TypeError("the endpoint of the recording store is no http: or https: URL without a path");
  }
  if (addressing === "path") return `${url.origin}/${encode(bucket)}/`;
  return `${url.protocol}//${bucket}.${url.host}/`;
}

/** RFC 3986: as the signature counts it. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
