import { ApiError, type KubeClient } from "./client.ts";

/**
 * Asks the API server for something that everybody may know, with the gateway's own credentials: whether it answers, and
 * whether it still takes them. A server that knows them not refuses before it looks at what was asked.
 *
 * @returns what is wrong, in one sentence for people; `undefined` where all is well
 */
export async function apiServerFault(
  client: Pick<KubeClient, "get">,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await client.get("/version", signal);
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) return thrown instanceof Error ? thrown.message : "cannot be asked";
    if (thrown.code === 401) return "the API server does not accept the gateway's credentials";
    // It knows us, and says so in some other way: a 403 is as good an answer as any.
    if (thrown.code >= 500) return thrown.message;
  }
  return undefined;
}
