import { ProtocolError } from "../protocol/errors.ts";

/** Streams that one side of a session may try to open in vain. Peers that mean well hardly ever do. */
const MAX_REFUSED_STREAMS = 64;

/** SYN_REPLY frames that one side may send besides those that answer the other's streams. */
export const MAX_SPARE_REPLIES = 64;

/**
 * Counts the streams of one side that are refused because nobody could open them so: their number was used, or goes back, or that
 * side opens none at all. To inflate the headers of each and to answer it costs more than to ask.
 */
export class RefusedStreams {
  #count = 0;

  /** @throws {ProtocolError} `streams_refused`, when there are too many */
  add(): void {
    if (++this.#count <= MAX_REFUSED_STREAMS) return;
    const message = `more than ${MAX_REFUSED_STREAMS} streams were refused`;
    throw new ProtocolError("streams_refused", message);
  }
}
