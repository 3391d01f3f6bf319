/** A terminal's size in character cells. */
export interface WindowSize {
  columns: number;
  rows: number;
}

/** Longest document that is waited for, in UTF-16 units: they have some 30. */
const MAX_DOCUMENT_LENGTH = 1024;

/** Largest side: what a terminal's `winsize` can hold. */
const MAX_SIDE = 65_535;

/**
 * Reads what clients say on the resize stream: `{"Width":80,"Height":24}` after `{"Width":80,"Height":24}`, with or without line
 * ends between, cut anywhere. What is no such document is passed over.
 */
export class WindowSizeReader {
  readonly #decoder = new TextDecoder();
  #held = "";

  *push(bytes: Uint8Array): Generator<WindowSize, void, undefined> {
    this.#held += this.#decoder.decode(bytes, { stream: true });
    for (let end = this.#held.indexOf("}"); end >= 0; end = this.#held.indexOf("}")) {
      const document = this.#held.slice(0, end + 1);
      this.#held = this.#held.slice(end + 1);
      const size = parseSize(document.slice(document.lastIndexOf("{")));
      if (size !== undefined) yield size;
    }
    this.#held = this.#held.slice(-MAX_DOCUMENT_LENGTH);
  }
}

function parseSize(document: string): WindowSize | undefined {
  try {
    const value: unknown = JSON.parse(document);
    if (typeof value !== "object" || value === null) return undefined;
    // Clients write the names as Go does, which reads them in any case.
    const fields = new Map(Object.entries(value).map(([name, side]) => [name.toLowerCase(), side]));
    const columns = fields.get("width");
    const rows = fields.get("height");
    return isSide(columns) && isSide(rows) ? { columns, rows } : undefined;
  } catch {
    return undefined;
  }
}

function isSide(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= MAX_SIDE;
}
