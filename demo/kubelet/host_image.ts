import type { V1Container } from "@kubernetes/client-node";
import type { ContainerLog } from "./container_log.ts";

const WEB_SERVER = new URL("../web.ts", import.meta.url).href;

/** How long a server may take to listen, in milliseconds. */
const LISTEN_TIMEOUT_MS = 30_000;

/** What a container starts with. */
export interface Entrypoint {
  argv: readonly string[];
  /** Beside what every container has. */
  env: Readonly<Record<string, string>>;
  /** It is an HTTP server, which says in its first line of output on which port of this machine it listens. */
  isServer: boolean;
}

/**
 * What a container runs. Whatever its image is called, it is this machine: a shell where the spec says nothing, and one more command,
 * `serve`.
 *
 * @param cacheFolder where Deno keeps what it compiled
 */
export function entrypoint({ command = [], args = [] }: V1Container, cacheFolder: string): Entrypoint {
  const argv = [...command, ...args];
  if (argv.join(" ") !== "serve") return { argv: argv.length > 0 ? argv : ["sh"], env: {}, isServer: false };
  return {
    argv: [Deno.execPath(), "run", "--no-config", "--no-prompt", "--allow-net=127.0.0.1", WEB_SERVER],
    env: { NO_COLOR: "1", DENO_DIR: cacheFolder, DENO_NO_UPDATE_CHECK: "1" },
    isServer: true,
  };
}

/** The port on which a server says that it listens; `undefined` where it `ended`, or takes too long. */
export async function listeningPort(log: ContainerLog, ended: Promise<unknown>): Promise<number | undefined> {
  const found = Promise.withResolvers<number | undefined>();
  const unfollow = log.follow(({ text }) => {
    const port = /^listening on port (\d+)$/.exec(text)?.[1];
    if (port !== undefined) found.resolve(Number(port));
  });
  const timer = setTimeout(() => found.resolve(undefined), LISTEN_TIMEOUT_MS);
  void ended.then(() => found.resolve(undefined));
  try {
    return await found.promise;
  } finally {
    clearTimeout(timer);
    unfollow();
  }
}
