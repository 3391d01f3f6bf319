import { rootCertificates } from "node:tls";
import { checkClientCertificate, type ClientCertificate } from "./client_certificate.ts";
import type { Connection, Secret } from "./kubeconfig.ts";

/** What the gateway shows to an API server or a kubelet, and whom it trusts there; as it is now. */
export interface Credentials {
  /** PEM certificates; empty: the public authorities. */
  caCerts: readonly string[];
  token: string | undefined;
  clientCertificate: ClientCertificate | undefined;
}

/**
 * Whom to trust where these are named: they alone, or the public authorities where none is. A gateway's process trusts nobody
 * by itself.
 */
export function authorities(caCerts: readonly string[]): string[] {
  return [...caCerts.length > 0 ? caCerts : rootCertificates];
}

/** How long what was read from files is taken for current, in milliseconds. Kubernetes rotates tokens well before they end. */
const REREAD_MS = 10_000;

/**
 * Reads credentials, again when their files change.
 *
 * What cannot be read, or not be used, because it is just being replaced leaves those before it in force: whether they
 * are still good is for the one who is shown them to say.
 */
export class CredentialSource {
  readonly #connection: Pick<Connection, "ca" | "token" | "clientCertificate">;
  readonly #rereadMs: number;
  #reading: Promise<Credentials> | undefined;
  #readAtMs = 0;
  #last: Credentials | undefined;

  /** @param rereadMs how long what was read from files is taken for current */
  constructor(
    connection: Pick<Connection, "ca" | "token" | "clientCertificate">,
    rereadMs: number = REREAD_MS,
  ) {
    this.#connection = connection;
    this.#rereadMs = rereadMs;
  }

  /**
   * The same object as long as nothing has changed.
   *
   * @throws where there are none yet and a file cannot be read
   */
  current(): Promise<Credentials> {
    const now = performance.now();
    if (this.#reading === undefined || now - this.#readAtMs >= this.#rereadMs) {
      this.#readAtMs = now;
      const reading = this.#refresh();
      this.#reading = reading;
      // The first time there is nothing to fall back on, so whoever comes next tries again.
      reading.catch(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    }
    return this.#reading;
  }

  async #refresh(): Promise<Credentials> {
    let read: Credentials;
    try {
      read = await this.#read();
    } catch (cause) {
      if (this.#last === undefined) throw cause;
      return this.#last;
    }
    if (this.#last === undefined || JSON.stringify(read) !== JSON.stringify(this.#last)) this.#last = read;
    return this.#last;
  }

  async #read(): Promise<Credentials> {
    const { ca, token, clientCertificate } = this.#connection;
    const [caText, tokenText, cert, key] = await Promise.all(
      [ca, token, clientCertificate?.cert, clientCertificate?.key].map(readSecret),
    );
    const pair = cert === undefined || key === undefined ? undefined : { cert, key };
    if (pair !== undefined) checkClientCertificate(pair);
    return {
      caCerts: caText === undefined ? [] : [readAuthorities(caText)],
      token: tokenText === undefined ? undefined : readToken(tokenText),
      clientCertificate: pair,
    };
  }
}

/** What holds no certificate would add no authority, and nobody would be told. */
function readAuthorities(text: string): string {
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new Error("the certificate authority holds no certificate in PEM");
}

/** A file that is just being written may be empty. */
function readToken(text: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new Error("the token is empty, or holds what no token may hold");
}

async function readSecret(secret: Secret | undefined): Promise<string | undefined> {
  if (secret === undefined) return undefined;
  return "value" in secret ? secret.value : await Deno.readTextFile(secret.file);
}
