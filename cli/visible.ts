import { safeJson } from "../audit/line.ts";

/**
 * Text as a terminal may print it: what would move its cursor, colour it, turn the direction of reading or begin a new line stands
 * there as `\u001b` or `\n`, and so do a backslash and a quote, so that nothing can pretend to have been such.
 */
export function visible(text: string): string {
  return safeJson(text).slice(1, -1);
}

/** A command as one might type it: words that a shell would split or read otherwise are quoted. */
export function visibleCommand(argv: readonly string[]): string {
  return argv.map((word) => /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : safeJson(word)).join(" ");
}

/** No more of a text than fits, with a sign that there is more. @param columns at least 1 */
export function fit(text: string, columns: number): string {
  const characters = [...text];
  return characters.length <= columns ? text : `${characters.slice(0, columns - 1).join("")}…`;
}

/** Rows in columns, each as wide as its widest cell, the last one as it is. Cells must be visible text already. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => widths[index] = Math.max(widths[index] ?? 0, [...cell].length));
  }
  return rows.map((row) => {
    const cells = row.map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - [...cell].length));
    return `${cells.join("  ").trimEnd()}\n`;
  }).join("");
}
