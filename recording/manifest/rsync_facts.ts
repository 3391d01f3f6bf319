/** What a command line of `rsync --server` says. What single files passed is in rsync's own protocol, which is not read. */
export interface RsyncFacts {
  /** `in` is towards the pod. Of a daemon it is unknown: it is asked for in the stream. */
  direction: "in" | "out" | "unknown";
  /** A daemon in the pod: modules and paths are asked for in the stream. */
  isDaemon?: true;
  /** `--secluded-args`: the paths are told in the stream, and are not known. */
  arePathsHidden?: true;
  /** In the pod: where to, or what of. */
  paths: readonly string[];
  /** All options as they stand. */
  options: readonly string[];
  /** `--dry-run`: nothing is written. */
  isDryRun?: true;
  /** Files in the pod may be deleted, or at the client where it receives. */
  deletes?: true;
  /** There are more paths or options, or longer ones, than are stated. */
  isCut?: true;
}

/** Paths that are stated, and options. */
const MAX_WORDS = 32;

/** Of one of them, in UTF-16 units. */
const MAX_WORD_LENGTH = 256;

/**
 * Reads the arguments behind the program's name.
 *
 *     --server [--sender] -logDtprze.iLsfxCIvu [--delete …] . PATH…
 *
 * Letters behind `e` tell what the client's version can do and are no options.
 *
 * @returns undefined where this is no server, e.g. an rsync that someone runs in the pod
 * @see rsync's manual page, options --server, --sender and --secluded-args
 */
export function rsyncFacts(args: readonly string[]): RsyncFacts | undefined {
  if (args[0] !== "--server") return undefined;
  const dot = args.indexOf(".");
  const options = args.slice(1, dot === -1 ? undefined : dot).filter((word) => word.startsWith("-"));
  const paths = dot === -1 ? [] : args.slice(dot + 1);
  const letters = options.filter((word) => !word.startsWith("--")).map((word) => word.split("e")[0] ?? "")
    .join("");
  const isDaemon = options.includes("--daemon");
  const areHidden = letters.includes("s") || options.some((word) => /^--(secluded|protect)-args$/.test(word));
  const isCut = [paths, options].some((words) =>
    words.length > MAX_WORDS || words.some(({ length }) => length > MAX_WORD_LENGTH)
  );
  return {
    direction: isDaemon ? "unknown" : options.includes("--sender") ? "out" : "in",
    ...(isDaemon && { isDaemon }),
    ...(areHidden && !isDaemon && { arePathsHidden: true }),
    paths: cut(paths),
    options: cut(options),
    ...((letters.includes("n") || options.includes("--dry-run")) && { isDryRun: true }),
    ...(options.some((word) => word.startsWith("--delete")) && { deletes: true }),
    ...(isCut && { isCut }),
  };
}

function cut(words: readonly string[]): string[] {
  return words.slice(0, MAX_WORDS).map((word) => word.slice(0, MAX_WORD_LENGTH));
}
