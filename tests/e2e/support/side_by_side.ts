import type { Gateway } from "./gateway.ts";
import type { Endpoint, Outcome } from "./kubectl.ts";
import { DeadlineError } from "./wait.ts";

/**
 * Runs at both at once: straight at the API server, and through the gateway. Only the API server gets a second chance: of 150 runs
 * of `true` by SPDY straight at it, one does not end, its stdout being left open.
 */
export async function both<T>(
  gateway: Gateway,
  run: (endpoint: Endpoint) => Promise<T>,
): Promise<[direct: T, through: T]> {
  const apiServer: Endpoint = gateway.cluster.paths;
  const directly = run(apiServer).catch((error) => {
    if (error instanceof DeadlineError) return run(apiServer);
    throw error;
  });
  return await Promise.all([directly, run(gateway)]);
}

/** An outcome with its standard error as text, without what must or may differ. */
export function normalised(gateway: Gateway, { code, stdout, stderr }: Outcome) {
  return { code, stdout, stderr: withoutNames(gateway, new TextDecoder().decode(stderr)) };
}

/**
 * What must differ: the server's address, and the random name that containerd gives an exec. What may: kubectl says
 * that it drops the empty messages that open a WebSocket session where they come before it expects them, and they come
 * at any time from either server.
 */
export function withoutNames(gateway: Gateway, output: string): string {
  return output
    .replaceAll(gateway.cluster.apiServerUrl, "<server>").replaceAll(gateway.url, "<server>")
    .replaceAll(/exec "[0-9a-f]{64}"/g, 'exec "<id>"')
    .replaceAll(/^E\d{4} .* websocket\.go:\d+\] Unknown stream id \d, discarding message\r?\n/gm, "");
}
