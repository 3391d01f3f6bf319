import { basename, join, resolve } from "node:path";
import { ChainAudit, type ChainFinding, type ChainResult } from "../recording/chain/chain_audit.ts";
import { chainInstance } from "../recording/chain/chain_writer.ts";
import { printable, printableJson } from "../recording/printable.ts";
import { Verifier } from "../recording/format/signer.ts";
import { FolderStore } from "../recording/sinks/folder.ts";
import { CHAIN_SUFFIX, RECORDING_SUFFIX } from "../recording/store.ts";
import { RecordingVerifier, type Verification } from "../recording/format/verify.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, type Output, UsageError } from "./command.ts";
import { readFile } from "./read_file.ts";

const OPTIONS = {
  key: { type: "string", short: "k", multiple: true },
  output: { type: "string", short: "o", default: "text" },
} as const;

/** `postern verify`: whether recordings are what was written, and all that were. */
export const verify: Command = {
  words: ["verify"],
  usage: "FILE|DIR… [--key PUBLIC.pem]… [--output text|json]",
  summary: "check recordings and the chains that name them, offline",
  help: `Options:
  -k, --key FILE        a public key that recordings may be signed with (PEM); repeat it for keys of the past
  -o, --output FORMAT   text (default), or json: one object on each line

A recording is checked block by block: one line says that it is whole, or what is wrong with it first, in which block and
at which byte; also where it is whole, but of another session than its name says. What is encrypted need not be decrypted for it.
A folder is checked with its days' chains: recordings that are missing, that no chain names, or that were cut or replaced
after they ended. It may be the whole store, or a year, a month or a day of it: the store's later chains are read then too,
since they tell of what was deleted.
Without a key, signatures are not checked: whoever can write the files can make such ones.

Exits with 1 when anything is wrong, also when a recording has no end because its session still runs.`,
  async run(args, output) {
    const { positionals, values } = parseArguments(args, OPTIONS, ["FILE|DIR…"]);
    if (values.output !== "text" && values.output !== "json") {
      throw new UsageError(`unknown output format ${JSON.stringify(values.output)}`);
    }
    const verifier = await readKeys(values.key ?? []);
    const report = new Report(output, values.output, verifier);
    for (const path of positionals) await verifyPath(path, verifier, report);
    if (verifier.isEmpty) {
      output.error(
        "postern: no --key was given: signatures were not checked, so anyone may have written this\n",
      );
    }
    return report.isGood ? 0 : 1;
  },
};

async function readKeys(files: readonly string[]): Promise<Verifier> {
  const pems: string[] = [];
  for (const file of files) {
    const pem = await Deno.readTextFile(file);
    try {
      new Verifier([pem]);
    } catch (cause) {
      throw new Error(`${file} is no Ed25519 public key in PEM`, { cause });
    }
    pems.push(pem);
  }
  return new Verifier(pems);
}

async function verifyPath(path: string, verifier: Verifier, report: Report): Promise<void> {
  const { isDirectory } = await Deno.stat(path);
  if (isDirectory) return await verifyFolder(path, verifier, report);
  if (path.endsWith(CHAIN_SUFFIX)) {
    report.chain(path, await new ChainAudit(verifier).chain(path, readFile(path)));
  } else report.recording(path, await verifyRecording(path, verifier));
}

async function verifyRecording(path: string, verifier: Verifier): Promise<Verification> {
  const recording = new RecordingVerifier(verifier, auditIdOf(path));
  for await (const chunk of readFile(path)) recording.push(chunk);
  return recording.end();
}

/** Whose recording a file is, by the name that a gateway gives it; `undefined` where somebody gave it another. */
function auditIdOf(path: string): string | undefined {
  return /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.rec$/.exec(basename(path))?.[1];
}

async function verifyFolder(folder: string, verifier: Verifier, report: Report): Promise<void> {
  const { root, prefix } = storeOf(folder);
  const shown = (path: string) =>
    path.startsWith(prefix) ? join(folder, path.slice(prefix.length)) : join(root, path);
  const audit = new ChainAudit(verifier);
  const recordings: string[] = [];
  const chains: string[] = [];
  for await (const { path } of new FolderStore(root).list(prefix)) {
    if (path.endsWith(RECORDING_SUFFIX)) recordings.push(path);
    else if (chainInstance(path) !== undefined) chains.push(path);
  }
  if (recordings.length === 0 && chains.length === 0) {
    return report.finding(folder, { code: "nothing_there", message: "no recordings lie here" });
  }
  for (const path of recordings) {
    const verification = await verifyRecording(join(root, path), verifier);
    report.recording(shown(path), verification);
    audit.recording(path, verification);
  }
  if (chains.length === 0) {
    const message = "no chain lies here: whether recordings are missing cannot be told";
    return report.finding(folder, { code: "chain_missing", message });
  }
  for (const path of chains) {
    report.chain(shown(path), await audit.chain(path, readFile(join(root, path))));
  }
  for (const path of await neighbours({ root, prefix }, chains, audit)) {
    await audit.chain(path, readFile(join(root, path)));
  }
  for (const finding of await audit.end(prefix, (path) => isFile(join(root, path)))) {
    report.finding(shown(finding.path), finding);
  }
}

/** A store's folder, and below which prefix of it this folder lies: nothing, `2026/`, `2026/11/` or `2026/11/21/`. */
function storeOf(folder: string): { root: string; prefix: string } {
  const whole = resolve(folder);
  const [, root, prefix] = /^(.*)\/(\d{4}(?:\/\d{2}){0,2})$/.exec(whole) ?? [];
  return root === undefined ? { root: whole, prefix: "" } : { root: root || "/", prefix: `${prefix}/` };
}

/**
 * Chains outside of what is checked that say something about it: those that its own follow, and all later ones, in which sessions
 * end that began before midnight, and recordings are deleted years after.
 */
async function neighbours(
  { root, prefix }: { root: string; prefix: string },
  chains: readonly string[],
  audit: ChainAudit,
): Promise<string[]> {
  if (prefix === "") return [];
  const found = new Set<string>();
  for (const path of audit.predecessors) {
    if (await isFile(join(root, path))) found.add(path);
  }
  const given = new Set(chains);
  for await (const { path } of new FolderStore(root).list("")) {
    if (chainInstance(path) !== undefined && path > prefix && !given.has(path)) found.add(path);
  }
  return [...found];
}

async function isFile(path: string): Promise<boolean> {
  return (await Deno.lstat(path).catch(() => undefined))?.isFile ?? false;
}

/** Says what was found, one line for each file. */
class Report {
  isGood = true;
  readonly #output: Output;
  readonly #isJson: boolean;
  readonly #isSigned: boolean;

  constructor(output: Output, format: "text" | "json", verifier: Verifier) {
    this.#output = output;
    this.#isJson = format === "json";
    this.#isSigned = !verifier.isEmpty;
  }

  recording(path: string, { fault, blocks, seals }: Verification): void {
    const signatures = this.#isSigned ? count(seals, "signature") : "signatures not checked";
    const said = fault === undefined
      ? `ok: ${count(blocks, "block")}, ${signatures}`
      : `block ${fault.at.block}, byte ${fault.at.offset}: ${fault.code}: ${fault.message}`;
    this.#line(path, said, { blocks, seals, ...(fault && { fault }) });
  }

  chain(path: string, { lines, fault }: ChainResult): void {
    const said = fault === undefined
      ? `ok: ${count(lines, "line")}`
      : `line ${fault.line}: ${fault.code}: ${fault.message}`;
    this.#line(path, said, { lines, ...(fault && { fault }) });
  }

  finding(
    path: string,
    { code, message }: { code: ChainFinding["code"] | "nothing_there"; message: string },
  ): void {
    this.#line(path, `${code}: ${message}`, { fault: { code, message } });
  }

  #line(path: string, said: string, details: Record<string, unknown>): void {
    const ok = details.fault === undefined;
    this.isGood &&= ok;
    const line = this.#isJson ? printableJson({ path, ok, ...details }) : printable(`${path}: ${said}`);
    this.#output.out(`${line}\n`);
  }
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}
