import type { Handler, RequestContext } from "../../../routes/handler.ts";
import { TestFront } from "../../../server/test_front.ts";
import type { ByteConnection } from "../../../session/byte_connection.ts";

/** What a SubjectAccessReview asked about. */
export interface AskedAccess {
  user: string;
  verb: string;
  namespace: string;
  name: string;
  resource: string;
  subresource: string;
}

/** Tokens that are somebody's. */
export const TOKEN = { alice: "alices-token", gateway: "gateways-token" } as const;

const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/**
 * A cluster that grants everything to alice, has a pod of any name, and remembers what it was asked: API server and kubelet in
 * one, on one port.
 */
export class MadeUpCluster implements AsyncDisposable {
  /** Tokens that were reviewed. */
  readonly reviewed: string[] = [];
  readonly access: AskedAccess[] = [];
  /** Requests that came with somebody else's credential than the gateway's: method and target, as they stood. */
  readonly passedOn: string[] = [];
  /** Targets of sessions that the kubelet was asked for. */
  readonly sessions: string[] = [];
  /** Whether alice's token is good, whether she may do what she does, and whether the reviews that ask are answered at all. */
  isTokenGood = true;
  isAllowed = true;
  isAnswering = true;
  /** What the kubelet does with a session that it was asked for. Whoever opened it ends it. */
  kubelet: (client: ByteConnection, rawTarget: string) => Promise<void> = listen;
  #front!: TestFront;

  static async start(): Promise<MadeUpCluster> {
    const cluster = new MadeUpCluster();
    cluster.#front = await TestFront.start((request, context) => cluster.#answer(request, context));
    return cluster;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#front.server.address.port}`;
  }

  /** Forgets what it was asked. */
  forget(): void {
    for (const list of [this.reviewed, this.access, this.passedOn, this.sessions]) list.length = 0;
  }

  #answer: Handler = async (request, context) => {
    const { rawTarget, upgrade } = context;
    if (upgrade !== undefined) return this.#open(context);
    if (request.headers.get("authorization") !== `Bearer ${TOKEN.gateway}`) {
      await request.body?.cancel();
      this.passedOn.push(`${request.method} ${rawTarget}`);
      return Response.json({ kind: "Whatever" });
    }
    if (!this.isAnswering && (rawTarget === REVIEWS || rawTarget === ACCESS_REVIEWS)) {
      await request.body?.cancel();
      return new Response("{}", { status: 503 });
    }
    if (rawTarget === REVIEWS) return Response.json(this.#review(await request.json()));
    if (rawTarget === ACCESS_REVIEWS) return Response.json(this.#allow(await request.json()));
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)$/.exec(rawTarget) ?? [];
    if (namespace !== undefined && name !== undefined) return Response.json(podOf(namespace, name));
    return Response.json(this.#node());
  };

  #review({ spec: { token } }: { spec: { token: string } }) {
    this.reviewed.push(token);
    const authenticated = token === TOKEN.alice && this.isTokenGood;
    return { status: { authenticated, ...(authenticated && { user: { username: "alice" } }) } };
  }

  #allow(review: { spec: { user: string; resourceAttributes: Omit<AskedAccess, "user"> } }) {
    const { user, resourceAttributes: { verb, namespace, name, resource, subresource } } = review.spec;
    this.access.push({ user, verb, namespace, name, resource, subresource });
    return { status: { allowed: this.isAllowed } };
  }

  #node() {
    const { port: Port } = this.#front.server.address;
    return {
      metadata: { name: "node", uid: "node-uid" },
      status: {
        addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
        daemonEndpoints: { kubeletEndpoint: { Port } },
      },
    };
  }

  #open({ rawTarget, rawHeaders, upgrade }: RequestContext): Promise<Response> {
    this.sessions.push(rawTarget);
    const protocol = rawHeaders.find(([name]) => name === "X-Stream-Protocol-Version")?.[1] ?? "";
    const headers = [["Connection", "Upgrade"], ["Upgrade", "SPDY/3.1"], [
      "X-Stream-Protocol-Version",
      protocol,
    ]] as const;
    return Promise.resolve(upgrade!.accept(headers, (client) => this.kubelet(client, rawTarget)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#front[Symbol.asyncDispose]();
  }
}

async function listen(client: ByteConnection): Promise<void> {
  while (await client.read().catch(() => null) !== null) { /* says nothing */ }
}

function podOf(namespace: string, name: string) {
  const containerStatuses = ["main", "other"].map((name) => ({ name, state: { running: {} } }));
  return {
    metadata: { namespace, name, uid: `uid-of-${name}` },
    spec: { nodeName: "node", containers: [{ name: "main", image: "x" }, { name: "other", image: "x" }] },
    status: { phase: "Running", containerStatuses },
  };
}
