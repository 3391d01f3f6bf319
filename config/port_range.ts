import { z } from "zod";
import { expected } from "./values.ts";

const MAX_PORT = 65535;

/** A port, or a range of ports: `8080`, `"8080"` or `"8000-8100"`, both ends included. */
export function portRange() {
  const phrase = expected('a port from 1 to 65535, or a range such as "8000-8100"');
  const number = z.int(phrase).min(1, phrase).max(MAX_PORT, phrase);
  const text = z.string(phrase).regex(/^[0-9]{1,5}(-[0-9]{1,5})?$/, phrase).refine(isPortRange, phrase);
  return z.union([number, text], phrase);
}

/** Reads what {@linkcode portRange} has let through. */
export function parsePortRange(given: number | string): number | { from: number; to: number } {
  if (typeof given === "number") return given;
  const [from, to] = given.split("-").map(Number);
  return to === undefined ? from! : { from: from!, to };
}

function isPortRange(text: string): boolean {
  const [from = 0, to = from] = text.split("-").map(Number);
  return 1 <= from && from <= to && to <= MAX_PORT;
}
