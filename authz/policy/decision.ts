/** What an allowed session must carry along: how it is recorded, how long it may last. */
export type Obligation = { type: "record" };

/** A rule's answer. `rule` is its stable name; `reason` is a sentence for the person who is refused. */
export type Decision =
  | { allowed: true; rule: string; reason: string; obligations: readonly Obligation[] }
  | { allowed: false; rule: string; reason: string };
