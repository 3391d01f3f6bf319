import manifest from "../package.json" with { type: "json" };
import type { Build } from "./gateway_metrics.ts";

/** The commit, which whoever bundles the program puts in here; there is none where it runs from its sources. */
declare const POSTERN_REVISION: string | undefined;

/** Which program this is. */
export const BUILD: Build = {
  version: manifest.version,
  revision: typeof POSTERN_REVISION === "string" ? POSTERN_REVISION : "",
};
