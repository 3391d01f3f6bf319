import { STREAM_PROTOCOLS, type StreamProtocol } from "../protocol/remote_command/protocols.ts";
import {
  failureDocument,
  MAX_STATUS_DOCUMENT_BYTES,
  parseStatusDocument,
} from "../protocol/remote_command/status_document.ts";
import { COMMAND_ENDED, type EndReason, type SessionEnd } from "./stream_event.ts";

const ATTACH_ENDED = "the container's process ended, or the session detached from it";

/**
 * Ends that say nothing once the command's end is told: whoever closes its socket with bytes unread, as kubelets and clients do
 * when they are done, resets the connection, and whether that is seen before its end is a matter of luck.
 */
const AFTERMATH: ReadonlySet<EndReason> = new Set([
  "upstream_vanished",
  "upstream_closed",
  "client_vanished",
]);

/** What a session is for. An attach ends with its container's process, or detaches from it; the exit code is not told. */
export type Purpose = "exec" | "attach";

/** Follows the upstream's error stream: has the command ended, and how? */
export class StatusCollector {
  readonly #hasDocument: boolean;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #isOver = false;

  constructor(readonly protocol: StreamProtocol, readonly purpose: Purpose = "exec") {
    this.#hasDocument = STREAM_PROTOCOLS[protocol].statusDocument;
  }

  /** Bytes of the error stream, copied. More than a status document may have are counted, not kept. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#bytes <= MAX_STATUS_DOCUMENT_BYTES) this.#pieces.push(bytes.slice());
    this.#bytes += bytes.length;
  }

  /** The upstream ended the error stream: v1 to v3 say so, and no more, when a command succeeded. */
  close(): void {
    this.#isOver = true;
  }

  /** True once the upstream has said how the command ended. */
  get hasEnded(): boolean {
    return this.#bytes > 0 || (this.#isOver && !this.#hasDocument && this.protocol !== "channel.k8s.io");
  }

  /** What the upstream said, whole. */
  document(): Uint8Array {
    const document = new Uint8Array(this.#pieces.reduce((sum, piece) => sum + piece.length, 0));
    let offset = 0;
    for (const piece of this.#pieces) {
      document.set(piece, offset);
      offset += piece.length;
    }
    return document;
  }

  /**
   * What must stand on an error stream that the upstream leaves without a word, for clients take silence for exit code 0.
   *
   * @returns `undefined` where something was said, or where silence is how the protocol says success
   */
  silentEnd(message: string): Uint8Array | undefined {
    return this.#hasDocument && this.#bytes === 0 ? this.failure(message) : undefined;
  }

  /** The failure that ends a session which was cut, in the words of its protocol; `undefined` once it has ended. */
  failure(message: string): Uint8Array | undefined {
    if (this.#bytes > 0 || this.#isOver) return undefined;
    this.#isOver = true;
    if (!this.#hasDocument) return new TextEncoder().encode(message);
    return failureDocument({ message, reason: "InternalError", code: 500 });
  }

  /** The command's end where it was told and `end` is but its aftermath. */
  settle(end: SessionEnd): SessionEnd {
    return this.hasEnded && AFTERMATH.has(end.reason) ? COMMAND_ENDED : end;
  }

  /** `end` with what the status document says of the command. */
  complete(end: SessionEnd): SessionEnd {
    if (end.reason !== "command_ended") return end;
    if (this.purpose === "attach") return this.#completeAttach(end);
    if (!this.#hasDocument) return end;
    const said = parseStatusDocument(this.document());
    switch (said.type) {
      case "success":
        return { ...end, message: "the command ended with exit code 0", exitCode: 0 };
      case "exit":
        return {
          ...end,
          message: `the command ended with exit code ${said.exitCode}`,
          exitCode: said.exitCode,
        };
      case "failure":
      case "malformed":
        return { ...end, message: said.message };
    }
  }

  /** A kubelet tells success at every normal end; a code would not be the one of the container. */
  #completeAttach(end: SessionEnd): SessionEnd {
    const document = this.document();
    const said = this.#hasDocument || document.length === 0
      ? parseStatusDocument(document)
      : { type: "failure" as const, message: new TextDecoder().decode(document) };
    const failed = document.length > 0 && (said.type === "failure" || said.type === "malformed");
    return { ...end, message: failed ? said.message : ATTACH_ENDED };
  }
}
