import { Buffer } from "node:buffer";
import { z } from "zod";
import { CatalogError } from "./catalog_error.ts";
import { microTime } from "./read_event.ts";
import { type Cell, storable } from "./tables.ts";

/** Which sessions are wanted: those of which all that is given holds. */
export interface Filter {
  /** Who authenticated, or as whom. */
  user?: string;
  namespace?: string;
  pod?: string;
  container?: string;
  /** RFC 3339, UTC: requests that came then or later. */
  from?: string;
  /** RFC 3339, UTC: requests that came before. */
  to?: string;
  /** As {@linkcode SessionRow} has it. */
  kind?: string;
  /** The target is one that the policy guards for cluster-admins. */
  privileged?: boolean;
  /** The session was forbidden, or a connection in it was. */
  denied?: boolean;
  /** The session was opened, and has not ended as far as the index knows. */
  live?: boolean;
  /** Is in the command, whose words are joined by spaces, in whatever case. */
  argv?: string;
}

/** Which of them are given at once. */
export interface Page {
  /** From 1 to {@linkcode MAX_PAGE}. @default 100 */
  limit?: number;
  /** What {@linkcode cursorOf} said of the last one of the page before. */
  after?: string;
}

/** Most sessions of a page. */
export const MAX_PAGE = 1_000;

/** Longest text that is looked for, in UTF-16 units. */
const MAX_TEXT = 1_024;

/** Where the page behind a session begins: opaque, fit for a URL. */
export function cursorOf({ startedAt, auditId }: { startedAt: string; auditId: string }): string {
  return Buffer.from(JSON.stringify([startedAt, auditId])).toString("base64url");
}

const Cursor = z.tuple([z.string().max(64), z.string().max(256)]);

function parseCursor(text: string): [string, string] {
  try {
    return Cursor.parse(JSON.parse(Buffer.from(text, "base64url").toString()));
  } catch {
    throw new CatalogError("invalid", "expected a cursor that an earlier page gave");
  }
}

/**
 * The question as SQL.
 *
 * @param columns what is selected
 * @throws {CatalogError} `invalid`
 */
export function selectSessions(
  filter: Filter,
  { limit = 100, after }: Page,
  columns: readonly string[],
): { sql: string; values: Cell[] } {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) {
    throw new CatalogError("invalid", `expected a page of 1 to ${MAX_PAGE} sessions`);
  }
  const values: Cell[] = [];
  const bind = (value: Cell) => `$${values.push(typeof value === "string" ? storable(value) : value)}`;
  const { user, namespace, pod, container, from, to, kind, privileged, denied, live, argv } = filter;
  const where: string[] = [];
  const equal = (column: string, value: string | undefined) => {
    if (value !== undefined) where.push(`${column} = ${bind(bounded(value))}`);
  };
  // As the partial indexes have it: SQLite knows `denied` there, and not `denied is true`.
  const whether = (condition: string, wanted: boolean | undefined) => {
    if (wanted !== undefined) where.push(wanted ? `(${condition})` : `(${condition}) is not true`);
  };
  if (user !== undefined) {
    const one = bind(bounded(user));
    where.push(`(username = ${one} or impersonated_user = ${one})`);
  }
  equal("namespace", namespace);
  equal("pod", pod);
  equal("container", container);
  equal("kind", kind);
  if (from !== undefined) where.push(`started_at >= ${bind(microTime(from))}`);
  if (to !== undefined) where.push(`started_at < ${bind(microTime(to))}`);
  whether("privileged", privileged);
  whether("denied", denied);
  whether("opened_at is not null and ended_at is null", live);
  if (argv !== undefined) where.push(`argv_text like ${bind(likePattern(bounded(argv)))} escape '!'`);
  if (after !== undefined) {
    const [startedAt, auditId] = parseCursor(after);
    where.push(`(started_at, audit_id) < (${bind(startedAt)}, ${bind(auditId)})`);
  }
  const condition = where.length === 0 ? "" : ` where ${where.join(" and ")}`;
  const order = `order by started_at desc, audit_id desc limit ${bind(limit)}`;
  return { sql: `select ${columns.join(", ")} from sessions${condition} ${order}`, values };
}

/** Words that mean themselves, somewhere in the text. */
function likePattern(text: string): string {
  return `%${searchable(text).replace(/[!%_]/g, "!$&")}%`;
}

/** Text in one case, the same in every database. */
export function searchable(text: string): string {
  return storable(text).toLowerCase();
}

function bounded(text: string): string {
  if (text.length > MAX_TEXT) throw new CatalogError("invalid", `expected at most ${MAX_TEXT} characters`);
  return text;
}
