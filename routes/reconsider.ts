import { unauthorized } from "../authz/credential.ts";
import type { User } from "../authz/user.ts";
import { denied } from "./admission.ts";
import type { AnsweredAgain, Caller } from "./gate.ts";
import type { Journey } from "./journey.ts";
import type { SessionPlan } from "./live_session.ts";

/**
 * Asks everything again that opened a session and that may have changed since: whether the credential still says who it is, whether
 * they may still act as whom they do, open such a session, come by the node's path, and enter what the policy guards.
 *
 * What a session is open to does not change: it is bound to the container that it was opened to, and dies with it. So the target is
 * not looked up again, and a pod that was made anew under its name is nothing to it.
 *
 * @throws {Refusal} as those steps do
 */
export async function reconsider(
  journey: Journey,
  again: AnsweredAgain,
  { address, target, caller }: Pick<SessionPlan, "address" | "target" | "caller">,
  signal: AbortSignal,
): Promise<void> {
  const user = await identifyAgain(journey, again, caller, signal);
  const { namespace, pod, kind: subresource, form, node } = address;
  await again.authorize(user, { namespace, pod, subresource }, signal);
  if (form === "node_proxy") await again.authorizeNodeProxy(user, node!, signal);
  const decision = await again.decide(user, target, signal);
  if (!decision.allowed) throw denied(target, decision);
}

/**
 * Who asks and as whom, by now: in other groups perhaps, which are asked about as they are, but nobody else.
 *
 * @throws {Refusal}
 */
export async function identifyAgain(
  { context: { rawHeaders } }: Journey,
  again: Pick<AnsweredAgain, "authenticate" | "impersonate">,
  { token, user: before }: Pick<Caller, "token" | "user">,
  signal: AbortSignal,
): Promise<User> {
  const owner = await again.authenticate(token, signal);
  const { user } = await again.impersonate(owner, rawHeaders, signal);
  if (!isSame(user, before)) throw unauthorized();
  return user;
}

function isSame(a: User, b: User): boolean {
  return a.username === b.username && a.uid === b.uid;
}
