/**
 * The little of the Reflect metadata proposal that @peculiar/x509 asks for (through tsyringe, for its decorators).
 * Import it before that package.
 *
 * @see https://rbuckton.github.io/reflect-metadata/
 */

type Key = string | symbol;
const metadata = new WeakMap<object, Map<unknown, unknown>>();

function defineMetadata(name: unknown, value: unknown, target: object, _property?: Key): void {
  const own = metadata.get(target) ?? new Map<unknown, unknown>();
  metadata.set(target, own.set(name, value));
}

function getOwnMetadata(name: unknown, target: object): unknown {
  return metadata.get(target)?.get(name);
}

function getMetadata(name: unknown, target: object): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at)) {
    if (metadata.get(at)?.has(name)) return getOwnMetadata(name, at);
  }
  return undefined;
}

if (!("getMetadata" in Reflect)) Object.assign(Reflect, { defineMetadata, getOwnMetadata, getMetadata });
