import { opened, said, type TestRecording } from "../../recording/test_recording.ts";

const SIZE = (width: number, height: number) => JSON.stringify({ Width: width, Height: height });

/** Bytes that are no text and cannot be compressed: the same on every run. */
function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = 1;
  for (let at = 0; at < length; at++) {
    state = (state * 48271) % 0x7fffffff;
    bytes[at] = state & 0xff;
  }
  return bytes;
}

/** Recordings that together have every kind of block and of chunk, and both ways of writing a payload. */
export const RECORDINGS: readonly { name: string; recording: TestRecording; isCompressed: boolean }[] = [
  {
    name: "a session of a terminal, none of whose blocks is compressed",
    isCompressed: false,
    recording: {
      argv: ["vi", "notes ☃"],
      events: [
        ...opened("stdin", "stdout", "error", "resize"),
        said(5, "resize", SIZE(132, 43)),
        said(200, "stdout", "\x1b[?1049h\x1b[2J☃"),
        said(90_000.25, "stdin", ":q\r"),
        said(3_600_000, "stdout", "\x1b[?1049l\xff"),
        said(3_600_001, "error", '{"metadata":{},"status":"Success"}'),
      ],
    },
  },
  {
    name: "a command without a terminal, that says much",
    isCompressed: true,
    recording: {
      tty: false,
      options: { stdin: "digest" },
      events: [
        ...opened("stdin", "stdout", "stderr"),
        said(1, "stdin", "password"),
        said(2, "stdout", "the same line again and again\n".repeat(20_000)),
        said(3, "stderr", noise(300_000)),
        [4, { type: "half_closed", id: 3, stream: "stdin", direction: "in" }],
        [5, { type: "half_closed", id: 3, stream: "stdin", direction: "out" }],
      ],
    },
  },
  {
    name: "forwarded connections, one of them reset",
    isCompressed: false,
    recording: {
      kind: "portforward",
      tty: false,
      events: [
        [0, { type: "opened", id: 1, stream: "data:8080" }],
        [1, { type: "opened", id: 3, stream: "data:8080" }],
        [2, { type: "data", id: 3, stream: "data:8080", direction: "in", bytes: noise(100) }],
        [2, { type: "data", id: 1, stream: "data:8080", direction: "out", bytes: noise(90) }],
        [3, { type: "reset", id: 3, stream: "data:8080", direction: "out", status: 5 }],
        [4, { type: "reset", id: 1, stream: "data:8080", direction: "in", status: 8 }],
      ],
    },
  },
];
