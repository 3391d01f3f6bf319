import { createGunzip, type Gunzip } from "node:zlib";
import type { TarManifest } from "./tar_manifest.ts";

/** What may come of few bytes at all, and then for each byte: more is a bomb, and is left to whoever unpacks it. */
const FREE_BYTES = 64 * 1024 * 1024;
const MAX_RATIO = 200;

/** Inflates a stream into a manifest piece by piece. At most one piece of it is held. */
export class GzipInflater {
  readonly #manifest: TarManifest;
  readonly #gunzip: Gunzip = createGunzip();
  readonly #over = Promise.withResolvers<void>();
  /** Lets the push go on that is waited for. */
  #goOn: () => void = () => {};
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(manifest: TarManifest) {
    this.#manifest = manifest;
    this.#gunzip.on("data", (bytes: Uint8Array) => this.#inflated(bytes));
    this.#gunzip.on("error", () => this.#stop("what is said to be gzip cannot be inflated"));
    this.#gunzip.on("end", () => this.#leave());
    this.#gunzip.on("close", () => this.#leave());
  }

  /** Resolves when all that came of these bytes is in the manifest. */
  async push(bytes: Uint8Array): Promise<void> {
    if (!this.#manifest.isReading) return;
    this.#bytesIn += bytes.length;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goOn = resolve;
    this.#gunzip.write(bytes.slice(), () => resolve());
    await promise;
  }

  async end(): Promise<void> {
    this.#gunzip.end();
    await this.#over.promise;
    this.#gunzip.destroy();
  }

  #inflated(bytes: Uint8Array): void {
    this.#bytesOut += bytes.length;
    if (this.#bytesOut > FREE_BYTES + MAX_RATIO * this.#bytesIn) {
      this.#stop(`it is inflated to more than ${MAX_RATIO} times its size`);
    } else {
      this.#manifest.push(bytes);
    }
  }

  #leave(): void {
    this.#over.resolve();
    this.#goOn();
  }

  #stop(reason: string): void {
    this.#manifest.stop(reason);
    this.#gunzip.destroy();
  }
}
