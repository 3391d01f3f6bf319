/**
 * A live, bidirectional byte stream: the client's TLS connection after its upgrade, or the one to a kubelet.
 *
 * What is read ahead of `read` has a bound of some records, and `write` resolves only when the bytes were taken over by the
 * kernel, so a slow peer slows the other side down and no buffer grows.
 */
export interface ByteConnection {
  /**
   * The next bytes, or `null` at the end of the stream. The view is valid until the next `read`. One at a time.
   * Rejects when the connection is lost.
   */
  read(): Promise<Uint8Array | null>;
  /**
   * Where it is not 0: so many bytes in front of the view that was read last, and that view, may be written over until the next
   * `read`. A header that is put there leaves with what is behind it, without a copy.
   * @default {0}
   */
  readonly headroomBytes?: number;
  /** Writes all of `bytes`; calls are written in the order they were made. Rejects when the connection is lost. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Says that nothing more is written, so that the peer reads the end at once; what it still sends can be read. Where this is
   * missing, only {@linkcode close} says so.
   */
  endWrites?(): Promise<void>;
  /** Closes both directions at once; pending reads end with `null` or reject. Never throws; may be called again. */
  close(): void;
}
