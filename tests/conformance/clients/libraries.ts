import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import type { Cluster } from "../../e2e/support/cluster.ts";
import type { Column } from "../columns.ts";
import type { Claims } from "../matrix.ts";
import { type Asker, type Client, exitCode, STRANGERS_TOKEN } from "./client.ts";
import { Worker } from "./worker.ts";

/** The client libraries that have a program of their own, and its end. */
export interface Libraries extends AsyncDisposable {
  python: Client;
  clientNode: Client;
}

/** Starts both programs; they begin while the first request waits. */
export function openLibraries({ paths }: Cluster): Libraries {
  const python = new Worker(paths.python, ["-u", programPath("python_program.py")]);
  const node = new Worker(Deno.execPath(), [
    "run",
    "-A",
    "--no-check",
    programPath("client_node_program.ts"),
  ]);
  return {
    // It offers v4 alone: there is no way to end stdin.
    python: libraryClient("Python kubernetes", "WebSocket v4", python, { endsStdin: false, attaches: false }),
    clientNode: libraryClient("@kubernetes/client-node", "WebSocket v5", node, {
      endsStdin: true,
      attaches: true,
    }),
    async [Symbol.asyncDispose]() {
      await Promise.all([python[Symbol.asyncDispose](), node[Symbol.asyncDispose]()]);
    },
  };
}

function libraryClient(
  name: string,
  protocol: string,
  worker: Worker,
  { endsStdin, attaches }: { endsStdin: boolean; attaches: boolean },
): Client {
  const token = (at: Column, user: Asker = "root") =>
    user === "stranger" ? STRANGERS_TOKEN : at.tokens.get(user);
  return {
    name,
    protocol,
    endsStdin,
    // One gives an exit code, the other the Status as it came.
    ending: endsStdin ? statusOf : exitCode,
    async exec(at, { stdin, user, ...request }) {
      const input = stdin && { stdin: Buffer.from(stdin).toString("base64") };
      return await worker.ask(at, { verb: "exec", ...request, ...input, token: token(at, user) });
    },
    ...(attaches && {
      attach: async (at, request) => await worker.ask(at, { verb: "attach", ...request, token: token(at) }),
    }),
    async forward(at, { bytes, ...request }) {
      const payload = Buffer.from(bytes).toString("base64");
      return await worker.ask(at, { verb: "forward", ...request, bytes: payload, token: token(at) });
    },
  };
}

function statusOf(code: number): Claims {
  return {
    status: code === 0 ? /"status":"Success"/ : new RegExp(`"reason":"ExitCode","message":"${code}"`),
  };
}

function programPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
