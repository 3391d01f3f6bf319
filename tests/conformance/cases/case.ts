import type { Column } from "../columns.ts";
import type { Claims, Row, Seen, Story } from "../matrix.ts";

/** An edge case, played byte by byte. */
export interface Case extends Story {
  /** Of the protocols' reference; a case that it does not have has none. */
  number?: `E-${number}` | `E-${number}${"a" | "b" | "c" | "d"}`;
  command: string;
  protocol: string;
  play(at: Column): Promise<Seen>;
  directly?: Claims;
}

/** Its row: the client is our own. */
export function rowOf({ number, command, protocol, given, when, then, play, directly }: Case): Row {
  return {
    client: "raw",
    command,
    protocol,
    ...(number && { number }),
    story: { given, when, then },
    observe: play,
    ...(directly && { directly }),
  };
}
