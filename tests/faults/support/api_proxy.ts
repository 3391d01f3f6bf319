import { readFile } from "node:fs/promises";
import type { Cluster } from "../../e2e/support/cluster.ts";
import { type Ca, issue } from "../../support/certificates.ts";

/** What becomes of a request to the API server. */
export type Mode = "pass" | "too-many" | "error" | "hang";

/** Stands between gateway and API server, and answers in its place where a test wants that. */
export class ApiProxy implements AsyncDisposable {
  mode: Mode = "pass";
  /** The bearer token that was shown last. */
  lastToken = "";
  readonly #client: Deno.HttpClient;
  readonly #upstream: string;
  #server: Deno.HttpServer<Deno.NetAddr>;
  /** Requests that hang. */
  readonly #hanging = new Set<PromiseWithResolvers<Response>>();

  private constructor(upstream: string, client: Deno.HttpClient, pair: { cert: string; key: string }) {
    this.#upstream = upstream;
    this.#client = client;
    this.#server = this.#serve(0, pair);
  }

  /** @param ca signs the certificate that the gateway sees in place of the API server's */
  static async start(cluster: Cluster, ca: Ca): Promise<ApiProxy> {
    const caCerts = [await readFile(cluster.paths.caCertificate, "utf8")];
    return new ApiProxy(cluster.apiServerUrl, Deno.createHttpClient({ caCerts }), await issue(ca));
  }

  get url(): string {
    return `https://127.0.0.1:${this.#server.addr.port}`;
  }

  /** Shows another certificate from now on; connections are closed. */
  async changeAuthority(ca: Ca): Promise<void> {
    const { port } = this.#server.addr;
    const pair = await issue(ca);
    await this.#end();
    this.#server = this.#serve(port, pair);
  }

  #serve(port: number, pair: { cert: string; key: string }): Deno.HttpServer<Deno.NetAddr> {
    const onListen = () => {};
    return Deno.serve({ hostname: "127.0.0.1", port, onListen, ...pair }, (request) => this.#answer(request));
  }

  #answer(request: Request): Promise<Response> {
    this.lastToken = request.headers.get("Authorization")?.replace(/^Bearer /, "") ?? "";
    if (this.mode === "too-many") {
      return Promise.resolve(status(429, "TooManyRequests", "too many requests", { "Retry-After": "1" }));
    }
    if (this.mode === "error") {
      return Promise.resolve(status(500, "InternalError", "etcdserver: request timed out"));
    }
    if (this.mode === "hang") {
      const answer = Promise.withResolvers<Response>();
      this.#hanging.add(answer);
      return answer.promise;
    }
    const { pathname, search } = new URL(request.url);
    const { method, headers, body } = request;
    return fetch(this.#upstream + pathname + search, {
      ...{ method, headers, body, client: this.#client, redirect: "manual" },
    });
  }

  async #end(): Promise<void> {
    for (const answer of this.#hanging) answer.resolve(new Response(null, { status: 503 }));
    this.#hanging.clear();
    await this.#server.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    this.#client.close();
  }
}

function status(
  code: number,
  reason: string,
  message: string,
  headers: Record<string, string> = {},
): Response {
  const body = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", code, reason, message };
  return Response.json(body, { status: code, headers });
}
