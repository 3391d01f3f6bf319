import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { StoreError } from "../store.ts";
import {
  base64,
  contentMd5,
  ignoreBody,
  readBytes,
  readText,
  type S3Client,
  sha256Of,
  type Until,
} from "./s3_client.ts";
import { escapeXml, xmlElements, xmlText } from "./s3_xml.ts";

/** An object in a listing. */
export interface ListedObject {
  key: string;
  bytes: number;
  modifiedAt: Date;
}

/** What a store says of an object. */
export interface ObjectFacts {
  bytes: number;
  /** Base64; of an object made of parts, of their digests, and followed by their number. Not every store tells. */
  sha256: string | undefined;
  isRetained: boolean;
  isHeld: boolean;
}

/** What keeps an object from being removed. */
export interface ObjectLock {
  mode: "GOVERNANCE" | "COMPLIANCE";
  /** Until when; `undefined`: for no time of its own. */
  retainUntil: Date | undefined;
  hasLegalHold: boolean;
}

/** A part of an object that is being put together. */
export interface UploadedPart {
  etag: string;
  sha256: Uint8Array;
}

/** As S3 has it. */
const MAX_DELETIONS = 1000;

const LIST_PAGE = 1000;

const WITH_CHECKSUM = { "x-amz-checksum-mode": "ENABLED" };

/** What there is to do with the objects of a bucket. Everything throws {@linkcode StoreError}. */
export class S3Objects {
  readonly #client: S3Client;
  readonly #onlyNew: Readonly<Record<string, string>>;
  readonly #pageSize: number;

  /**
   * @param hasConditions whether the store refuses `If-None-Match: *` where there is such an object
   * @param pageSize objects in one answer to a listing
   */
  constructor(client: S3Client, hasConditions: boolean, pageSize: number = LIST_PAGE) {
    this.#client = client;
    this.#pageSize = pageSize;
    this.#onlyNew = hasConditions ? { "if-none-match": "*" } : {};
  }

  /**
   * Writes an object that is not there yet.
   *
   * @throws {StoreError} `exists`
   */
  async put(
    key: string,
    body: Uint8Array<ArrayBuffer>,
    headers: Readonly<Record<string, string>>,
    until?: Until,
  ): Promise<void> {
    if (this.#onlyNew["if-none-match"] === undefined && await this.head(key, until) !== undefined) {
      throw new StoreError("exists", `the recording store has one already (PUT ${key})`);
    }
    const sha256 = await sha256Of(body);
    const all = { ...headers, ...this.#onlyNew };
    await this.#client.send({ method: "PUT", key, body, sha256, headers: all }, ignoreBody, until);
  }

  /**
   * As `put`, but takes what is there for what was written where it is the same to the byte: a request whose answer was lost
   * is made again, and finds itself.
   *
   * @throws {StoreError} `exists`
   */
  async putOnce(
    key: string,
    body: Uint8Array<ArrayBuffer>,
    headers: Readonly<Record<string, string>>,
    until: Until,
  ): Promise<void> {
    try {
      await this.put(key, body, headers, until);
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || thrown.code !== "exists") throw thrown;
      const there = await this.head(key, until);
      if (there?.bytes !== body.length) throw thrown;
      if (!sameBytes(await this.get(key, body.length, until), body)) throw thrown;
    }
  }

  /** @returns `undefined` where there is none */
  async head(key: string, until?: Until): Promise<ObjectFacts | undefined> {
    try {
      return await this.#client.send(
        { method: "HEAD", key, headers: WITH_CHECKSUM },
        async (response) => {
          await ignoreBody(response);
          const bytes = Number(response.headers.get("content-length") ?? NaN);
          return {
            bytes,
            sha256: response.headers.get("x-amz-checksum-sha256") ?? undefined,
            isRetained: response.headers.get("x-amz-object-lock-mode") !== null,
            isHeld: response.headers.get("x-amz-object-lock-legal-hold") === "ON",
          };
        },
        until,
      );
    } catch (thrown) {
      if (thrown instanceof StoreError && thrown.code === "not_found") return undefined;
      throw thrown;
    }
  }

  /**
   * A whole object, compared with what the store says of it.
   *
   * @param bytes how long it is
   * @throws {StoreError} `damaged` where it is not
   */
  get(key: string, bytes: number, until?: Until): Promise<Uint8Array<ArrayBuffer>> {
    return this.#client.send(
      { method: "GET", key, headers: WITH_CHECKSUM },
      async (response) => {
        const said = response.headers.get("x-amz-checksum-sha256");
        const body = await readBytes(response, bytes);
        const isWhole = body.length === bytes &&
          (said === null || said.includes("-") || said === base64(await sha256Of(body)));
        if (!isWhole) throw new StoreError("damaged", `the recording store gave back another ${key}`);
        return body;
      },
      until,
    );
  }

  /** @returns fewer bytes where the object ends before */
  async getRange(
    key: string,
    offset: number,
    bytes: number,
    until?: Until,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const headers = { range: `bytes=${offset}-${offset + bytes - 1}` };
    return await this.#client.send({ method: "GET", key, headers }, (response) => {
      if (response.status !== 206) throw new StoreError("damaged", "the recording store gave no range");
      return readBytes(response, bytes);
    }, until);
  }

  /**
   * Reads on for as long as it lasts; no pause may be longer than a request may take.
   *
   * @param end before which byte it ends
   */
  async *stream(key: string, offset: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
    const last = Number.isFinite(end) ? end - 1 : "";
    const headers = { range: `bytes=${offset}-${last}` };
    const body = await this.#client.send({ method: "GET", key, headers }, async (response) => {
      if (response.status === 206) return response.body;
      await ignoreBody(response);
      throw new StoreError("damaged", "the recording store gave no range");
    });
    if (body === null) return;
    const reader = body.getReader();
    try {
      for (;;) {
        const { done, value } = await this.#inTime(reader.read(), key);
        if (done) return;
        yield value;
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  /** In the order of their keys, a page at a time. */
  async *list(prefix: string): AsyncGenerator<ListedObject, void, undefined> {
    let token: string | undefined;
    do {
      const query = {
        "list-type": "2",
        "encoding-type": "url",
        "max-keys": String(this.#pageSize),
        prefix,
        ...(token !== undefined && { "continuation-token": token }),
      };
      const page = await this.#client.send({ method: "GET", query }, readText);
      for (const entry of xmlElements(page, "Contents")) yield listedObject(entry);
      const isTruncated = xmlText(page, "IsTruncated") === "true";
      const next = xmlText(page, "NextContinuationToken");
      if (isTruncated && (!next || next === token)) throw notUnderstood("a listing");
      token = isTruncated ? next : undefined;
    } while (token !== undefined);
  }

  /** Removes objects, the last one last. Those that are not there are no error. */
  async remove(keys: readonly string[], until?: Until): Promise<void> {
    for (let at = 0; at < keys.length; at += MAX_DELETIONS) {
      const objects = keys.slice(at, at + MAX_DELETIONS)
        .map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join("");
      const body = document("Delete", `<Quiet>true</Quiet>${objects}`);
      const headers = { "content-md5": contentMd5(body) };
      const query = { delete: "" };
      const answer = await this.#client.send({ method: "POST", query, headers, body }, readText, until);
      const [error] = xmlElements(answer, "Error");
      if (error === undefined) continue;
      const code = xmlText(error, "Code")?.replaceAll(/[^A-Za-z0-9.]/g, "").slice(0, 64);
      throw new StoreError("refused", `the recording store removes not everything that it should: ${code}`);
    }
  }

  /** Locks an object that is there, as far as the store does not say that it is: not all take a lock with an upload's begin. */
  async ensureLock(
    key: string,
    { mode, retainUntil, hasLegalHold }: ObjectLock,
    until: Until,
  ): Promise<void> {
    const facts = await this.head(key, until);
    if (retainUntil !== undefined && !facts?.isRetained) {
      const date = `<RetainUntilDate>${retainUntil.toISOString()}</RetainUntilDate>`;
      await this.#putSubresource(
        key,
        "retention",
        document("Retention", `<Mode>${mode}</Mode>${date}`),
        until,
      );
    }
    if (hasLegalHold && !facts?.isHeld) {
      await this.#putSubresource(key, "legal-hold", document("LegalHold", "<Status>ON</Status>"), until);
    }
  }

  /** Begins to put an object together. @returns what names the attempt */
  async beginUpload(
    key: string,
    headers: Readonly<Record<string, string>>,
    until: Until,
  ): Promise<string> {
    const all = { ...headers, "x-amz-checksum-algorithm": "SHA256" };
    const answer = await this.#client.send(
      { method: "POST", key, query: { uploads: "" }, headers: all },
      readText,
      until,
    );
    const upload = xmlText(answer, "UploadId");
    if (!upload) throw notUnderstood("the begin of an upload");
    return upload;
  }

  /**
   * @param number from 1
   * @param sha256 of the body
   */
  async putPart(
    key: string,
    upload: string,
    number: number,
    body: Uint8Array<ArrayBuffer>,
    sha256: Uint8Array,
    until: Until,
  ): Promise<UploadedPart> {
    const query = { partNumber: String(number), uploadId: upload };
    const etag = await this.#client.send({ method: "PUT", key, query, body, sha256 }, async (response) => {
      await ignoreBody(response);
      return response.headers.get("etag");
    }, until);
    if (!etag) throw notUnderstood("a part");
    return { etag, sha256 };
  }

  /**
   * Makes the parts one object, where there is none yet.
   *
   * @throws {StoreError} `exists`; `not_found` where the upload is over, perhaps because this was already done
   */
  async completeUpload(
    key: string,
    upload: string,
    parts: readonly UploadedPart[],
    until: Until,
  ): Promise<void> {
    const list = parts.map(({ etag, sha256 }, index) =>
      `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escapeXml(etag)}</ETag>` +
      `<ChecksumSHA256>${base64(sha256)}</ChecksumSHA256></Part>`
    );
    // Its checksum headers would be taken for the object's.
    const body = document("CompleteMultipartUpload", list.join(""));
    const request = {
      method: "POST",
      key,
      query: { uploadId: upload },
      headers: this.#onlyNew,
      body,
    } as const;
    const answer = await this.#client.send({ ...request, hasChecksum: false }, readText, until);
    // It is answered with 200 before it is done: what became of it is in the body.
    if (xmlText(answer, "ETag") === undefined) {
      throw new StoreError("unavailable", `the recording store could not put ${key} together`);
    }
  }

  /** Gives an upload up, so that its parts cost nothing. */
  async abortUpload(key: string, upload: string): Promise<void> {
    await this.#client.send({ method: "DELETE", key, query: { uploadId: upload } }, ignoreBody);
  }

  async #putSubresource(
    key: string,
    name: string,
    body: Uint8Array<ArrayBuffer>,
    until: Until,
  ): Promise<void> {
    const headers = { "content-md5": contentMd5(body) };
    await this.#client.send({ method: "PUT", key, query: { [name]: "" }, headers, body }, ignoreBody, until);
  }

  async #inTime<T>(work: Promise<T>, key: string): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const { requestTimeoutMs } = this.#client;
    const timer = setTimeout(() => {
      const why = `the recording store sent nothing for ${requestTimeoutMs / 1000} s (GET ${key})`;
      reject(new StoreError("unavailable", why));
    }, requestTimeoutMs);
    try {
      return await Promise.race([work, promise]);
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      throw new StoreError("unavailable", `the recording store stopped sending (GET ${key})`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What the store should say of an object of these parts. */
export function digestOfParts(parts: readonly UploadedPart[]): string {
  const hash = createHash("sha256");
  for (const { sha256 } of parts) hash.update(sha256);
  return `${hash.digest("base64")}-${parts.length}`;
}

/** Whether two arrays hold the same. */
export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function listedObject(entry: string): ListedObject {
  const key = xmlText(entry, "Key");
  const bytes = Number(xmlText(entry, "Size") || NaN);
  const modifiedAt = new Date(xmlText(entry, "LastModified") ?? "");
  if (!key || !Number.isSafeInteger(bytes) || Number.isNaN(modifiedAt.getTime())) {
    throw notUnderstood("a listing");
  }
  return { key: decodeKey(key), bytes, modifiedAt };
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    throw notUnderstood("a listing");
  }
}

function document(root: string, inside: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(
    `<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inside}</${root}>`,
  );
}

function notUnderstood(what: string): StoreError {
  return new StoreError("unavailable", `the recording store answered with ${what} that is none`);
}
