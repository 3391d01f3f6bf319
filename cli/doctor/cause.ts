/** Why something failed, with what the platform says behind it: one line, at most 300 characters. */
export function causeOf(thrown: unknown): string {
  const said: string[] = [];
  for (let error: unknown = thrown; said.length < 4; error = error.cause) {
    if (!(error instanceof Error)) {
      if (said.length === 0) said.push(String(error));
      break;
    }
    const message = shortened(error.message);
    if (message !== "" && !said.some((earlier) => earlier.includes(message))) said.push(message);
  }
  return said.join(": ").slice(0, 300);
}

/** The platform repeats the whole URL, which may be long, and the steps that failed; the last one says why. */
function shortened(message: string): string {
  const told = /client error \([A-Za-z]+\)(?:: (.*))?$/s.exec(message)?.[1] ?? message;
  return told.replaceAll(/\s+/g, " ").trim();
}

/** Whether it was the other side's certificate. */
export function isDistrust(why: string): boolean {
  return /certificate|UnknownIssuer|CERT_|self.signed|hostname|altname|does not match/i.test(why);
}
