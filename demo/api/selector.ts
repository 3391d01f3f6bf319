import { Refusal } from "../../kube/status.ts";

/** Whether an object is meant. */
export type Selector = (object: unknown) => boolean;

/**
 * A field selector: `status.phase!=Failed,spec.nodeName=demo-node`. A field that is missing is empty.
 *
 * @throws {Refusal} BadRequest
 */
export function fieldSelector(text: string): Selector {
  const terms = split(text).map((term) => {
    const [, path = "", operator, value = ""] = /^([\w.]+)(!=|==?)(.*)$/.exec(term) ?? [];
    if (operator === undefined) throw invalid(text);
    return (object: unknown) => (fieldOf(object, path) === value) !== (operator === "!=");
  });
  return (object) => terms.every((term) => term(object));
}

/**
 * A label selector: `app=web,tier!=db,env in (a, b),!old,kept`.
 *
 * @throws {Refusal} BadRequest
 */
export function labelSelector(text: string): Selector {
  const terms = split(text).map((term) => labelTerm(term.trim(), text));
  return (object) => terms.every((term) => term((path) => labelOf(object, path)));
}

type LabelTerm = (label: (key: string) => string | undefined) => boolean;

const KEY = "[\\w./-]+";
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s+\\(([^)]*)\\)$`);
const EQUALITY = new RegExp(`^(${KEY})\\s*(!=|==?)\\s*([\\w.-]*)$`);
const EXISTENCE = new RegExp(`^(!?)\\s*(${KEY})$`);

function labelTerm(term: string, whole: string): LabelTerm {
  const set = SET.exec(term);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    const values = list.split(",").map((value) => value.trim());
    return (label) => values.includes(label(key) ?? "\0") === (operator === "in");
  }
  const equality = EQUALITY.exec(term);
  if (equality !== null) {
    const [, key = "", operator, value] = equality;
    return (label) => (label(key) === value) !== (operator === "!=");
  }
  const existence = EXISTENCE.exec(term);
  if (existence === null) throw invalid(whole);
  const [, not, key = ""] = existence;
  return (label) => (label(key) !== undefined) !== (not === "!");
}

/** Splits at commas, but not at those inside parentheses. */
function split(text: string): string[] {
  return text.split(/,(?![^(]*\))/).filter((term) => term.trim() !== "");
}

function invalid(text: string): Refusal {
  return new Refusal("BadRequest", `unable to parse requirement: invalid selector: ${JSON.stringify(text)}`);
}

function fieldOf(object: unknown, path: string): string {
  let value = object;
  for (const key of path.split(".")) value = memberOf(value, key);
  return value === undefined || value === null ? "" : String(value);
}

function labelOf(object: unknown, key: string): string | undefined {
  const value = memberOf(memberOf(memberOf(object, "metadata"), "labels"), key);
  return value === undefined ? undefined : String(value);
}

function memberOf(value: unknown, key: string): unknown {
  const isMember = typeof value === "object" && value !== null && Object.hasOwn(value, key);
  return isMember ? Reflect.get(value, key) : undefined;
}
