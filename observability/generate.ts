import { reference } from "./reference.ts";

/** The file that is made from the definitions. */
export const REFERENCE = new URL("../docs/observability.md", import.meta.url);

if (import.meta.main) await Deno.writeTextFile(REFERENCE, reference());
