import { X509Certificate } from "node:crypto";
import { type Judgement, note, ok, wrong } from "./finding.ts";

/** A certificate's times, as far as it is judged. */
export interface Validity {
  /** What it is, for the reader: `the serving certificate /etc/postern/tls/tls.crt`. */
  what: string;
  notBefore: Date;
  notAfter: Date;
  /** How to get another one. */
  remedy: string;
}

const DAY_MS = 86_400_000;

/** Less than this is left only where nobody renews it. Of a short-lived certificate, a part of its life. */
const SOON = { ms: 7 * DAY_MS, share: 0.1 };
const NEAR = { ms: 30 * DAY_MS, share: 0.3 };

/** Whether a certificate is good, and for how long. */
export function judgeValidity({ what, notBefore, notAfter, remedy }: Validity, now: Date): Judgement {
  const until = notAfter.toISOString();
  const leftMs = notAfter.getTime() - now.getTime();
  const lifeMs = notAfter.getTime() - notBefore.getTime();
  const isWithin = ({ ms, share }: typeof SOON) => leftMs < Math.min(ms, lifeMs * share);
  if (leftMs <= 0) return wrong(`${what} expired at ${until}`, remedy);
  if (notBefore > now) {
    return wrong(
      `${what} is not valid before ${notBefore.toISOString()}, and here it is ${now.toISOString()}`,
      "set this machine's clock, or that of whoever issued it (NTP)",
    );
  }
  if (isWithin(SOON)) return wrong(`${what} expires soon, at ${until}`, remedy);
  return isWithin(NEAR) ? note(`${what} expires at ${until}`, remedy) : ok(`${what} is valid until ${until}`);
}

/**
 * The certificates of a PEM file, each with its times.
 *
 * @throws {Error} where there is none, or one cannot be read
 */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error("holds no certificate in PEM");
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Error("holds a certificate that cannot be read");
    }
  });
}

/** A certificate's times. */
export function validityOf(
  certificate: Pick<X509Certificate, "validFrom" | "validTo">,
): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(certificate.validFrom), notAfter: new Date(certificate.validTo) };
}
