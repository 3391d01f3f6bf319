import { z } from "zod";

/** Who a token belongs to. */
export interface Identity {
  username: string;
  uid: string;
  groups: readonly string[];
}

/** Answers a request to the API server. */
export type AskApi = (request: Request) => Response | Promise<Response>;

const TOKEN_REVIEW = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    user: z.object({
      username: z.string().default(""),
      uid: z.string().default(""),
      groups: z.array(z.string()).default([]),
    }),
  }),
});
const ACCESS_REVIEW = z.object({ status: z.object({ allowed: z.boolean() }) });

/** How a kubelet learns who may use it: it asks the API server, with its own token. */
export class Webhook {
  readonly #ask: AskApi;
  readonly #token: string;
  readonly #node: string;

  /** @param node the kubelet's own, whose `nodes/proxy` is what it guards */
  constructor(ask: AskApi, token: string, node: string) {
    this.#ask = ask;
    this.#token = token;
    this.#node = node;
  }

  /** @returns `undefined` where the token is nobody's. @throws {Error} where the API server does not say */
  async authenticate(token: string): Promise<Identity | undefined> {
    const answer = await this.#create("/apis/authentication.k8s.io/v1/tokenreviews", { token });
    const { authenticated, user } = TOKEN_REVIEW.parse(answer).status;
    return authenticated && user.username !== "" ? user : undefined;
  }

  /** @throws {Error} where the API server does not say */
  async mayProxy({ username, uid, groups }: Identity, verb: string): Promise<boolean> {
    const resourceAttributes = {
      verb,
      version: "v1",
      resource: "nodes",
      subresource: "proxy",
      name: this.#node,
    };
    const answer = await this.#create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
      user: username,
      uid,
      groups,
      resourceAttributes,
    });
    return ACCESS_REVIEW.parse(answer).status.allowed;
  }

  async #create(path: string, spec: object): Promise<unknown> {
    const answer = await this.#ask(
      new Request(`https://api${path}`, {
        method: "POST",
        headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json" },
        body: JSON.stringify({ spec }),
      }),
    );
    const document: unknown = await answer.json();
    if (!answer.ok) throw new Error(`the API server answered ${answer.status}`);
    return document;
  }
}
