/** Edge cases of kubelets that do what none does: E-17 to E-19, E-22, E-66 to E-70. The kubelet is our own. */

import type { KubectlClient } from "../clients/kubectl.ts";
import { podTarget, spdyUpgrade, webSocketUpgrade } from "../clients/request.ts";
import { SpdySession } from "../clients/spdy_session.ts";
import { WebSocketSession } from "../clients/websocket_session.ts";
import type { Column } from "../columns.ts";
import { FAKED, type FakedKubelet, refusal, type Script, type Streams } from "../faked_kubelet.ts";
import type { Row, Seen } from "../matrix.ts";
import type { Case } from "./case.ts";
import { V4, V5 } from "./sessions.ts";

const SUCCESS = '{"metadata":{},"status":"Success"}';

/** Ends all as the runtime does: what was said, FIN on the outputs, a status, GOAWAY. */
async function end({ stdout, stderr, error }: Streams, status: readonly string[]): Promise<void> {
  await stdout?.end();
  await stderr?.end();
  for (const piece of status) await error?.write(piece);
  await error?.cancel();
}

/** What the kubelet does, by the first word of the command. */
export const SCRIPTS: Readonly<Record<string, Script>> = {
  "not-found": { answer: refusal(404, "Not Found", "pod does not exist") },
  "redirected": { answer: refusal(302, "Found", "", "Location: /elsewhere") },
  "busy": { answer: refusal(429, "Too Many Requests", "too many", "Retry-After: 60") },
  "plain-200": { answer: refusal(200, "OK", "hello") },
  "unnamed": {
    protocol: null,
    async play(streams, mux) {
      await end(streams, [SUCCESS]);
      await mux.close();
    },
  },
  "cut": {
    async play(streams, _mux, tcp) {
      await streams.stdout?.write("half of i");
      tcp.close();
    },
  },
  "no-status": {
    async play(streams, mux) {
      await streams.stdout?.write("all of it\n");
      await end(streams, []);
      await mux.close();
    },
  },
  "empty-status": {
    async play(streams, mux) {
      await end(streams, ["{}"]);
      await mux.close();
    },
  },
  "exit-256": {
    async play(streams, mux) {
      const causes = [{ reason: "ExitCode", message: "256" }];
      const status = {
        metadata: {},
        status: "Failure",
        message: "odd",
        reason: "NonZeroExitCode",
        details: { causes },
      };
      await end(streams, [JSON.stringify(status)]);
      await mux.close();
    },
  },
  "status-in-three": {
    async play(streams, mux) {
      await end(streams, [SUCCESS.slice(0, 5), SUCCESS.slice(5, 20), SUCCESS.slice(20)]);
      await mux.close();
    },
  },
  "no-fin": {
    async play({ stdout, error }, mux) {
      await stdout?.write("out\n");
      await error?.write(SUCCESS);
      await error?.end();
      await mux.ended;
    },
  },
  "stdin-closed": {
    async play(streams, mux) {
      await streams.stdin?.end();
      await streams.stdout?.write("going on\n");
      await new Promise((resolve) => setTimeout(resolve, 300));
      await streams.stdout?.write("to the end\n");
      await end(streams, [SUCCESS]);
      await mux.close();
    },
  },
};

const NONE: readonly string[] = [];

interface Asked {
  /** @default {FAKED.pod} */
  pod?: string;
  /** By which the kubelet keeps the request's head. */
  word?: string;
  /** Lines beside those of the upgrade. */
  headers?: readonly string[];
}

const target = (script: string, pod: string = FAKED.pod, word = "") =>
  podTarget(pod, "exec", { command: word === "" ? [script] : [script, word], stdin: "1", stdout: "1" });

async function overSpdy(
  at: Column,
  script: string,
  { pod = FAKED.pod, word = "", headers = NONE }: Asked = {},
): Promise<Seen> {
  const request = { target: target(script, pod, word), headers: [...spdyUpgrade(V4), ...headers] };
  using session = await SpdySession.open(at, request);
  if (session.isOpen) await session.open("error", "stdin", "stdout");
  return await session.seen(2_000);
}

async function overWebSocket(at: Column, script: string, protocol: string, pod?: string): Promise<Seen> {
  using session = await WebSocketSession.open(at, {
    target: target(script, pod),
    headers: webSocketUpgrade(protocol),
  });
  return await session.seen(2_000);
}

const answers = [
  { number: "E-17" as const, script: "not-found", what: "answers 404" },
  { number: "E-18" as const, script: "redirected", what: "redirects" },
  { script: "busy", what: "answers 429" },
  { script: "plain-200", what: "answers 200" },
];

const sessions = [
  { number: "E-66" as const, script: "cut", what: "is lost in the middle of an output" },
  { number: "E-66a" as const, script: "no-status", what: "ends without a status" },
  { number: "E-67" as const, script: "empty-status", what: "sends a status that says nothing" },
  { number: "E-60a" as const, script: "exit-256", what: "sends an exit code that is none" },
  { number: "E-68" as const, script: "status-in-three", what: "sends its status in three pieces" },
  { number: "E-69" as const, script: "no-fin", what: "ends the error stream and never the output" },
  { number: "E-70" as const, script: "stdin-closed", what: "ends stdin early, and goes on" },
  { script: "unnamed", what: "switches without naming a protocol" },
];

/** The cases, each on the transports that show it. */
export function upstreamCases(kubelet: Pick<FakedKubelet, "heads">): Case[] {
  const common = (what: string, protocol: string) => ({
    command: `exec: a kubelet that ${what}`,
    protocol,
    given: "a kubelet of our own",
    when: `it ${what}`,
    then: "what the API server makes of it",
  });
  const bySpdy = [...answers, ...sessions].map(({ script, what, ...rest }): Case => ({
    ...rest,
    ...common(what, "SPDY v4"),
    play: (at) => overSpdy(at, script),
  }));
  const byV5 = [...answers, ...sessions].map(({ script, what, ...rest }): Case => ({
    ...rest,
    ...common(what, "WebSocket v5"),
    play: (at) => overWebSocket(at, script, V5),
  }));
  const byV4 = answers.map(({ script, what, ...rest }): Case => ({
    ...rest,
    ...common(what, "WebSocket v4"),
    play: (at) => overWebSocket(at, script, V4),
  }));
  const unreachable = ["SPDY v4", "WebSocket v4", "WebSocket v5"].map((protocol): Case => ({
    number: "E-19",
    ...common("is not there", protocol),
    play: (at) =>
      protocol === "SPDY v4"
        ? overSpdy(at, "none", { pod: FAKED.unreachable })
        : overWebSocket(at, "none", protocol === "WebSocket v4" ? V4 : V5, FAKED.unreachable),
  }));
  const forwardedFor: Case = {
    number: "E-22",
    command: "exec: X-Forwarded-For",
    protocol: "SPDY v4",
    given: "a client that says for whom it asks",
    when: "the kubelet is asked",
    then: "it learns that, and who asked the API server",
    play: async (at) => {
      await overSpdy(at, "no-status", { word: at.word, headers: ["X-Forwarded-For: 192.0.2.1"] });
      const head = kubelet.heads.get(at.word) ?? "no request";
      return { "x-forwarded-for": /^x-forwarded-for: (.*)$/im.exec(head)?.[1] ?? "none" };
    },
    directly: { "x-forwarded-for": /^192\.0\.2\.1, 127\.0\.0\.1$/ },
  };
  return [...bySpdy, ...byV5, ...byV4, ...unreachable, forwardedFor];
}

/** What a kubectl makes of the same. */
export function upstreamRows(client: KubectlClient): Row[] {
  return [...answers, ...sessions].filter(({ script }) => script !== "no-fin").map(({ script, what }) => ({
    client: client.name,
    command: `exec: a kubelet that ${what}`,
    protocol: client.protocol,
    observe: (at) => client.run(at, ["exec", FAKED.pod, "--", script]),
  }));
}
