import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { masked } from "../transcript.ts";
import { type Client, exitCode } from "./client.ts";
import { seenOf } from "./kubectl.ts";
import { type Program, runProgram } from "./program.ts";

/** What many connections through one port-forward are to do. */
export interface Load {
  pod: string;
  ports: readonly number[];
  connections: number;
  /** How many of them are reset half-way. */
  resets: number;
  bytesEach: number;
  /** Local TCP ports, or the pairs of streams by hand. @default {"forwarder"} */
  through?: "forwarder" | "dialer";
}

/** The program that uses client-go as its documentation says, in each of its ways to speak. */
export interface GoClient extends Client {
  /** All connections at once; whoever is not reset must get back what it sent. */
  load(at: Column, load: Load): Promise<Seen>;
}

export const GO_CLIENTS: readonly GoClient[] = [
  goClient("websocket", "WebSocket"),
  goClient("spdy", "SPDY v5"),
];

function goClient(transport: string, protocol: string): GoClient {
  const run = (
    at: Column,
    verb: string,
    args: readonly string[],
    program: Partial<Program> = {},
    user = "root",
  ) =>
    runProgram({
      binary: at.cluster.paths.goClient,
      args: [verb, "--kubeconfig", at.kubeconfig, "--context", user, "--transport", transport, ...args],
      ...program,
    });
  return {
    name: "client-go",
    protocol,
    endsStdin: true,
    ending: exitCode,
    async exec(at, { pod, container, argv, stdin, tty, user }) {
      const args = ["--pod", pod];
      if (container !== undefined) args.push("--container", container);
      if (stdin !== undefined) args.push("--stdin");
      if (tty) args.push("--tty");
      return seenOf(at, await run(at, "exec", [...args, "--", ...argv], { stdin }, user));
    },
    async forward(at, { pod, ports, bytes }) {
      return await this.load(at, {
        pod,
        ports,
        connections: ports.length,
        resets: 0,
        bytesEach: bytes.length,
      });
    },
    async load(at, { pod, ports, connections, resets, bytesEach, through = "forwarder" }) {
      const numbers = { connections, resets, bytes: bytesEach, ports: ports.join(","), through };
      const flags = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, `${value}`]);
      const outcome = await run(at, "portforward", ["--pod", pod, ...flags], { deadlineMs: 120_000 });
      const { code, stderr } = outcome;
      const stdout = new TextDecoder().decode(outcome.stdout).replace(/"ms":\d+/, '"ms":0');
      return {
        "exit code": `${code}`,
        stdout: masked(at, stdout),
        ...(code !== 0 && { stderr: new TextDecoder().decode(stderr) }),
      };
    },
  };
}
