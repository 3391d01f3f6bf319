/**
 * The one error that a parser throws: what was wrong, how far it reaches, whose fault it was.
 *
 * `scope` tells how much is lost: one stream, or the whole connection. `by` tells whether the peer broke the
 * protocol or we did; a fault of ours is a bug. `code` is stable, and is what tests and events name.
 */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  /** Which of the peer's frames it was, the first being 1; set by the decoder that counted them. */
  frame?: number;
  constructor(
    readonly code: string,
    message: string,
    readonly scope: "stream" | "connection" = "connection",
    readonly by: "peer" | "us" = "peer",
  ) {
    super(message);
  }
}
