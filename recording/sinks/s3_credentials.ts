/** Where the credentials of an S3 store are, one a file, as a Secret mounts them. */
export interface S3CredentialFiles {
  accessKeyIdFile: string;
  secretAccessKeyFile: string;
  /** For temporary credentials. */
  sessionTokenFile?: string;
}

/** What requests are signed with, as it is now. */
export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string | undefined;
  /** Keys that are derived from these, kept from one request to the next. */
  derivedKeys: Map<string, ArrayBuffer>;
}

/** How long what was read is taken for current, in milliseconds. */
const REREAD_MS = 10_000;

/** Reads credentials, again when they may have changed. What cannot be read just now leaves those before it in force. */
export class S3CredentialSource {
  readonly #files: S3CredentialFiles;
  readonly #rereadMs: number;
  #reading: Promise<S3Credentials> | undefined;
  #readAtMs = 0;
  #last: S3Credentials | undefined;

  /** @param rereadMs how long what was read is taken for current */
  constructor(files: S3CredentialFiles, rereadMs: number = REREAD_MS) {
    this.#files = files;
    this.#rereadMs = rereadMs;
  }

  /**
   * The same object as long as nothing has changed.
   *
   * @throws where there are none yet and a file cannot be read; the message names the file and nothing that it holds
   */
  current(): Promise<S3Credentials> {
    if (this.#reading === undefined || performance.now() - this.#readAtMs >= this.#rereadMs) {
      return this.reread();
    }
    return this.#reading;
  }

  /** Reads them now: a store refused those there were. */
  reread(): Promise<S3Credentials> {
    this.#readAtMs = performance.now();
    const reading = this.#refresh();
    this.#reading = reading;
    reading.catch(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    return reading;
  }

  async #refresh(): Promise<S3Credentials> {
    try {
      const { accessKeyIdFile, secretAccessKeyFile, sessionTokenFile } = this.#files;
      const [accessKeyId, secretAccessKey, sessionToken] = await Promise.all([
        readCredential(accessKeyIdFile),
        readCredential(secretAccessKeyFile),
        sessionTokenFile === undefined ? undefined : readCredential(sessionTokenFile),
      ]);
      const last = this.#last;
      const isSame = last !== undefined && last.accessKeyId === accessKeyId &&
        last.secretAccessKey === secretAccessKey && last.sessionToken === sessionToken;
      if (!isSame) this.#last = { accessKeyId, secretAccessKey, sessionToken, derivedKeys: new Map() };
    } catch (cause) {
      if (this.#last === undefined) throw cause;
    }
    if (this.#last === undefined) throw new Error("there are no credentials");
    return this.#last;
  }
}

/** A file that is just being written may be empty. */
async function readCredential(file: string): Promise<string> {
  const text = (await Deno.readTextFile(file)).trim();
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new Error(`${file} is empty, or holds what no credential may hold`);
}
