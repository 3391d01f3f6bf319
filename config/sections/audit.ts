import { z } from "zod";
import { expected, file, flag, list, section, wholeNumber } from "../values.ts";

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

/** Where every decision, stream and end is written. */
export const audit = section({
  sinks: list(
    z.discriminatedUnion("type", [stdout, toFile], {
      error: ({ code }) =>
        code === "invalid_union"
          ? 'expected one of "stdout", "file"'
          : "expected a sink: a section with a type",
    }),
    16,
  ).min(1, expected("at least one sink: no audit, no session")).default([{ type: "stdout" }]).meta({
    description: "Where events are written. Every sink gets every event.",
  }),
  requireAll: flag({
    fallback: true,
    description: "Every sink must have the decision before a session opens. `false`: one of them is enough.",
  }),
  writeTimeoutSeconds: wholeNumber({
    from: 1,
    to: 60,
    fallback: 5,
    description: "How long writing an event may take; a session whose decision takes longer is refused.",
  }),
}).check(({ value, issues }) => {
  value.sinks.forEach((sink, index) => {
    const first = value.sinks.findIndex((other) =>
      sink.type === "file" ? other.type === "file" && other.path === sink.path : other.type === sink.type
    );
    if (first === index) return;
    issues.push({
      code: "custom",
      path: ["sinks", index, ...(sink.type === "file" ? ["path"] : ["type"])],
      input: sink.type === "file" ? sink.path : sink.type,
      message: `expected another sink than sinks[${first}]`,
    });
  });
}).prefault({}).meta({
  description: "Where every decision, stream and end is written: no audit, no session.",
});
