import { recordingSink } from "./recording_sink.ts";
import { file, list, oneOf, section, text, wholeNumber } from "../values.ts";

const retention = section({
  maxAgeDays: wholeNumber({
    from: 0,
    to: 36500,
    fallback: 0,
    description:
      "How many days a recording is kept after its session ended; 0: for ever. A chain of recordings is kept for as long, " +
      "and until the last recording is gone that it names.",
  }),
  maxBytes: wholeNumber({
    from: 0,
    to: Number.MAX_SAFE_INTEGER,
    fallback: 0,
    description:
      "How many bytes all recordings may come to; 0: as many as there are. Of more, the oldest are deleted. Chains are not " +
      "counted.",
  }),
  sweepSeconds: wholeNumber({
    from: 1,
    to: 86400,
    fallback: 3600,
    description: "How often is looked for recordings that are not to be kept.",
  }),
}).prefault({}).meta({
  description:
    "How long recordings are kept: for ever, unless it is said otherwise. Each deletion is an event before it is done. What " +
    "is on legal hold (`postern hold`) stays, and so does the recording of a session that lives.",
});

/** What is kept of the bytes that pass. */
export const recording = section({
  mode: oneOf(["required", "best-effort", "off"], {
    fallback: "required",
    description:
      "`required`: no session without its recording; one whose recording breaks ends. `best-effort`: a session goes on " +
      "without. `off`: nothing is recorded. In each of them, a session that a rule obliges to be recorded (that of a " +
      "cluster-admin in a privileged container) is not opened without.",
  }),
  stdin: oneOf(["digest", "content", "none"], {
    fallback: "digest",
    description:
      "What of stdin is kept. `digest`: its length and SHA-256, since passwords are typed there. `content`: its bytes. " +
      "`none`: its length.",
  }),
  portForward: oneOf(["digest", "content"], {
    fallback: "digest",
    description:
      "What of forwarded connections is kept. `digest`: when each was open, its lengths and SHA-256. " +
      "`content`: its bytes.",
  }),
  instance: text("a name of letters, digits, dots and dashes", { maxLength: 63, pattern: /^[A-Za-z0-9.-]+$/ })
    .optional().meta({
      description:
        "Names the chain of this process's recordings. No two processes that share a store may have the " +
        "same; absent, it is the host's name.",
    }),
  windowBytes: wholeNumber({
    from: 4096,
    to: 67108864,
    fallback: 262144,
    description:
      "How many bytes a session may be ahead of what the sink has acknowledged, however slow the sink is.",
  }),
  maxWindowBytes: wholeNumber({
    from: 4096,
    to: 67108864,
    fallback: 2097152,
    description:
      "How many bytes a session may be ahead whose sink is fast: as many as the sink takes in `windowMilliseconds` at the " +
      "pace of its last answer, and never more than this. It bounds the memory of a session's recording. `windowBytes`, " +
      "or less: the window does not grow.",
  }),
  windowMilliseconds: wholeNumber({
    from: 10,
    to: 60000,
    fallback: 1000,
    description: "How long a session may be ahead of what the sink has acknowledged.",
  }),
  writeTimeoutSeconds: wholeNumber({
    from: 1,
    to: 600,
    fallback: 15,
    description:
      "How long the sink may take to acknowledge; a session that waits for longer has lost its recording.",
  }),
  sealSeconds: wholeNumber({
    from: 1,
    to: 3600,
    fallback: 30,
    description: "How often what stands in a recording is signed while its session lives.",
  }),
  signingKeyFile: file().default("/etc/postern/recording/signing.key").meta({
    description: "Ed25519 private key in PEM (PKCS #8) that recordings are signed with.",
  }),
  recipients: list(
    text("an age recipient such as age1…", { maxLength: 4096, pattern: /^age1[0-9a-z]+$/ }),
    32,
  ).default([]).meta({
    description: "To whom recordings are encrypted, each `age1…`; empty: they are not encrypted.",
  }),
  sink: recordingSink,
  retention,
}).prefault({}).meta({
  description: "What is kept of the bytes that pass: every session, unless it is said otherwise.",
});
