/** An edge case that no client can provoke, or that is seen everywhere. */
export interface LeftOut {
  numbers: readonly string[];
  why: string;
  /** Where it is tried instead, from the root of the checkout; each file names the numbers. */
  instead: readonly string[];
}

/** Every number of the protocols' reference that is no row of the matrix. */
export const LEFT_OUT: readonly LeftOut[] = [
  {
    numbers: ["E-23"],
    why:
      "The kubelet decides which bytes share a segment with its 101, and the API server between would cut them anew.",
    instead: ["session/kubelet_upgrade_test.ts"],
  },
  {
    numbers: ["E-25"],
    why: "The token in the address of a container runtime's streaming server is known to its kubelet alone.",
    instead: [],
  },
  {
    numbers: ["E-42"],
    why:
      "About a server that writes on a stream before it has accepted it. Every transcript over SPDY says so where it happens " +
      "(`bytes too early`), so each row is its test.",
    instead: ["tests/conformance/clients/spdy_session.ts"],
  },
  {
    numbers: ["E-87", "E-88", "E-89", "E-90", "E-117", "E-118"],
    why:
      "About what Go and JavaScript clients make of a server's messages. Every transcript over WebSocket shows text or binary, empty " +
      "messages, each channel, and the Close with its code.",
    instead: ["protocol/remote_command/channels_test.ts", "tests/conformance/clients/websocket_session.ts"],
  },
  {
    numbers: ["E-94"],
    why: "Needs an API server of 1.29 or older.",
    instead: [],
  },
  {
    numbers: ["E-95"],
    why: "One denial, asked for twice by kubectl, is one in the audit, which the API server has none of. " +
      "What kubectl shows of it is in the rows `by bob, who may not`.",
    instead: ["routes/fallback_memory_test.ts"],
  },
  {
    numbers: ["E-116"],
    why:
      "About a kubectl whose server names no protocol: the gateway always names it, as every 101 in the matrix shows.",
    instead: ["tests/conformance/transcript.ts"],
  },
];
