/**
 * What can be wrong with the index.
 *
 * - `unavailable`: the database does not answer, or refuses; `cause` says why. It may work again later.
 * - `version`: the database was made by a newer version of the gateway.
 * - `invalid`: what was given is no event, recording, filter or page.
 * - `in_use`: the file cannot be replaced while somebody else has it open.
 */
export type CatalogErrorCode = "unavailable" | "version" | "invalid" | "in_use";

/** Thrown by the index. Holds no credential of a database. */
export class CatalogError extends Error {
  override readonly name = "CatalogError";
  constructor(readonly code: CatalogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
