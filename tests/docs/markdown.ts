import { join } from "node:path";

/** A fenced block of a document. */
export interface CodeBlock {
  /** What stands behind the fence, e.g. `sh`; empty where nothing does. */
  language: string;
  text: string;
  /** The line of the opening fence, the first being 1. */
  line: number;
}

/** A link of a document. */
export interface Link {
  target: string;
  line: number;
}

/** One Markdown file, taken apart as far as it is tested. */
export interface Document {
  /** Relative to the root. */
  path: string;
  blocks: CodeBlock[];
  links: Link[];
  /** What stands in backticks, outside blocks. */
  spans: string[];
  /** What a link may name behind `#`. */
  anchors: Set<string>;
}

/** Languages of blocks that hold command lines. */
export const SHELL: ReadonlySet<string> = new Set(["sh", "console", "bash", "shell"]);

/** Folders in which no document of ours is. */
const FOREIGN: ReadonlySet<string> = new Set(["node_modules", "dist", "coverage"]);

/** Every Markdown file below the root, in a steady order. @param root a folder */
export async function readDocuments(root: string): Promise<Document[]> {
  const documents: Document[] = [];
  for await (const path of markdownFiles(root, "")) {
    documents.push(readDocument(path, await Deno.readTextFile(join(root, path))));
  }
  return documents.sort((a, b) => a.path < b.path ? -1 : 1);
}

async function* markdownFiles(root: string, folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(join(root, folder))) {
    const path = join(folder, name);
    if (isFile && name.endsWith(".md")) yield path;
    else if (isDirectory && !FOREIGN.has(name) && (!name.startsWith(".") || name === ".github")) {
      yield* markdownFiles(root, path);
    }
  }
}

/** Takes a document apart. Understands fences, headings, inline links and code spans: what our documents use. */
export function readDocument(path: string, text: string): Document {
  const blocks: CodeBlock[] = [];
  const headings: string[] = [];
  const prose: string[] = [];
  let block: CodeBlock | undefined;
  text.split("\n").forEach((line, index) => {
    const fence = /^\s*```(.*)$/.exec(line);
    if (fence && block === undefined) block = { language: fence[1]!.trim(), text: "", line: index + 1 };
    else if (fence && block !== undefined) {
      blocks.push(block);
      block = undefined;
    } else if (block !== undefined) block.text += `${line}\n`;
    prose.push(fence || block !== undefined ? "" : line);
    const heading = block === undefined ? /^#{1,6}\s+(.*)$/.exec(line) : null;
    if (heading) headings.push(heading[1]!);
  });
  const whole = prose.join("\n");
  return {
    path,
    blocks,
    links: linksOf(whole),
    spans: [...whole.matchAll(/(`+)((?:(?!`)[\s\S])+?)\1(?!`)/g)].map(([, , code]) =>
      code!.replaceAll(/\s*\n\s*/g, " ").trim()
    ),
    anchors: new Set(anchorsOf(headings)),
  };
}

function linksOf(prose: string): Link[] {
  const withoutCode = prose.replaceAll(/`[^`\n]*`/g, (code) => "x".repeat(code.length));
  return [...withoutCode.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => ({
    target: match[1]!,
    line: withoutCode.slice(0, match.index).split("\n").length,
  }));
}

/** As GitHub makes them: lower case, no punctuation, dashes for spaces, a number behind what comes again. */
function anchorsOf(headings: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return headings.map((heading) => {
    const slug = heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(/\s/g, "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
}

/** A command line in a document, and where. */
export interface Line {
  text: string;
  /** `path:line` of its block. */
  where: string;
  /** It stands in a sentence. */
  isSpan?: boolean;
}

/** Whole lines of shell blocks, joined where a backslash ends them, without what is a comment. */
export function commandLines({ path, blocks }: Document): Line[] {
  return blocks.filter(({ language }) => SHELL.has(language)).flatMap(({ text, line }) =>
    text.replaceAll(/\\\n\s*/g, " ").split("\n")
      .map((command) => command.replace(/(^|\s)#.*$/, "").replace(/^\$ /, "").trim())
      .filter((command) => command !== "")
      .map((command) => ({ text: command, where: `${path}:${line}` }))
  );
}
