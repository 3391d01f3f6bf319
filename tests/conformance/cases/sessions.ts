/** Sessions as the edge cases need them: what is asked for follows from the streams that are opened. */

import { podTarget, spdyUpgrade, webSocketUpgrade } from "../clients/request.ts";
import { SpdySession } from "../clients/spdy_session.ts";
import { WebSocketSession } from "../clients/websocket_session.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { POD } from "../pods.ts";

export const V4 = "v4.channel.k8s.io";
export const V5 = "v5.channel.k8s.io";

/** What to ask for. */
export interface ExecOptions {
  /** Streams that the request announces. @default {["stdin", "stdout", "stderr"]} */
  flags?: readonly string[];
  tty?: boolean;
  /** Stream protocols that are offered. @default {["v4.channel.k8s.io"]} */
  protocols?: readonly string[];
  /** How long a server that says nothing more is listened to. */
  quietMs?: number;
  pod?: string;
}

const ALL = ["stdin", "stdout", "stderr"];

/** An exec of these words. */
export function execTarget(
  argv: readonly string[] | string,
  { flags = ALL, tty = false, pod = POD.one }: ExecOptions,
): string {
  const command = typeof argv === "string" ? ["sh", "-c", argv] : argv;
  const query = {
    command,
    ...Object.fromEntries(flags.map((flag) => [flag, "true"])),
    ...(tty && { tty: "true" }),
  };
  return podTarget(pod, "exec", query);
}

/** Plays with a command over SPDY; streams are opened by `play`. */
export async function overSpdy(
  at: Column,
  argv: readonly string[] | string,
  options: ExecOptions,
  play: (session: SpdySession) => Promise<unknown>,
): Promise<Seen> {
  const headers = spdyUpgrade(...options.protocols ?? [V4]);
  using session = await SpdySession.open(at, { target: execTarget(argv, options), headers });
  if (session.isOpen) await play(session);
  return await session.seen(options.quietMs);
}

/** The same with the usual streams open: error 1, stdin 3, stdout 5, stderr 7. */
export async function withStreams(
  at: Column,
  argv: readonly string[] | string,
  play: (session: SpdySession) => Promise<unknown>,
  options: ExecOptions = {},
): Promise<Seen> {
  return await overSpdy(at, argv, options, async (session) => {
    await session.open("error", "stdin", "stdout", "stderr");
    await play(session);
  });
}

/** Plays with a command over WebSocket. */
export async function overWebSocket(
  at: Column,
  argv: readonly string[] | string,
  options: ExecOptions,
  play: (session: WebSocketSession) => Promise<unknown> = () => Promise.resolve(),
): Promise<Seen> {
  const headers = webSocketUpgrade(...options.protocols ?? [V4]);
  using session = await WebSocketSession.open(at, { target: execTarget(argv, options), headers });
  if (session.isOpen) await play(session);
  return await session.seen(options.quietMs);
}
