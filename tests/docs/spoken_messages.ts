/**
 * What the sources can say to people, read from their syntax: the sentences of refusals, of ends of sessions, of
 * errors at the start, and of warnings and errors in the log. A value that is put into a sentence is `…` here.
 *
 * Found is what stands where a message is made: as an argument of an error that people read, of the log, or of a
 * function that hands it on to one; as a property or a variable that is called `message`, `reason` or alike; as what a
 * function returns whose name ends in `Fault`.
 *
 * @module
 */

/** Errors whose text somebody reads, whoever made the mistake. */
const SPOKEN_ERRORS: ReadonlySet<string> = new Set([
  "Refusal",
  "NegotiationRefusal",
  "SessionFailure",
  "KubeconfigError",
  "DialError",
  "UpstreamRefusal",
  "ApiError",
  "RecordingError",
]);

/** What holds a message on its way. */
const SPOKEN_NAME = /^(message|reason|what|why|[A-Z_]*(MESSAGE|REASON|END|ENDED|REFUSED))$/;

/** A sentence in a source. */
export interface SpokenMessage {
  /** With `…` for each value. */
  text: string;
  /** The source, as it was named. */
  file: string;
}

/** Every message in the sources, in their order. @param sources text by name */
export function spokenMessages(sources: ReadonlyMap<string, string>): SpokenMessage[] {
  const carriers = new Set<string>();
  for (const [file, text] of sources) {
    visit(file, text, (node, around) => findCarrier(node, around, carriers));
  }
  const found: SpokenMessage[] = [];
  for (const [file, text] of sources) {
    const take = (node: Deno.lint.Node | null | undefined) => {
      for (const sentence of sentencesOf(node)) found.push({ text: sentence, file });
    };
    visit(file, text, (node, around) => takeMessages(node, around, carriers, take));
  }
  return found;
}

/** A function around what is looked at. */
interface Around {
  name: string;
  parameters: ReadonlySet<string>;
}

type Visit = (node: Deno.lint.Node, around: Around | undefined) => void;

function visit(file: string, source: string, seen: Visit): void {
  const around: Around[] = [];
  const create = (): Deno.lint.LintVisitor => ({
    FunctionDeclaration: (node) =>
      void around.push({ name: node.id?.name ?? "", parameters: named(node.params) }),
    "FunctionDeclaration:exit": () => void around.pop(),
    NewExpression: (node) => seen(node, around.at(-1)),
    CallExpression: (node) => seen(node, around.at(-1)),
    Property: (node) => seen(node, around.at(-1)),
    VariableDeclarator: (node) => seen(node, around.at(-1)),
    ReturnStatement: (node) => seen(node, around.at(-1)),
  });
  Deno.lint.runPlugin({ name: "messages", rules: { read: { create } } }, file, source);
}

function named(nodes: readonly { type: string; name?: unknown }[]): ReadonlySet<string> {
  return new Set(nodes.flatMap(({ name }) => typeof name === "string" ? [name] : []));
}

/** A function that makes an error, or an object with a message, of a text it is given: who calls it says something. */
function findCarrier(node: Deno.lint.Node, around: Around | undefined, carriers: Set<string>): void {
  if (around === undefined) return;
  const isHandedOn = (value: Deno.lint.Node): boolean =>
    value.type === "TemplateLiteral"
      ? value.expressions.some(isHandedOn)
      : value.type === "Identifier" && SPOKEN_NAME.test(value.name) && around.parameters.has(value.name);
  if (node.type === "NewExpression" && isSpoken(node.callee) && node.arguments.some(isHandedOn)) {
    carriers.add(around.name);
  }
  if (node.type === "Property" && isMessage(node.key) && isHandedOn(node.value)) carriers.add(around.name);
}

function isMessage(key: Deno.lint.Node): boolean {
  return key.type === "Identifier" && SPOKEN_NAME.test(key.name);
}

function takeMessages(
  node: Deno.lint.Node,
  around: Around | undefined,
  carriers: ReadonlySet<string>,
  take: (node: Deno.lint.Node | null | undefined) => void,
): void {
  switch (node.type) {
    case "NewExpression":
      if (isSpoken(node.callee)) node.arguments.forEach(take);
      break;
    case "CallExpression":
      if (isLog(node.callee) || node.callee.type === "Identifier" && carriers.has(node.callee.name)) {
        node.arguments.forEach(take);
      }
      break;
    case "Property":
      if (isMessage(node.key)) take(node.value);
      break;
    case "ReturnStatement":
      if (around !== undefined && /Fault$/.test(around.name)) take(node.argument);
      break;
    case "VariableDeclarator":
      if (isMessage(node.id)) take(node.init);
      break;
  }
}

function isSpoken(callee: Deno.lint.Node): boolean {
  return callee.type === "Identifier" && SPOKEN_ERRORS.has(callee.name);
}

/** `log.warn(…)`, `log.error(…)`, `report(…)`. */
function isLog(callee: Deno.lint.Node): boolean {
  if (callee.type === "Identifier") return callee.name === "report" || callee.name === "fail";
  if (callee.type !== "MemberExpression") return false;
  const { object, property } = callee;
  const isNamed = property.type === "Identifier" || property.type === "PrivateIdentifier";
  return isNamed && /^(warn|error|report)$/.test(property.name) && nameOf(object) !== "console";
}

function nameOf(node: Deno.lint.Node): string {
  return node.type === "Identifier" ? node.name : "";
}

/** The sentences that an expression can come to; two words and more. */
function sentencesOf(node: Deno.lint.Node | null | undefined): string[] {
  return textsOf(node).map((text) => text.trim()).filter((text) => /[a-z…"] [a-z…"]/i.test(text));
}

function textsOf(node: Deno.lint.Node | null | undefined): string[] {
  switch (node?.type) {
    case "Literal":
      return typeof node.value === "string" ? [node.value] : [];
    case "TemplateLiteral":
      return [node.quasis.map(({ cooked }) => cooked).join("…")];
    case "ConditionalExpression":
      return [...textsOf(node.consequent), ...textsOf(node.alternate)];
    case "LogicalExpression":
      return [...textsOf(node.left), ...textsOf(node.right)];
    case "BinaryExpression": {
      const [left = "…"] = textsOf(node.left);
      const [right = "…"] = textsOf(node.right);
      return node.operator === "+" ? [left + right] : [];
    }
    default:
      return [];
  }
}
