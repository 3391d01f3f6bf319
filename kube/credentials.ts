import type { Connection, Secret } from "./kubeconfig.ts";

/** What the gateway shows to an API server or a kubelet, and whom it trusts there; as it is now. */
export interface Credentials {
  /** PEM certificates; empty: the platform's own authorities. */
  caCerts: readonly string[];
  token: string | undefined;
  /** PEM. */
  clientCertificate: { cert: string; key: string } | undefined;
}

/** How long what was read from files is taken for current, in milliseconds. Kubernetes rotates tokens well before they end. */
const REREAD_MS = 10_000;

/** Reads credentials, again when their files change. */
export class CredentialSource {
  readonly #connection: Pick<Connection, "ca" | "token" | "clientCertificate">;
  #current: Promise<Credentials> | undefined;
  #readAtMs = 0;
  #last: Credentials | undefined;

  constructor(connection: Pick<Connection, "ca" | "token" | "clientCertificate">) {
    this.#connection = connection;
  }

  /**
   * The same object as long as nothing has changed.
   *
   * @throws where a file cannot be read: half a rotation is no credential
   */
  async current(): Promise<Credentials> {
    const now = performance.now();
    if (this.#current === undefined || now - this.#readAtMs >= REREAD_MS) {
      this.#readAtMs = now;
      this.#current = this.#read();
    }
    try {
      return await this.#current;
    } catch (cause) {
      this.#current = undefined;
      throw cause;
    }
  }

  async #read(): Promise<Credentials> {
    const { ca, token, clientCertificate } = this.#connection;
    const [caText, tokenText, cert, key] = await Promise.all(
      [ca, token, clientCertificate?.cert, clientCertificate?.key].map(readSecret),
    );
    const read: Credentials = {
      caCerts: caText === undefined ? [] : [caText],
      token: tokenText?.trim() || undefined,
      clientCertificate: cert === undefined || key === undefined ? undefined : { cert, key },
    };
    if (this.#last === undefined || JSON.stringify(read) !== JSON.stringify(this.#last)) this.#last = read;
    return this.#last;
  }
}

async function readSecret(secret: Secret | undefined): Promise<string | undefined> {
  if (secret === undefined) return undefined;
  return "value" in secret ? secret.value : await Deno.readTextFile(secret.file);
}
