import type { Health, Verdict } from "./health.ts";

/** What the admin port tells of. */
export interface AdminParts {
  health: Pick<Health, "verdict">;
  /** All metrics, in the text format of Prometheus. */
  metrics(): Promise<string>;
}

/** When an unready gateway may be asked again, in seconds. */
const RETRY_AFTER_SECONDS = 5;

/** The text format, as Prometheus asks for it. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const TEXT_TYPE = "text/plain; charset=utf-8";

/**
 * Answers `/healthz` (the process lives), `/readyz` (it can do its work; `?verbose` says what of it, as JSON) and `/metrics`.
 * What is not ready is always named, for whoever reads what a probe was answered.
 */
export function adminHandler({ health, metrics }: AdminParts) {
  return async (method: string, path: string, query: URLSearchParams): Promise<Response> => {
    if (!["/healthz", "/readyz", "/metrics"].includes(path)) return text(404, "not found\n");
    if (method !== "GET" && method !== "HEAD") {
      return text(405, "method not allowed\n", { Allow: "GET, HEAD" });
    }
    if (path === "/healthz") return text(200, "ok\n");
    if (path === "/metrics") return text(200, await metrics(), { "Content-Type": METRICS_TYPE });
    const verdict = await health.verdict();
    const isVerbose = query.has("verbose");
    const type = { "Content-Type": isVerbose ? "application/json" : TEXT_TYPE };
    const body = isVerbose ? `${JSON.stringify(verdict)}\n` : sentenceOf(verdict);
    if (verdict.ready) return text(200, body, type);
    return text(503, body, { ...type, "Retry-After": String(RETRY_AFTER_SECONDS) });
  };
}

function sentenceOf({ ready, checks }: Verdict): string {
  const down = checks.filter(({ ok }) => !ok).map(({ name, message }) => `${name}: ${message}\n`);
  return [...(ready ? ["ok\n"] : []), ...down].join("");
}

function text(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(body, {
    status,
    headers: { "Cache-Control": "no-store", "Content-Type": TEXT_TYPE, ...headers },
  });
}
