/** What a receiver was posted. */
export interface Posted {
  path: string;
  headers: Headers;
  text: string;
}

/** How it answers; the default is 200. */
export type Answer = (posted: Posted) => Response | Promise<Response>;

/** An HTTP server on loopback that keeps what it is posted, for tests of sinks. */
export class TestReceiver implements AsyncDisposable {
  readonly posted: Posted[] = [];
  /** May be changed while it runs. */
  answer: Answer = () => new Response("{}");
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  /** @param options port 0 is a free one; a certificate makes it speak TLS */
  constructor({ port = 0, tls }: { port?: number; tls?: { cert: string; key: string } } = {}) {
    const options = { hostname: "127.0.0.1", port, onListen: () => {}, ...tls };
    this.#server = Deno.serve(options, async (request) => {
      const posted = {
        path: new URL(request.url).pathname,
        headers: request.headers,
        text: await request.text(),
      };
      const answer = await this.answer(posted);
      if (answer.ok) this.posted.push(posted);
      return answer;
    });
  }

  get port(): number {
    return this.#server.addr.port;
  }

  /** Of everything answered with success, in order. */
  auditIds(): string[] {
    return this.posted.flatMap(({ text }) =>
      JSON.parse(text).items.map(({ auditID }: { auditID: string }) => auditID)
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Waits until it is so; the test's own deadline ends it otherwise. */
export async function until(condition: () => boolean, ms = 30_000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
