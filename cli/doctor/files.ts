import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Configuration } from "../../config/gateway_configuration.ts";
import type { Connection, Secret } from "../../kube/kubeconfig.ts";
import { Signer } from "../../recording/format/signer.ts";
import { causeOf } from "./cause.ts";
import { judgeValidity, readCertificates, validityOf } from "./expiry.ts";
import { type Judgement, note, ok, wrong } from "./finding.ts";

/** A file of certificates. */
export interface CertificateFile {
  what: string;
  path: string;
  /** How to get others. */
  remedy: string;
  /** The private key that belongs to the first of them. */
  keyPath?: string;
}

const RENEW_SERVING =
  "renew it: cert-manager does by itself; otherwise put a new one into the Secret, it is read again";
const RENEW_AUTHORITY = "put the new authority into the file beside the old one before the old one ends";
const RENEW_CLIENT = "have a new one issued, and put it and its key into their files together";

/** Every file of certificates that a gateway of this configuration reads. */
export function certificateFilesOf(configuration: Configuration): CertificateFile[] {
  const { server: { tls }, upstream: { mode, kubelet }, recording, index, audit } = configuration;
  const files: CertificateFile[] = [
    { what: "the serving certificate", path: tls.certFile, keyPath: tls.keyFile, remedy: RENEW_SERVING },
  ];
  const authority = (what: string, path: string | undefined) => {
    if (path !== undefined) files.push({ what, path, remedy: RENEW_AUTHORITY });
  };
  const client = (what: string, path: string | undefined, keyPath: string | undefined) => {
    if (path === undefined || keyPath === undefined) return;
    files.push({ what, path, keyPath, remedy: RENEW_CLIENT });
  };
  if (mode === "kubelet") {
    authority("the kubelets' authority", kubelet.caFile);
    client("the client certificate for kubelets", kubelet.clientCertificateFile, kubelet.clientKeyFile);
  }
  for (const sink of audit.sinks) {
    if (sink.type !== "webhook" && sink.type !== "otlp") continue;
    authority(`the authority of the ${sink.type} sink`, sink.caFile);
    client(`the client certificate of the ${sink.type} sink`, sink.clientCertificateFile, sink.clientKeyFile);
  }
  if (recording.mode !== "off" && recording.sink.type === "s3") {
    authority("the authority of the recording store", recording.sink.caFile);
  }
  if (index.type === "postgresql") authority("the authority of the index", index.postgresql.caFile);
  return files;
}

/** Whether a file's certificates are good, each of them, and the key is the first one's. */
export async function checkCertificates(file: CertificateFile, now: Date): Promise<Judgement[]> {
  const { what, path, keyPath, remedy } = file;
  try {
    const certificates = readCertificates(await Deno.readTextFile(path));
    const key = keyPath === undefined ? undefined : await Deno.readTextFile(keyPath);
    return judgeCertificates(file, certificates, key, now);
  } catch (thrown) {
    return [wrong(`${what} cannot be read: ${path}: ${causeOf(thrown)}`, remedy)];
  }
}

/** Certificates that a kubeconfig holds, or names the file of. */
export interface HeldCertificates {
  what: string;
  held: Secret;
  remedy: string;
}

/** Whom the gateway trusts at the API server, and what it shows there. */
export function certificatesOf({ ca, clientCertificate }: Connection): HeldCertificates[] {
  const held: HeldCertificates[] = [];
  if (ca !== undefined) held.push({ what: "the API server's authority", held: ca, remedy: RENEW_AUTHORITY });
  if (clientCertificate !== undefined) {
    const remedy = "have a new one issued for the gateway, and put it into its kubeconfig";
    held.push({ what: "the gateway's client certificate", held: clientCertificate.cert, remedy });
  }
  return held;
}

/** As {@linkcode checkCertificates}, wherever they are. */
export async function checkHeldCertificates(
  { what, held, remedy }: HeldCertificates,
  now: Date,
): Promise<Judgement[]> {
  if ("file" in held) return await checkCertificates({ what, path: held.file, remedy }, now);
  const file = { what, path: "in the kubeconfig", remedy };
  try {
    return judgeCertificates(file, readCertificates(held.value), undefined, now);
  } catch (thrown) {
    return [wrong(`${what} in the kubeconfig ${causeOf(thrown)}`, remedy)];
  }
}

/** As {@linkcode checkCertificates}, of what was read. @param key PEM */
export function judgeCertificates(
  { what, path, keyPath, remedy }: CertificateFile,
  certificates: readonly X509Certificate[],
  key: string | undefined,
  now: Date,
): Judgement[] {
  const found = certificates.map((certificate, index) => {
    const nth = certificates.length > 1 ? `, certificate ${index + 1} of ${certificates.length}` : "";
    return judgeValidity({ what: `${what} ${path}${nth}`, ...validityOf(certificate), remedy }, now);
  });
  const [first] = certificates;
  if (key !== undefined && first !== undefined && !belongs(first, key)) {
    found.push(wrong(`the key ${keyPath} does not belong to ${what} ${path}`, remedy));
  }
  if (what === "the serving certificate" && first !== undefined && !first.subjectAltName) {
    found.push(wrong(
      `${what} ${path} has no names (subjectAltName): every client refuses it`,
      "issue it for the names and addresses that clients use",
    ));
  }
  return found;
}

function belongs(certificate: X509Certificate, key: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** A file that only the gateway may read. */
export interface SecretFile {
  what: string;
  path: string;
}

/** Every file with a secret in it that a gateway of this configuration reads. */
export function secretFilesOf(configuration: Configuration): SecretFile[] {
  const { server: { tls }, upstream: { mode, kubelet }, recording, index, audit } = configuration;
  const files: { what: string; path: string | undefined }[] = [
    { what: "the key of the serving certificate", path: tls.keyFile },
    { what: "the key that masks arguments", path: audit.argv.keyFile },
  ];
  if (recording.mode !== "off") files.push({ what: "the signing key", path: recording.signingKeyFile });
  if (mode === "kubelet") {
    files.push({ what: "the client key for kubelets", path: kubelet.clientKeyFile });
    files.push({ what: "the token for kubelets", path: kubelet.tokenFile });
  }
  for (const sink of audit.sinks) {
    if (sink.type === "webhook") files.push({ what: "the token of the webhook sink", path: sink.tokenFile });
    if (sink.type === "otlp") files.push({ what: "the headers of the otlp sink", path: sink.headersFile });
    if (sink.type === "webhook" || sink.type === "otlp") {
      files.push({ what: `the client key of the ${sink.type} sink`, path: sink.clientKeyFile });
    }
  }
  if (recording.mode !== "off" && recording.sink.type === "s3") {
    files.push({ what: "the secret key of the recording store", path: recording.sink.secretAccessKeyFile });
  }
  if (index.type === "postgresql") {
    files.push({ what: "the URL of the index", path: index.postgresql.urlFile });
  }
  return files.flatMap(({ what, path }) => path === undefined ? [] : [{ what, path }]);
}

/** Who may do what with a secret's file. @param mode permission bits; `null` where the system has none */
export function judgeMode({ what, path }: SecretFile, mode: number | null): Judgement {
  if (mode === null) return ok(`${what} ${path} is there`);
  const bits = (mode & 0o777).toString(8).padStart(4, "0");
  if ((mode & 0o007) !== 0 || (mode & 0o020) !== 0) {
    const whom = (mode & 0o007) !== 0 ? "everybody on its machine" : "its group, for writing,";
    return wrong(
      `${what} ${path} is open to ${whom} (mode ${bits})`,
      `chmod 0400 ${path}; a Secret's volume: defaultMode: 0440 with the pod's fsGroup`,
    );
  }
  // A Secret that is mounted with fsGroup is read by the group: the pod's own.
  return ok(`${what} ${path} is closed to others (mode ${bits})`);
}

/** Whether secrets are there, and closed to others; the signing key must be one, too. */
export async function checkSecrets(configuration: Configuration): Promise<Judgement[]> {
  const found: Judgement[] = [];
  for (const file of secretFilesOf(configuration)) {
    try {
      const { mode } = await Deno.stat(file.path);
      const text = await Deno.readTextFile(file.path);
      found.push(judgeMode(file, mode));
      if (file.path === configuration.recording.signingKeyFile) found.push(...judgeSigningKey(file, text));
    } catch (thrown) {
      found.push(
        wrong(`${file.what} cannot be read: ${causeOf(thrown)}`, "mount it, readable for the gateway's user"),
      );
    }
  }
  const { recording } = configuration;
  if (recording.mode === "off") {
    found.push(note("recordings are off: only sessions that a rule obliges to are recorded"));
  }
  return found;
}

function judgeSigningKey({ what, path }: SecretFile, pem: string): Judgement[] {
  try {
    return [ok(`${what} signs as ${new Signer(pem).keyId.slice(0, 16)}…`)];
  } catch {
    return [wrong(
      `${what} ${path} is no Ed25519 private key in PEM`,
      `make one: openssl genpkey -algorithm ed25519 -out ${path}`,
    )];
  }
}
