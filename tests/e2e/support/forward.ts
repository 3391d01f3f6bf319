import assert from "node:assert/strict";
import type { Gateway } from "./gateway.ts";
import { type Endpoint, Kubectl, type KubectlRun } from "./kubectl.ts";
import { normalised } from "./side_by_side.ts";
import { eventually, within } from "./wait.ts";

/** By whom ports are forwarded, and through what. */
export interface ForwardRun extends Pick<KubectlRun, "client" | "user"> {
  /** @default the gateway */
  endpoint?: Endpoint;
}

/** A `kubectl port-forward` that runs. */
export class Forward {
  private constructor(
    readonly gateway: Gateway,
    readonly kubectl: Kubectl,
    /** Local port and the pod's port, as kubectl says them. */
    readonly pairs: [[local: number, remote: number], ...[local: number, remote: number][]],
  ) {}

  /** Starts it, and waits until it listens for each of the ports, which are as kubectl takes them. */
  static async start(
    gateway: Gateway,
    { endpoint = gateway, ...run }: ForwardRun,
    target: string,
    ...ports: string[]
  ): Promise<Forward> {
    const args = ["port-forward", "--address", "127.0.0.1", target, ...ports];
    const session = Kubectl.start({ cluster: gateway.cluster, endpoint, ...run, args });
    await session.shows("Forwarding from");
    await eventually("every port is forwarded", () => {
      return forwarded(session.stdoutText).length === ports.length || undefined;
    });
    const [first, ...others] = forwarded(session.stdoutText);
    assert.ok(first !== undefined);
    return new Forward(gateway, session, [first, ...others]);
  }

  /** Ends it as Ctrl-C does. @param names what stands in the outputs for a port that differs */
  async stop(...names: [name: string, port: number][]) {
    this.kubectl.kill("SIGINT");
    const { code, stdout, stderr } = normalised(this.gateway, await this.kubectl.outcome);
    const said = names.reduce(
      (text, [name, port]) => text.replaceAll(`${port}`, name),
      new TextDecoder().decode(stdout),
    );
    return { code, stdout: said, stderr };
  }
}

/** What the port says of itself, without being asked. */
export async function greeting(port: number): Promise<string> {
  return await ask(port, "");
}

/** The first piece of what a port answers; empty where it ends without one. */
export async function ask(port: number, text: string): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text));
  const bytes = new Uint8Array(64);
  const count = await within(10_000, `port ${port} answers`, connection.read(bytes).catch(() => null));
  return new TextDecoder().decode(bytes.subarray(0, count ?? 0));
}

function forwarded(stdout: string): [local: number, remote: number][] {
  return [...stdout.matchAll(/^Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)$/gm)]
    .map(([, local, remote]) => [Number(local), Number(remote)]);
}
