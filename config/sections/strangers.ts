import { oneOf, section, wholeNumber } from "../values.ts";

/** How many refusals of those whom nobody knows are written down one by one. */
export const strangers = section({
  limit: oneOf(["on", "off"], {
    fallback: "on",
    description:
      "Whether refusals of strangers are counted where there are too many of them. `off`: each is an event, and who " +
      "knocks fills the disk as fast as requests can be made.",
  }),
  burstEvents: wholeNumber({
    from: 1,
    to: 1000000,
    fallback: 100,
    description:
      "How many refusals of one source, an IPv4 address or a /64 of IPv6, are written down one by one at once.",
  }),
  eventsPerMinute: wholeNumber({
    from: 1,
    to: 1000000,
    fallback: 20,
    description: "How many refusals of one source are written down one by one in a minute after these.",
  }),
  totalEventsPerMinute: wholeNumber({
    from: 1,
    to: 1000000,
    fallback: 600,
    description:
      "How many refusals of all sources together are written down one by one, at once and in each minute.",
  }),
  summarySeconds: wholeNumber({
    from: 1,
    to: 3600,
    fallback: 60,
    description: "How often the counts are written down: one event for each source.",
  }),
}).prefault({}).meta({
  description:
    "Refusals before anybody knew who asked (no credential or a bad one, a malformed request) are written down one by " +
    "one up to a rate, and counted beyond it. Those of people who are known are always written.",
});
