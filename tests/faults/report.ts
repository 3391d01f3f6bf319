import type { Finding } from "./fault.ts";

/** One line for the terminal. */
export function lineOf({ fault, told, reasons, meanwhile, toldAfterMs, recoveredAfterMs }: Finding): string {
  return JSON.stringify(
    {
      title: fault.title,
      told: Object.fromEntries([...told].map(([said, kinds]) => [said, [...kinds]])),
      ...{ reasons: Object.fromEntries(reasons), meanwhile, toldAfterMs, recoveredAfterMs },
    },
    undefined,
    1,
  );
}

export async function writeFailureModes(_findings: readonly Finding[]): Promise<void> {
}
