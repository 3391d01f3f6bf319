import { oneOf, section } from "../values.ts";

/** The gateway's own log, on the standard error. Audit events are not part of it. */
export const log = section({
  level: oneOf(["debug", "info", "warn", "error"], {
    fallback: "info",
    description: "The least important kind of line that is written.",
  }),
  format: oneOf(["auto", "json", "text"], {
    fallback: "auto",
    description:
      "`json`: one object per line. `text`: for people. `auto`: text on a terminal, otherwise json.",
  }),
}).prefault({}).meta({
  description: "The gateway's own log, on the standard error. Audit events are not part of it.",
});
