import { check } from "./check.ts";
import { ConfigurationError } from "./fault.ts";
import { type Configuration, resolvePaths } from "./gateway_configuration.ts";
import { readYaml } from "./yaml_source.ts";

/** Largest configuration file; the example with every key and comment has a tenth of it. */
export const MAX_FILE_BYTES = 131072;

/**
 * Reads the configuration file, whole, before anything is started.
 *
 * @param file path of the YAML file; its relative paths start in its folder
 * @throws {ConfigurationError} with every fault at once
 */
export async function loadConfiguration(file: string): Promise<Configuration> {
  return parseConfiguration(await readBounded(file), file);
}

/**
 * The configuration that a text says.
 *
 * @param file what faults name, and whose folder relative paths start in
 * @throws {ConfigurationError} with every fault at once
 */
export function parseConfiguration(text: string, file: string): Configuration {
  const source = readYaml(text);
  if (source.faults.length > 0) throw new ConfigurationError(file, source.faults);
  const checked = check(source.value);
  if (checked.ok) return resolvePaths(checked.value, file);
  const faults = checked.faults.map((fault) => ({ ...fault, position: source.positionOf(fault.path) }));
  faults.sort((a, b) => (a.position?.line ?? 0) - (b.position?.line ?? 0));
  throw new ConfigurationError(file, faults);
}

async function readBounded(file: string): Promise<string> {
  const refuse = (message: string, cause?: unknown) =>
    new ConfigurationError(file, [{ path: [], message }], { cause });
  let bytes: Uint8Array;
  try {
    using opened = await Deno.open(file);
    bytes = await readAtMost(opened, MAX_FILE_BYTES + 1);
  } catch (cause) {
    throw refuse(
      `expected a file that can be read, got: ${cause instanceof Error ? cause.message : cause}`,
      cause,
    );
  }
  if (bytes.length > MAX_FILE_BYTES) throw refuse(`expected at most ${MAX_FILE_BYTES} bytes, got more`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw refuse("expected text in UTF-8, got other bytes", cause);
  }
}

async function readAtMost(file: Deno.FsFile, maxBytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(maxBytes);
  let length = 0;
  while (length < maxBytes) {
    const count = await file.read(buffer.subarray(length));
    if (count === null) break;
    length += count;
  }
  return buffer.subarray(0, length);
}
