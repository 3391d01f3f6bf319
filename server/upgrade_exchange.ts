import { STATUS_CODES } from "node:http";
import type { HeaderLine, Upgrade } from "../routes/handler.ts";
import type { ByteConnection } from "../session/byte_connection.ts";

/** A connection that a session takes over: what is written first, and who has it then. */
export interface AcceptedUpgrade {
  type: "accepted";
  /** The 101 and its headers. */
  head: Uint8Array;
  run: (client: ByteConnection) => Promise<void>;
}

/** What a handler chose to do with a connection that asked for an upgrade. */
export type UpgradeChoice = AcceptedUpgrade | { type: "raw"; bytes: Uint8Array };

/**
 * The way out of HTTP that a handler is given. A call only notes the choice: it is carried out when the handler
 * returns the placeholder, so that a handler which fails after all is answered as such.
 */
export class UpgradeExchange implements Upgrade {
  #choice: { made: UpgradeChoice; placeholder: Response } | undefined;
  #isMade = false;

  accept(headers: readonly HeaderLine[], run: (client: ByteConnection) => Promise<void>): Response {
    return this.#choose({ type: "accepted", head: switchingProtocols(headers), run });
  }

  answerRaw(bytes: Uint8Array): Response {
    return this.#choose({ type: "raw", bytes });
  }

  /** What was chosen, if this is the response that says so. It is told once: whoever keeps the request keeps no answer. */
  takeChoice(response: Response): UpgradeChoice | undefined {
    const choice = this.#choice;
    this.#choice = undefined;
    return choice?.placeholder === response ? choice.made : undefined;
  }

  #choose(made: UpgradeChoice): Response {
    if (this.#isMade) throw new TypeError("the upgrade was answered already");
    this.#isMade = true;
    const placeholder = new Response(null, { status: made.type === "accepted" ? 101 : 204 });
    this.#choice = { made, placeholder };
    return placeholder;
  }
}

/** @throws {TypeError} if a line could be read as more than one */
function switchingProtocols(headers: readonly HeaderLine[]): Uint8Array {
  const lines = headers.map(([name, value]) => {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name) || !/^[\t\x20-\x7e]*$/.test(value)) {
      throw new TypeError("a header of the upgrade is malformed");
    }
    return `${name}: ${value}\r\n`;
  });
  return new TextEncoder().encode(`HTTP/1.1 101 ${STATUS_CODES[101]}\r\n${lines.join("")}\r\n`);
}
