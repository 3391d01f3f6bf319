import { randomUUID } from "node:crypto";
import type { AuditTarget, Facts, ObjectReference } from "../audit/event.ts";
import type { Identity, User } from "../authz/user.ts";
import type { RequestContext } from "./handler.ts";
import { type JourneyWatch, UNWATCHED, type Watch } from "./journey_watch.ts";
import type { RequestTarget } from "./request_target.ts";
import { isSessionKind } from "./session_address.ts";

/** The verbs by which the API server audits methods. A session's is `create`, whatever its method. */
const VERBS: Readonly<Record<string, string>> = { GET: "get", HEAD: "get", POST: "create", PUT: "update" };

/** One request on its way through the gate: what is known of it grows with each step, and a refusal's event has it all. */
export class Journey {
  readonly auditId: string = randomUUID();
  readonly method: string;
  readonly context: RequestContext;
  readonly target: RequestTarget;
  auditTarget: AuditTarget | undefined;
  /** Whoever counts and traces what becomes of it. */
  readonly watch: JourneyWatch;
  #facts: Facts;

  constructor(
    method: string,
    context: RequestContext,
    target: RequestTarget,
    objectRef?: ObjectReference,
    watch?: Watch,
  ) {
    this.method = method;
    this.context = context;
    this.target = target;
    const userAgent = context.rawHeaders.find(([name]) => name.toLowerCase() === "user-agent")?.[1];
    this.#facts = {
      auditId: this.auditId,
      receivedAt: new Date(),
      sourceIps: [context.remoteAddress],
      requestUri: context.rawTarget,
      verb: objectRef?.subresource === undefined ? VERBS[method] ?? method.toLowerCase() : "create",
      ...(userAgent !== undefined && { userAgent }),
      ...(objectRef !== undefined && { objectRef }),
    };
    const { auditId, context: { rawHeaders } } = this;
    const subresource = objectRef?.subresource;
    const kind = isSessionKind(subresource) ? subresource : undefined;
    this.watch = watch?.begin({ auditId, kind, rawHeaders }) ?? UNWATCHED;
  }

  get facts(): Facts {
    return this.#facts;
  }

  /** Adds what a step has learned. */
  learn(facts: Partial<Facts>): void {
    this.#facts = { ...this.#facts, ...facts };
  }

  /** Who asks: the owner of the credential, and as whom where that is someone else. */
  learnIdentity({ user, impersonator }: Identity | { user: User; impersonator?: undefined }): void {
    this.learn(impersonator === undefined ? { user } : { user: impersonator, impersonatedUser: user });
  }
}
