import type { ContainerLog } from "./container_log.ts";

const PROGRAM = new URL("../web.ts", import.meta.url);

/** How long the server may take to listen, in milliseconds. */
const START_TIMEOUT_MS = 30_000;

/** The container `web` of the pod `web`: an HTTP server, a process like those of any container, which runs by itself. */
export class WebContainer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #logging: Promise<void>;

  private constructor(child: Deno.ChildProcess, logging: Promise<void>, readonly port: number) {
    this.#child = child;
    this.#logging = logging;
  }

  /**
   * Starts it and waits until it listens.
   *
   * @param folder the container's home
   * @param cacheFolder where Deno keeps what it compiled
   * @throws {Error} where it does not start
   */
  static async start(folder: string, cacheFolder: string, log: ContainerLog): Promise<WebContainer> {
    const listening = Promise.withResolvers<number>();
    const unfollow = log.follow(({ text }) => {
      const port = /^listening on port (\d+)$/.exec(text)?.[1];
      if (port !== undefined) listening.resolve(Number(port));
    });
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--no-prompt", "--allow-net=127.0.0.1", PROGRAM.href],
      cwd: folder,
      clearEnv: true,
      env: { HOME: folder, HOSTNAME: "web", NO_COLOR: "1", DENO_DIR: cacheFolder, DENO_NO_UPDATE_CHECK: "1" },
      stdin: "piped", // its end tells the server that we are gone, in whatever way that came about
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const logging = log.appendAll(child.stdout);
    const fail = () => listening.reject(new Error("the HTTP server of the pod web did not start"));
    const timer = setTimeout(fail, START_TIMEOUT_MS);
    void logging.then(fail);
    try {
      return new WebContainer(child, logging, await listening.promise);
    } catch (cause) {
      await end(child, logging);
      throw cause;
    } finally {
      clearTimeout(timer);
      unfollow();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#child, this.#logging);
  }
}

async function end(child: Deno.ChildProcess, logging: Promise<void>): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
  await child.stdin.close().catch(() => {});
  await child.status;
  await logging;
}
