/** A front for tests, with a certificate of its own, and a client that sends and reads raw bytes. */

import { Buffer } from "node:buffer";
import { join } from "node:path";
import { issue, type Leaf, makeCa } from "../tests/support/certificates.ts";
import type { Handler } from "../routes/handler.ts";
import type { BadRequest } from "./bad_request.ts";
import { GatewayServer } from "./gateway_server.ts";
import { openSocketTuner } from "./no_delay.ts";
import type { ServerLimits } from "./server_options.ts";

/** The authority that all test fronts and clients trust. */
export const CA = await makeCa();
const tuner = openSocketTuner();

/** A running front and what it has told. */
export class TestFront implements AsyncDisposable {
  readonly badRequests: BadRequest[] = [];
  readonly reports: string[] = [];
  readonly #directory: string;
  server!: GatewayServer;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async start(
    handler: Handler,
    limits: Partial<ServerLimits> = {},
    { certificate, isTuned = true }: { certificate?: Leaf; isTuned?: boolean } = {},
  ): Promise<TestFront> {
    const front = new TestFront(await Deno.makeTempDir({ prefix: "postern-front-" }));
    const tls = { certFile: front.path("tls.crt"), keyFile: front.path("tls.key"), reloadSeconds: 3600 };
    await front.writeCertificate(certificate ?? await issue(CA));
    front.server = await GatewayServer.listen({ address: "127.0.0.1", port: 0, tls, limits }, handler, {
      tuner: isTuned ? tuner : undefined,
      onBadRequest: (bad) => front.badRequests.push(bad),
      report: (message) => front.reports.push(message),
    });
    return front;
  }

  path(name: string): string {
    return join(this.#directory, name);
  }

  async writeCertificate({ cert, key }: Leaf): Promise<void> {
    await Deno.writeTextFile(this.path("tls.crt"), cert);
    await Deno.writeTextFile(this.path("tls.key"), key);
  }

  async connect(): Promise<RawClient> {
    return await RawClient.connect(this.server.address.port);
  }

  /** Sends these bytes on a connection of their own, and reads until the front closes. */
  async exchange(text: string): Promise<string> {
    using client = await this.connect();
    await client.send(text);
    return await client.readAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await Deno.remove(this.#directory, { recursive: true });
  }
}

/** A client that hides nothing. Texts are Latin-1, so that each character is a byte. */
export class RawClient implements Disposable {
  readonly connection: Deno.TlsConn;
  #received = "";

  private constructor(connection: Deno.TlsConn) {
    this.connection = connection;
  }

  static async connect(port: number): Promise<RawClient> {
    const connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [CA.cert] });
    tuner?.tuneConnection(connection); // as every Go client does
    await connection.handshake();
    return new RawClient(connection);
  }

  async send(text: string): Promise<void> {
    const bytes = Buffer.from(text, "latin1");
    for (let offset = 0; offset < bytes.length;) {
      offset += await this.connection.write(bytes.subarray(offset));
    }
  }

  /** What was not read yet, up to and with `mark`. */
  async readUntil(mark: string): Promise<string> {
    for (;;) {
      const end = this.#received.indexOf(mark);
      if (end >= 0) {
        const text = this.#received.slice(0, end + mark.length);
        this.#received = this.#received.slice(end + mark.length);
        return text;
      }
      if (!await this.#readMore()) throw new Error(`closed before ${mark}: ${this.#received}`);
    }
  }

  /** The next bytes that were not read yet. */
  async readBytes(count: number): Promise<string> {
    while (this.#received.length < count) {
      if (!await this.#readMore()) throw new Error(`closed after ${this.#received.length} of ${count} bytes`);
    }
    const text = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return text;
  }

  /** All that comes until the front closes. */
  async readAll(): Promise<string> {
    while (await this.#readMore()) { /* until the end */ }
    const text = this.#received;
    this.#received = "";
    return text;
  }

  async #readMore(): Promise<boolean> {
    const buffer = new Uint8Array(64 * 1024);
    const count = await this.connection.read(buffer);
    if (count === null) return false;
    this.#received += new TextDecoder("latin1").decode(buffer.subarray(0, count));
    return true;
  }

  [Symbol.dispose](): void {
    try {
      this.connection.close();
    } catch {
      // It is closed already.
    }
  }
}
