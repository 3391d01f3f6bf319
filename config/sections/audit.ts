import { z } from "zod";
import {
  expected,
  file,
  flag,
  isPrivateUrl,
  list,
  optionalFile,
  section,
  webUrl,
  wholeNumber,
} from "../values.ts";
import { argv } from "./argv.ts";
import { strangers } from "./strangers.ts";

const stdout = section({
  type: z.literal("stdout").meta({ description: "Events go to the standard output." }),
});

const toFile = section({
  type: z.literal("file").meta({ description: "Events are appended to a file." }),
  path: file().meta({ description: "The file. Every process needs its own; it is made with mode 0600." }),
  maxBytes: wholeNumber({
    from: 65536,
    to: 1099511627776,
    fallback: 104857600,
    description: "Size at which the file becomes `<path>.1` and a new one is begun.",
  }),
  maxFiles: wholeNumber({
    from: 2,
    to: 10000,
    fallback: 10,
    description: "Files kept, the one being written among them; the oldest is deleted.",
  }),
  fsync: flag({
    fallback: true,
    description: "Wait until the disk has the event. Without it, a power cut loses what was acknowledged.",
  }),
});

/** How something is posted to over HTTP, and what is shown to it. */
const endpoint = {
  caFile: optionalFile("Certificate authorities that are trusted beside the system's own, in PEM."),
  clientCertificateFile: optionalFile("A client certificate, in PEM; needs `clientKeyFile`."),
  clientKeyFile: optionalFile("Private key of `clientCertificateFile`, in PEM."),
  timeoutSeconds: wholeNumber({
    from: 1,
    to: 300,
    fallback: 10,
    description: "How long one request may take. What took longer is sent again.",
  }),
  retry: section({
    initialBackoffSeconds: wholeNumber({
      from: 1,
      to: 600,
      fallback: 1,
      description: "How long is waited after a request that failed. The wait doubles with each that follows.",
    }),
    maxBackoffSeconds: wholeNumber({
      from: 1,
      to: 3600,
      fallback: 30,
      description: "How long is waited at most.",
    }),
  }).prefault({}).meta({ description: "How often is asked again." }),
};

const webhook = section({
  type: z.literal("webhook").meta({
    description:
      "Events are posted to a URL as the API server posts its own: `EventList` of `audit.k8s.io/v1`. They are on disk " +
      "before a session opens, and sent from there in order, at least once, however long the receiver is down.",
  }),
  url: webUrl().meta({
    description:
      "Where to. Redirects are not followed. An answer of 400, 406, 411, 413, 415 or 422 to a single event sets that " +
      "one aside, into `rejected` in the spool; after every other that is no success it is sent again.",
  }),
  tokenFile: optionalFile("A bearer token, read again when it changes. Over `https`, or to this machine."),
  ...endpoint,
  batch: section({
    maxEvents: wholeNumber({
      from: 1,
      to: 10000,
      fallback: 400,
      description: "How many events one request has at most.",
    }),
    maxBytes: wholeNumber({
      from: 1024,
      to: 67108864,
      fallback: 1048576,
      description: "How large the events of one request are at most; a larger event goes alone.",
    }),
    maxWaitSeconds: wholeNumber({
      from: 0,
      to: 60,
      fallback: 1,
      description: "How long an event waits for others to go with it.",
    }),
  }).prefault({}).meta({ description: "What goes in one request." }),
  spool: section({
    directory: file().meta({
      description:
        "The folder where events wait. Every process needs its own, on a disk that outlives it; it is made with mode " +
        "0700.",
    }),
    maxBytes: wholeNumber({
      from: 16777216,
      to: 1099511627776,
      fallback: 1073741824,
      description:
        "How much may wait, with what was set aside. When it is full, writing fails: no audit, no session.",
    }),
  }).meta({ description: "Where events wait for the receiver." }),
});

const otlp = section({
  type: z.literal("otlp").meta({
    description:
      "Events are sent to an OpenTelemetry collector as logs, by OTLP over HTTP in JSON. They wait in memory.",
  }),
  url: webUrl().meta({ description: "Where to, with its path, which is usually `/v1/logs`." }),
  headersFile: optionalFile(
    "Headers, `name: value` one a line, read for each request. Over `https`, or to this machine.",
  ),
  ...endpoint,
  required: flag({
    fallback: false,
    description:
      "Sessions wait for the collector's answer, and are refused where it fails. `false`: they do not, and what the " +
      "collector has not when the queue is full, or the process ends, is lost to it; another sink must be there then.",
  }),
  batch: section({
    maxEvents: wholeNumber({
      from: 1,
      to: 10000,
      fallback: 400,
      description: "How many events one request has at most; what comes meanwhile goes with the next.",
    }),
  }).prefault({}).meta({ description: "What goes in one request." }),
  queue: section({
    maxEvents: wholeNumber({
      from: 1,
      to: 1000000,
      fallback: 10000,
      description: "How many events may wait.",
    }),
    maxBytes: wholeNumber({
      from: 2097152,
      to: 1073741824,
      fallback: 33554432,
      description: "How large the events may be that wait.",
    }),
  }).prefault({}).meta({ description: "What waits for the collector." }),
});

const sink = z.discriminatedUnion("type", [stdout, toFile, webhook, otlp], {
  error: ({ code }) =>
    code === "invalid_union"
      ? 'expected one of "stdout", "file", "webhook", "otlp"'
      : "expected a sink: a section with a type",
});

type Sink = z.output<typeof sink>;

/** The same sink with every path absolute. */
export function resolveSinkPaths(sink: Sink, absolute: (path: string) => string): Sink {
  const maybe = (path: string | undefined) => path === undefined ? undefined : absolute(path);
  const endpointPaths = (
    { caFile, clientCertificateFile, clientKeyFile }: Extract<Sink, { url: string }>,
  ) => ({
    caFile: maybe(caFile),
    clientCertificateFile: maybe(clientCertificateFile),
    clientKeyFile: maybe(clientKeyFile),
  });
  switch (sink.type) {
    case "stdout":
      return sink;
    case "file":
      return { ...sink, path: absolute(sink.path) };
    case "webhook":
      return {
        ...sink,
        ...endpointPaths(sink),
        tokenFile: maybe(sink.tokenFile),
        spool: { ...sink.spool, directory: absolute(sink.spool.directory) },
      };
    case "otlp":
      return { ...sink, ...endpointPaths(sink), headersFile: maybe(sink.headersFile) };
  }
}

/** What is wrong with a sink: where in it, what is there, and what was expected. */
interface SinkFault {
  path: string[];
  input: unknown;
  message: string;
}

/** What of a sink no two may share. */
function ownOf(sink: Sink): SinkFault["path"] {
  switch (sink.type) {
    case "stdout":
      return ["type"];
    case "file":
      return ["path"];
    case "webhook":
    case "otlp":
      return ["url"];
  }
}

function sharedFaults(sink: Sink, others: readonly Sink[]): SinkFault[] {
  const paths = [ownOf(sink), ...(sink.type === "webhook" ? [["spool", "directory"]] : [])];
  return paths.flatMap((path) => {
    const input = valueAt(sink, path);
    const first = others.findIndex((other) => other.type === sink.type && valueAt(other, path) === input);
    return first === -1 ? [] : [{ path, input, message: `expected another sink than sinks[${first}]` }];
  });
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce((here, key) => Object(here)[key], value);
}

function endpointFaults(sink: Sink): SinkFault[] {
  if (sink.type !== "webhook" && sink.type !== "otlp") return [];
  const { clientCertificateFile, clientKeyFile, retry } = sink;
  const secret = sink.type === "webhook" ? sink.tokenFile : sink.headersFile;
  const faults: SinkFault[] = [];
  const fault = (path: string[], input: unknown, phrase: string) =>
    faults.push({ path, input, message: `expected ${phrase}` });
  if (clientCertificateFile !== undefined && clientKeyFile === undefined) {
    fault(["clientKeyFile"], undefined, "the path of the key that belongs to clientCertificateFile");
  }
  if (clientKeyFile !== undefined && clientCertificateFile === undefined) {
    fault(["clientCertificateFile"], undefined, "the path of the certificate that belongs to clientKeyFile");
  }
  if (secret !== undefined && !isPrivateUrl(sink.url)) {
    fault(["url"], sink.url, "https, as a secret is sent there that everybody on the way could read");
  }
  if (retry.maxBackoffSeconds < retry.initialBackoffSeconds) {
    fault(["retry", "maxBackoffSeconds"], retry.maxBackoffSeconds, "no less than initialBackoffSeconds");
  }
  return faults;
}

/** Where every decision, stream and end is written. */
export const audit = section({
  sinks: list(sink, 16).min(1, expected("at least one sink: no audit, no session"))
    .default([{ type: "stdout" }]).meta({
      description: "Where events are written. Every sink gets every event.",
    }),
  requireAll: flag({
    fallback: true,
    description:
      "Every sink must have the decision before a session opens. `false`: one of them is enough. Collectors that are " +
      "not required do not count.",
  }),
  writeTimeoutSeconds: wholeNumber({
    from: 1,
    to: 60,
    fallback: 5,
    description: "How long writing an event may take; a session whose decision takes longer is refused.",
  }),
  argv,
  strangers,
}).check(({ value, issues }) => {
  value.sinks.forEach((sink, index) => {
    for (
      const { path, ...fault } of [
        ...sharedFaults(sink, value.sinks.slice(0, index)),
        ...endpointFaults(sink),
      ]
    ) {
      issues.push({ code: "custom", path: ["sinks", index, ...path], ...fault });
    }
  });
  if (value.sinks.length > 0 && value.sinks.every((sink) => sink.type === "otlp" && !sink.required)) {
    const message = "expected at least one sink that sessions wait for: no audit, no session";
    issues.push({ code: "custom", path: ["sinks"], input: value.sinks, message });
  }
}).prefault({}).meta({
  description: "Where every decision, stream and end is written: no audit, no session.",
});
