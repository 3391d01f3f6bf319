import { escapeUnits } from "../kube/printable.ts";

/**
 * What a terminal acts on and JSON lets pass: DEL and C1 controls (U+009B begins an escape sequence), line and
 * paragraph separators, and format characters, the bidi controls among them, which make text read as another.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Where one of these can be at all; most lines are ASCII, and looking for properties of characters costs ten times as much. */
const SUSPECT = /[\x7f-\uffff]/;

/**
 * A value as JSON on one line that a terminal prints and does nothing else with. Parses back to the same value.
 *
 * `JSON.stringify` already escapes C0 controls and lone surrogates.
 */
export function safeJson(value: unknown): string {
  return safeJsonText(JSON.stringify(value));
}

/** The same of what is JSON already: such characters stand only within its strings, where an escape means the same. */
export function safeJsonText(json: string): string {
  return SUSPECT.test(json) ? json.replace(UNSAFE, escapeUnits) : json;
}
