/**
 * What `deno run` grants a program, read from the tasks in deno.json, so that the image never grants more than they do.
 *
 * Two programs share one image, and an image has one entry point: it is granted what any of the two needs, and the
 * launcher gives away what the one that was asked for does not need, before it loads anything else.
 */

/** The permissions that the platform can be asked to give away one by one. */
const LISTED = ["read", "write", "net", "env", "sys", "ffi", "run", "import"] as const;

type Kind = typeof LISTED[number];

/** By kind: `all`, or the things it is granted for; a kind that is not granted is absent. */
export type Permissions = Partial<Record<Kind, "all" | readonly string[]>>;

/** One thing that is taken back, as `Deno.permissions.revokeSync` wants to hear it. */
export type Surrender = Readonly<{ name: Kind } & Record<string, string>>;

/** What `deno run` is told beside the permissions, and stays the same for both programs. */
export interface Grant {
  permissions: Permissions;
  /** `--unstable-net`, say. */
  otherFlags: readonly string[];
}

/**
 * Reads a task's command.
 *
 * @param command `deno run --allow-net … main.ts`
 * @throws {RangeError} it grants everything, denies something, or is no `deno run`: such a task cannot be put in an image
 */
export function readGrant(command: string): Grant {
  const [deno, run, ...words] = command.split(/\s+/);
  if (deno !== "deno" || run !== "run") throw new RangeError(`not a deno run: ${command}`);
  const permissions: Permissions = {};
  const otherFlags: string[] = [];
  for (const word of words) {
    if (!word.startsWith("-")) break;
    const [, name, list] = /^--allow-([a-z]+)(?:=(.+))?$/.exec(word) ?? [];
    const kind = LISTED.find((kind) => kind === name);
    if (kind !== undefined) permissions[kind] = list === undefined ? "all" : list.split(",");
    else if (/^-A$|^--(allow|deny)-/.test(word)) throw new RangeError(`not for an image: ${word}`);
    else if (word !== "--no-prompt") otherFlags.push(word);
  }
  return { permissions, otherFlags };
}

/** What is granted by the one or the other. */
export function union(one: Permissions, other: Permissions): Permissions {
  const both: Permissions = {};
  for (const kind of LISTED) {
    const [first = [], second = []] = [one[kind], other[kind]];
    if (first === "all" || second === "all") both[kind] = "all";
    else if (first.length + second.length > 0) both[kind] = [...new Set([...first, ...second])];
  }
  return both;
}

/**
 * What must be taken back from `granted` so that `needed` is left.
 *
 * @throws {RangeError} a kind is granted whole and needed in part: the platform cannot take back all but a part
 */
export function surrenders(granted: Permissions, needed: Permissions): Surrender[] {
  return LISTED.flatMap((kind): Surrender[] => {
    const [has = [], keeps = []] = [granted[kind], needed[kind]];
    if (has === "all") {
      if (keeps === "all") return [];
      if (keeps.length > 0) throw new RangeError(`--allow-${kind} is granted whole, and needed in part`);
      return [{ name: kind }];
    }
    return has.filter((item) => !keeps.includes(item)).map((item) => surrender(kind, item));
  });
}

/** The flags that grant them, in an order of their own. */
export function flagsOf(permissions: Permissions): string[] {
  return LISTED.flatMap((kind) => {
    const items = permissions[kind];
    if (items === undefined) return [];
    return [items === "all" ? `--allow-${kind}` : `--allow-${kind}=${items.join(",")}`];
  });
}

function surrender(kind: Kind, item: string): Surrender {
  switch (kind) {
    case "env":
      return { name: kind, variable: item };
    case "sys":
      return { name: kind, kind: item };
    case "net":
    case "import":
      return { name: kind, host: item };
    case "run":
      return { name: kind, command: item };
    case "read":
    case "write":
    case "ffi":
      return { name: kind, path: item };
  }
}
