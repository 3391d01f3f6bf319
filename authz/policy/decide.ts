import type { Decision, Obligation } from "./decision.ts";

/** A rule, with all that it needs. */
export type Rule = () => Decision;

/**
 * Asks the rules in their order. The first denial is the answer; where all allow, the last reason stands and all
 * obligations hold. A rule that fails denies.
 */
export function decide(rules: readonly Rule[]): Decision {
  let answer: Decision = { allowed: false, rule: "policy", reason: "no rule allows this" };
  const obligations: Obligation[] = [];
  for (const rule of rules) {
    try {
      answer = rule();
    } catch {
      return { allowed: false, rule: "policy-error", reason: "the policy could not be evaluated" };
    }
    if (!answer.allowed) return answer;
    obligations.push(...answer.obligations);
  }
  return answer.allowed ? { ...answer, obligations } : answer;
}
