import { generateKeyPairSync } from "node:crypto";
import type { RecordingFacts } from "./archive.ts";
import { newRecordingKey } from "./format/encryption.ts";
import { type RecordedEvent, Recorder, type RecorderOptions } from "./recorder.ts";
import { Signer } from "./format/signer.ts";

const PAIR = generateKeyPairSync("ed25519", {
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});

/** Of the key that test recordings are signed with. */
export const PUBLIC_KEY: string = PAIR.publicKey;

/** The key itself, in PKCS #8. */
export const PRIVATE_KEY: string = PAIR.privateKey;

/** What a session says of itself: an exec of alice. */
export const FACTS: RecordingFacts = {
  auditId: "a",
  user: { username: "alice" },
  sourceIps: ["192.0.2.7"],
  requestUri: "/api/v1/namespaces/default/pods/web/exec?command=sh",
  kind: "exec",
  namespace: "default",
  pod: "web",
  podUid: "u-1",
  node: "n1",
  tty: false,
  protocol: "SPDY/3.1 v4.channel.k8s.io",
};

/** When test recordings begin. */
export const STARTED_AT = "2026-11-21T12:00:00.000000Z";

/** One event, and how many milliseconds after the session's begin. */
export type TimedEvent = [atMs: number, event: RecordedEvent];

export interface TestRecording {
  auditId?: string;
  tty?: boolean;
  kind?: "exec" | "portforward";
  argv?: readonly string[];
  username?: string;
  events: readonly TimedEvent[];
  options?: Partial<RecorderOptions>;
  /** `age1…` */
  recipient?: string;
  /** Whether it gets its trailer. @default {true} */
  isEnded?: boolean;
}

/** The bytes of a recording that the gateway's own recorder made, at the times that its events say. */
export async function makeRecording(
  { auditId = "a1", tty = true, kind = "exec", argv = ["sh"], username = "alice", ...rest }: TestRecording,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const file = {
    append: (bytes: Uint8Array) => Promise.resolve(void parts.push(bytes.slice())),
    close: () => Promise.resolve(),
  };
  const startedAtMs = Date.parse(STARTED_AT);
  let nowMs = startedAtMs;
  const encryption = rest.recipient === undefined ? undefined : await newRecordingKey([rest.recipient]);
  const recorder = await Recorder.begin(
    {
      auditId,
      user: { username, groups: ["developers"] },
      sourceIps: ["192.0.2.7"],
      requestUri: "/api/v1/namespaces/shop/pods/web/exec",
      kind,
      namespace: "shop",
      pod: "web",
      podUid: "u-1",
      node: "n1",
      container: "app",
      argv,
      tty,
      protocol: "WebSocket v5.channel.k8s.io",
      ...(encryption && { encryption: encryption.header }),
    },
    { signer: new Signer(PAIR.privateKey), ...(encryption && { key: encryption.key }) },
    file,
    {
      windowBytes: 1 << 20,
      windowMs: 60_000,
      appendTimeoutMs: 5_000,
      sealEveryMs: 1_000,
      stdin: "content",
      isRequired: true,
      onFailure: () => {},
      ...rest.options,
    },
    () => nowMs,
  );
  for (const [atMs, event] of rest.events) {
    nowMs = startedAtMs + atMs;
    await recorder.push(event);
    await new Promise((resolve) => setTimeout(resolve)); // a block for each event, as slow sessions have
  }
  if (rest.isEnded !== false) {
    await recorder.end({
      reason: "command_ended",
      by: "upstream",
      message: "the command ended",
      exitCode: 3,
    });
  }
  return new Uint8Array(await new Blob(parts.map((part) => part.slice())).arrayBuffer());
}

/** The numbers that a session of a command has its streams by. */
const IDS: Readonly<Record<string, number>> = { error: 1, stdin: 3, stdout: 5, stderr: 7, resize: 9 };

/** Opens streams of a command. */
export function opened(...names: string[]): TimedEvent[] {
  return names.map((stream) => [0, { type: "opened", id: IDS[stream] ?? 11, stream }]);
}

/** Bytes of one stream, which way they go being known by its name. */
export function said(atMs: number, stream: string, what: string | Uint8Array): TimedEvent {
  const bytes = typeof what === "string" ? new TextEncoder().encode(what) : what;
  const direction = stream === "stdin" || stream === "resize" ? "in" : "out";
  return [atMs, { type: "data", id: IDS[stream] ?? 11, stream, direction, bytes }];
}
