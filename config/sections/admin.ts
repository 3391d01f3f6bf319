import { ipAddress, oneOf, section, wholeNumber } from "../values.ts";

/** Where the gateway tells how it does. */
export const admin = section({
  listener: oneOf(["off", "on"], {
    fallback: "off",
    description:
      "`on`: `/healthz`, `/readyz` and `/metrics` are answered, over plain HTTP, to whoever can reach the port.",
  }),
  address: ipAddress().default("127.0.0.1").meta({
    description: "The address that is listened on. Probes and Prometheus in a cluster need `0.0.0.0`.",
  }),
  port: wholeNumber({
    from: 0,
    to: 65535,
    fallback: 9464,
    description: "The TCP port, never the one that clients use; 0 lets the system choose one.",
  }),
}).prefault({}).meta({
  description:
    "Where the gateway tells how it does: a port of its own, without credentials, which no client needs to reach. " +
    "It names no user, pod or namespace.",
});
