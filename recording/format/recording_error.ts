/** What is wrong with a recording. `code` is stable; `message` is for people. */
export class RecordingError extends Error {
  override readonly name = "RecordingError";
  constructor(
    readonly code:
      | "no_recording"
      | "block_invalid"
      | "block_too_large"
      | "link_broken"
      | "order_wrong"
      | "chunk_invalid"
      | "payload_invalid"
      | "signature_wrong"
      | "key_missing"
      | "packing_failed"
      | "sink_stalled",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
