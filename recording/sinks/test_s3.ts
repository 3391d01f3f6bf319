/** An S3 that holds a bucket in memory, for tests: it answers as it is told, or as S3 would. It looks at no signature. */

import { createHash } from "node:crypto";

/** What becomes of a request: it is answered so; dies before it was done, or after; or is never answered. */
export type Fate = Response | "lost" | "answer lost" | "hang" | undefined;

interface Held {
  bytes: Uint8Array<ArrayBuffer>;
  headers: Headers;
  modifiedAt: Date;
}

export class TestS3 implements AsyncDisposable {
  readonly objects = new Map<string, Held>();
  /** `PUT key`, with `?uploadId` and the like; in their order. */
  readonly requests: string[] = [];
  /** Headers of the last request. */
  lastHeaders = new Headers();
  fate: (request: string, number: number) => Fate = () => undefined;
  /** Keys in one answer to a listing. */
  pageSize = 1000;
  readonly uploads = new Map<string, Map<number, Uint8Array<ArrayBuffer>>>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #hanging = new Set<() => void>();

  constructor() {
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    this.#server = Deno.serve(options, (request) => this.#serve(request));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  text(key: string): string | undefined {
    const held = this.objects.get(key);
    return held && new TextDecoder().decode(held.bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const go of this.#hanging) go();
    await this.#server.shutdown();
  }

  async #serve(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const key = decodeURIComponent(url.pathname).split("/").slice(2).join("/");
    const query = [...url.searchParams.keys()].filter((name) =>
      /^(uploads|uploadId|delete|list-type|retention|legal-hold)$/.test(name)
    );
    const name = `${request.method} ${key}${query.length > 0 ? `?${query[0]}` : ""}`;
    this.requests.push(name);
    this.lastHeaders = request.headers;
    const body = new Uint8Array(await request.arrayBuffer());
    const fate = this.fate(name, this.requests.length);
    if (fate instanceof Response) return fate;
    if (fate === "hang") {
      await new Promise<void>((go) => this.#hanging.add(go));
      return new Response(null, { status: 500 });
    }
    if (fate === "lost") return refusal(503, "ServiceUnavailable");
    const answer = this.#answer(request, key, url.searchParams, body);
    return fate === "answer lost" ? refusal(503, "ServiceUnavailable") : answer;
  }

  #answer(
    request: Request,
    key: string,
    query: URLSearchParams,
    body: Uint8Array<ArrayBuffer>,
  ): Response {
    const upload = query.get("uploadId");
    switch (request.method) {
      case "GET":
      case "HEAD":
        return key === "" ? this.#list(query) : this.#get(request, key);
      case "PUT":
        if (query.has("retention") || query.has("legal-hold")) return this.#lock(key, body);
        if (upload !== null) return this.#putPart(upload, Number(query.get("partNumber")), body);
        return this.#put(request, key, body);
      case "DELETE":
        if (upload !== null) this.uploads.delete(upload);
        return new Response(null, { status: 204 });
      default:
        if (query.has("delete")) return this.#delete(new TextDecoder().decode(body));
        return upload === null ? this.#begin() : this.#complete(request, key, upload);
    }
  }

  #get(request: Request, key: string): Response {
    const held = this.objects.get(key);
    if (held === undefined) return refusal(404, "NoSuchKey");
    const isHead = request.method === "HEAD";
    const headers = new Headers({ "content-length": String(held.bytes.length) });
    for (const [name, value] of held.headers) {
      if (/^x-amz-(checksum-sha256|object-lock-.*)$/.test(name)) headers.set(name, value);
    }
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "") ?? [];
    if (from === undefined) return new Response(isHead ? null : held.bytes, { headers });
    if (Number(from) >= held.bytes.length) return refusal(416, "InvalidRange");
    return new Response(held.bytes.slice(Number(from), to ? Number(to) + 1 : undefined), { status: 206 });
  }

  #put(request: Request, key: string, bytes: Uint8Array<ArrayBuffer>): Response {
    if (request.headers.get("if-none-match") === "*" && this.objects.has(key)) {
      return refusal(412, "PreconditionFailed");
    }
    const digest = createHash("sha256").update(bytes).digest("base64");
    if ((request.headers.get("x-amz-checksum-sha256") ?? digest) !== digest) return refusal(400, "BadDigest");
    this.objects.set(key, { bytes, headers: request.headers, modifiedAt: new Date() });
    return new Response(null, { headers: { etag: '"1"' } });
  }

  #lock(key: string, body: Uint8Array): Response {
    const text = new TextDecoder().decode(body);
    const headers = this.objects.get(key)?.headers;
    const [, mode, until] = /<Mode>(.*)<\/Mode><RetainUntilDate>(.*)<\/RetainUntilDate>/.exec(text) ?? [];
    if (mode !== undefined && until !== undefined) {
      headers?.set("x-amz-object-lock-mode", mode);
      headers?.set("x-amz-object-lock-retain-until-date", until);
    }
    if (text.includes("<Status>ON</Status>")) headers?.set("x-amz-object-lock-legal-hold", "ON");
    return new Response(null);
  }

  #begin(): Response {
    const upload = crypto.randomUUID();
    this.uploads.set(upload, new Map());
    return xml(
      `<InitiateMultipartUploadResult><UploadId>${upload}</UploadId></InitiateMultipartUploadResult>`,
    );
  }

  #putPart(upload: string, number: number, bytes: Uint8Array<ArrayBuffer>): Response {
    const parts = this.uploads.get(upload);
    if (parts === undefined) return refusal(404, "NoSuchUpload");
    parts.set(number, bytes);
    return new Response(null, { headers: { etag: `"${number}&"` } });
  }

  #complete(request: Request, key: string, upload: string): Response {
    const parts = this.uploads.get(upload);
    if (parts === undefined) return refusal(404, "NoSuchUpload");
    if (request.headers.get("if-none-match") === "*" && this.objects.has(key)) {
      return refusal(412, "PreconditionFailed");
    }
    const ordered = [...parts].sort(([one], [other]) => one - other).map(([, bytes]) => bytes);
    const hash = createHash("sha256");
    for (const bytes of ordered) hash.update(createHash("sha256").update(bytes).digest());
    const headers = new Headers({ "x-amz-checksum-sha256": `${hash.digest("base64")}-${ordered.length}` });
    const bytes = new Uint8Array(ordered.flatMap((part) => [...part]));
    this.objects.set(key, { bytes, headers, modifiedAt: new Date() });
    this.uploads.delete(upload);
    return xml(`<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>`);
  }

  #delete(text: string): Response {
    for (const [, key] of text.matchAll(/<Key>([^<]*)<\/Key>/g)) this.objects.delete(key ?? "");
    return xml("<DeleteResult></DeleteResult>");
  }

  #list(query: URLSearchParams): Response {
    const after = query.get("continuation-token") ?? "";
    const keys = [...this.objects.keys()].filter((key) =>
      key.startsWith(query.get("prefix") ?? "") && key > after
    ).sort();
    const page = keys.slice(0, this.pageSize);
    const contents = page.map((key) => {
      const { bytes, modifiedAt } = this.objects.get(key)!;
      return `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${bytes.length}</Size>` +
        `<LastModified>${modifiedAt.toISOString()}</LastModified></Contents>`;
    }).join("");
    const isTruncated = keys.length > page.length;
    const next = isTruncated ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
    return xml(
      `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${next}${contents}</ListBucketResult>`,
    );
  }
}

/** What S3 says when it refuses. */
export function refusal(status: number, code: string, message = "no"): Response {
  const body = `<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return new Response(body, { status });
}

function xml(body: string): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`, {
    headers: { "content-type": "application/xml" },
  });
}
