import { type AuditEvent, decisionEvent, type ObjectReference } from "../audit/event.ts";
import type { ResourceAttributes } from "../authz/authorize.ts";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import { identify } from "./admission.ts";
import { auditedAnswer } from "./audited_answer.ts";
import { recordStrictly } from "./evidence.ts";
import type { Caller, Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import { identifyAgain } from "./reconsider.ts";
import { noSuchPath } from "./session_address.ts";

/** Where the gateway's own API lies. Nothing below its first segment is ever passed on to the API server. */
export const API_ROOT = "/postern";
const API_PREFIX = `${API_ROOT}/v1`;

/** Answers a request to the gateway's own API; refuses by throwing. */
export type Api = (request: Request, call: ApiCall) => Promise<Response>;

/** What the API needs of the gate. */
export type ApiGate = Pick<Gate, "authenticate" | "impersonate" | "journal" | "report" | "rechecks"> & {
  api: Api;
};

/** A request to the API, of somebody who is known. */
export class ApiCall {
  readonly #journey: Journey;
  readonly #gate: ApiGate;
  readonly #caller: Caller;
  #isAllowed = false;

  constructor(journey: Journey, gate: ApiGate, caller: Caller) {
    this.#journey = journey;
    this.#gate = gate;
    this.#caller = caller;
  }

  get user(): User {
    return this.#caller.user;
  }

  get method(): string {
    return this.#journey.method;
  }

  /** The canonical path. */
  get path(): string {
    return this.#journey.target.path;
  }

  /** Aborted when the client has gone, or the gateway shuts down. */
  get signal(): AbortSignal {
    return this.#journey.context.signal;
  }

  /** What the request is about, for its events. */
  about(verb: string, objectRef: ObjectReference): void {
    this.#journey.learn({ verb, objectRef });
  }

  /**
   * Writes down that the request is allowed: to be waited for before the first byte is given or anything is done.
   *
   * @throws {Refusal} ServiceUnavailable: no audit, no bytes
   */
  async allow(reason: string): Promise<void> {
    const event: AuditEvent = decisionEvent(this.#journey.facts, undefined, {
      allowed: true,
      rule: "authorization",
      reason,
    });
    await recordStrictly(this.#gate, event);
    this.#isAllowed = true;
  }

  /**
   * Asks about an answer that goes on, as about a live session.
   *
   * @param what it is called in the sentence that `onEnd` is told when it may no more
   * @returns how to stop
   */
  whileAllowed(what: string, attributes: ResourceAttributes, onEnd: (message: string) => void): () => void {
    const { schedule, steps } = this.#gate.rechecks ?? {};
    if (steps === undefined || schedule === undefined) return () => {};
    return schedule.watch({
      what,
      ask: async (signal) => {
        const user = await identifyAgain(this.#journey, steps, this.#caller, signal);
        await steps.require(user, attributes, signal);
      },
      end: ({ message }) => onEnd(message),
    });
  }

  /** The answer; where it was written down that it is given, so is what becomes of it. */
  async answer(answer: Response): Promise<Response> {
    if (!this.#isAllowed) return answer;
    return await auditedAnswer(this.#journey, this.#gate, undefined, answer, "the answer");
  }
}

/** A request below {@linkcode API_ROOT}: who asks is found out here, and what they may, by the API. */
export async function callApi(journey: Journey, request: Request, gate: ApiGate): Promise<Response> {
  const { path } = journey.target;
  const caller = await identify(journey, gate);
  if (journey.context.upgrade !== undefined) {
    throw new Refusal("BadRequest", "this path cannot be upgraded", { rule: "upgrade" });
  }
  if (!path.startsWith(`${API_PREFIX}/`)) throw noSuchPath();
  const call = new ApiCall(journey, gate, caller);
  const answer = await call.answer(await gate.api(request, call));
  const headers = new Headers(answer.headers);
  headers.set("Audit-Id", journey.auditId);
  headers.set("Cache-Control", "no-store");
  headers.set("X-Content-Type-Options", "nosniff");
  return new Response(answer.body, { status: answer.status, headers });
}
