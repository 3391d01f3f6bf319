import { chainInstance, dayOf } from "./chain_writer.ts";
import { type ChainFault, DayChainVerifier } from "./day_chain.ts";
import type { Verifier } from "../format/signer.ts";
import { checkRecordingPath } from "../store.ts";
import type { Verification } from "../format/verify.ts";

/** Longest line of a chain that is read, in UTF-16 units: a line that is written has some 500. */
const MAX_LINE_LENGTH = 64 * 1024;

/** How far back a gateway looks for the chain that it wrote last. */
const LOOK_BACK_MS = 31 * 86_400_000;

/** What the files of a store, taken together, do not bear out. */
export interface ChainFinding {
  code:
    /** A chain names a recording that is not there, and was not deleted on purpose. */
    | "recording_missing"
    /** A recording is there that no chain names. */
    | "recording_unnamed"
    /** A recording is there that a chain says was deleted: whoever was to delete it was cut off. */
    | "recording_undeleted"
    /** A recording is whole, and not the one that the chain saw end. */
    | "recording_replaced"
    /** A recording has no end, and the chain saw it end. */
    | "recording_cut"
    /** A recording has no end, and the chain says why. */
    | "recording_broke"
    /** A chain follows one that is not there. */
    | "chain_missing"
    /** A chain follows a line that the one before it does not have. */
    | "chain_cut"
    /** A chain names none before it, though there is one. */
    | "chain_forked";
  /** Below the store. */
  path: string;
  message: string;
}

/** What one chain file came to. */
export interface ChainResult {
  lines: number;
  fault?: ChainFault;
}

/** What chains say of one recording, or of a chain that was deleted. */
interface Claims {
  begun?: string;
  endedLink?: string;
  broke?: string;
  isDeleted?: boolean;
}

interface ReadChain {
  hashes: ReadonlySet<string>;
  after: { path: string; line: string } | undefined;
}

/**
 * Holds a store's recordings against the chains that name them. No I/O; memory grows by some hundred bytes with each recording
 * and each line of a chain.
 */
export class ChainAudit {
  readonly #verifier: Verifier;
  readonly #claims = new Map<string, Claims>();
  readonly #chains = new Map<string, ReadChain>();
  /** The last link of each recording that is whole; `undefined` for the others. */
  readonly #recordings = new Map<string, string | undefined>();

  /** @param verifier whose signatures count */
  constructor(verifier: Verifier) {
    this.#verifier = verifier;
  }

  /** A recording that is there. @param path below the store */
  recording(path: string, { fault, link }: Pick<Verification, "fault" | "link">): void {
    this.#recordings.set(path, fault === undefined ? link : undefined);
  }

  /**
   * A chain that is there.
   *
   * @param path below the store
   * @param bytes of its file
   */
  async chain(path: string, bytes: AsyncIterable<Uint8Array>): Promise<ChainResult> {
    const verifier = new DayChainVerifier(this.#verifier);
    const hashes = new Set<string>();
    let fault: ChainFault | undefined;
    let lines = 0;
    for await (const line of linesOf(bytes)) {
      lines++;
      if (line.length > MAX_LINE_LENGTH) {
        fault = { code: "line_invalid", line: lines, message: "the line is too long to be one of a chain" };
        break;
      }
      verifier.push(line);
      hashes.add(verifier.last);
    }
    const [first] = verifier.entries;
    this.#chains.set(path, { hashes, after: first?.event === "chain" ? afterOf(first.after) : undefined });
    verifier.entries.forEach((entry, index) => this.#claim(entry, `${path}, line ${index + 1}`));
    fault ??= verifier.end();
    if (fault === undefined && lines > 0 && first?.event !== "chain") {
      fault = { code: "line_invalid", line: 1, message: "a chain begins with its own line" };
    }
    return { lines, ...(fault && { fault }) };
  }

  /** Chains that others follow and that were not given. */
  get predecessors(): string[] {
    const named = [...this.#chains.values()].flatMap(({ after }) => after === undefined ? [] : [after.path]);
    return named.filter((path) => !this.#chains.has(path));
  }

  /**
   * All was given.
   *
   * @param prefix below which everything was given
   * @param isThere whether there is a recording of this path now: it may have been begun since
   */
  async end(prefix: string, isThere: (path: string) => Promise<boolean>): Promise<ChainFinding[]> {
    const findings = [...this.#checkRecordings(), ...this.#checkChains()];
    for (const [path, { begun, isDeleted }] of this.#claims) {
      if (begun === undefined || isDeleted || !path.startsWith(prefix) || this.#recordings.has(path)) {
        continue;
      }
      if (await isThere(path)) continue;
      const message = `named by ${begun}, and not there`;
      findings.push({ code: "recording_missing", path, message });
    }
    return findings;
  }

  *#checkRecordings(): Generator<ChainFinding, void, undefined> {
    for (const [path, link] of this.#recordings) {
      const { begun, endedLink, broke, isDeleted } = this.#claims.get(path) ?? {};
      if (isDeleted) {
        yield {
          code: "recording_undeleted",
          path,
          message: "a chain says that it was deleted, and it is there",
        };
      } else if (begun === undefined) {
        yield { code: "recording_unnamed", path, message: "no chain names it" };
      } else if (link === undefined && endedLink !== undefined) {
        const message = "it is not as it was when its gateway ended it";
        yield { code: "recording_cut", path, message };
      } else if (link === undefined && broke !== undefined) {
        yield { code: "recording_broke", path, message: `its gateway says why: ${broke}` };
      } else if (link !== undefined && endedLink !== undefined && link !== endedLink) {
        const message = "it is not the one that its gateway ended";
        yield { code: "recording_replaced", path, message };
      }
    }
  }

  *#checkChains(): Generator<ChainFinding, void, undefined> {
    for (const [path, { after, hashes }] of this.#chains) {
      if (after === undefined) {
        const before = hashes.size > 0 ? this.#chainBefore(path) : undefined;
        const message = `it does not say that ${before} came before it`;
        if (before !== undefined) yield { code: "chain_forked", path, message };
        continue;
      }
      const before = this.#chains.get(after.path);
      if (before === undefined) {
        if (this.#claims.get(after.path)?.isDeleted) continue;
        yield { code: "chain_missing", path: after.path, message: `${path} follows it, and it is not there` };
      } else if (!before.hashes.has(after.line)) {
        const message = `${path} follows a line that it does not have: lines are missing`;
        yield { code: "chain_cut", path: after.path, message };
      }
    }
  }

  /** The chain that a gateway had to find when it began this one. */
  #chainBefore(path: string): string | undefined {
    const instance = chainInstance(path);
    const since = dayOf(dayMs(path) - LOOK_BACK_MS);
    return [...this.#chains]
      .filter(([other, { hashes }]) => hashes.size > 0 && other < path && other >= since)
      .map(([other]) => other)
      .filter((other) => chainInstance(other) === instance)
      .sort().at(-1);
  }

  #claim(entry: DayChainVerifier["entries"][number], where: string): void {
    if (entry.event === "chain" || entry.event === "alive") return;
    if (!isPath(entry.recording)) return;
    const claims = this.#claims.get(entry.recording) ?? {};
    this.#claims.set(entry.recording, claims);
    switch (entry.event) {
      case "began":
        claims.begun = where;
        break;
      case "ended":
        claims.endedLink = entry.link;
        break;
      case "broke":
        claims.broke = String(entry.reason);
        break;
      case "deleted":
        claims.isDeleted = true;
        break;
      default:
        entry satisfies never;
    }
  }
}

function afterOf(value: unknown): { path: string; line: string } | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { path, line }: Record<string, unknown> = { ...value };
  return isPath(path) && typeof line === "string" ? { path, line } : undefined;
}

/** What is not signed may say anything: a path that leads out of the store names nothing in it. */
function isPath(path: unknown): path is string {
  if (typeof path !== "string") return false;
  try {
    checkRecordingPath(path);
    return true;
  } catch {
    return false;
  }
}

/** The day that a chain's path says; 1970 where it says none. */
function dayMs(path: string): number {
  const [, day] = /^(\d{4}\/\d{2}\/\d{2})\//.exec(path) ?? [];
  return day === undefined ? 0 : Date.parse(day.replaceAll("/", "-")) || 0;
}

/** Lines with their ends; the last may have none, and one that is too long may be cut. */
async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let held = "";
  for await (const chunk of bytes) {
    const lines = (held + decoder.decode(chunk, { stream: true })).split("\n");
    held = lines.pop() ?? "";
    for (const line of lines) yield `${line}\n`;
    if (held.length > MAX_LINE_LENGTH) break;
  }
  held += decoder.decode();
  if (held !== "") yield held;
}
