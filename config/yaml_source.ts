import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import type { Fault, Path, Position } from "./fault.ts";

/** A YAML document as plain values, with the place of each. */
export interface YamlSource {
  /** Objects have no prototype, so that a key `__proto__` is a key like any other. */
  value: unknown;
  faults: Fault[];
  /** Where a value stands, or the nearest thing around it; of an unknown key, the key itself. */
  positionOf(path: Path): Position | undefined;
}

/** Deepest nesting that is followed; the configuration itself needs five levels. */
const MAX_DEPTH = 32;

/**
 * Reads one YAML 1.2 document of the core schema.
 *
 * Stricter than YAML: keys are unique and plain, there is one document, no alias (so nothing can grow beyond the
 * text), no unknown tag. What is wrong is in `faults`, never thrown; `value` is then not to be used.
 */
export function readYaml(text: string): YamlSource {
  const lines = new LineCounter();
  const positions = new Map<string, Position>();
  const faults: Fault[] = [];
  // Duplicates are found below, where the path is known and the search is not quadratic.
  const document = parseOrGiveUp(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  if (document === undefined) {
    const message = `expected at most ${MAX_DEPTH} levels, got more than can be read`;
    return { value: undefined, faults: [{ path: [], message }], positionOf };
  }

  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  for (const { message, pos } of [...document.errors, ...document.warnings]) {
    faults.push({ path: [], position: at(pos[0]), message: `not valid YAML: ${message.split("\n")[0]}` });
    // What follows a first error that deep is noise, by the thousand.
    if (faults.length === 10) break;
  }
  const value = faults.length === 0 ? valueOf(document.contents, []) : undefined;
  return { value, faults, positionOf };

  function valueOf(node: Node | null, path: Path): unknown {
    const position = node?.range ? at(node.range[0]) : undefined;
    if (position && !positions.has(keyOf(path))) positions.set(keyOf(path), position);
    const refuse = (message: string) => void faults.push({ path, position, message });
    if (node === null) return null;
    if (isAlias(node)) return refuse("expected a value of its own, got an alias: write the value out");
    if (isScalar(node)) return node.value;
    if (path.length >= MAX_DEPTH) return refuse(`expected at most ${MAX_DEPTH} levels, got more`);
    if (isSeq<Node>(node)) return node.items.map((item, index) => valueOf(item, [...path, index]));
    if (!isMap<Node, Node | null>(node)) return refuse("expected a value that JSON knows");

    const object: Record<string, unknown> = Object.create(null);
    for (const { key, value } of node.items) {
      if (!isScalar(key) || key.value === null) {
        refuse("expected plain keys, got one that is a value");
        continue;
      }
      const name = String(key.value);
      const here = [...path, name];
      const first = positions.get(keyOf(here));
      const keyPosition = key.range ? at(key.range[0]) : undefined;
      if (name in object) {
        const where = first ? ` in line ${first.line}` : "";
        faults.push({
          path: here,
          position: keyPosition,
          message: `expected each key once, got it again after the one${where}`,
        });
        continue;
      }
      // A value stands where its key does: that is the line that an editor should open.
      if (keyPosition) positions.set(keyOf(here), keyPosition);
      object[name] = valueOf(value, here);
    }
    return object;
  }

  function positionOf(path: Path): Position | undefined {
    for (let length = path.length; length >= 0; length--) {
      const position = positions.get(keyOf(path.slice(0, length)));
      if (position) return position;
    }
    return undefined;
  }
}

/** The parser goes down level by level. @returns `undefined` where there are more than the stack has room for */
function parseOrGiveUp(text: string, options: Parameters<typeof parseDocument>[1]) {
  try {
    return parseDocument(text, options);
  } catch (thrown) {
    if (thrown instanceof RangeError) return undefined;
    throw thrown;
  }
}

function keyOf(path: Path): string {
  return JSON.stringify(path);
}
