import { S3Store } from "./s3.ts";

/** What an operator says about recordings in S3. */
export interface S3Sink {
  type: "s3";
  /** `https://s3.eu-central-1.amazonaws.com`, without a path. */
  endpoint: string;
  region: string;
  bucket: string;
  /** `""`, or such as `prod/`. */
  prefix: string;
  addressing: "path" | "virtual-host";
  caFile?: string;
  accessKeyIdFile: string;
  secretAccessKeyFile: string;
  sessionTokenFile?: string;
  objectLock?: { mode: "GOVERNANCE" | "COMPLIANCE"; retainDays?: number; legalHold: boolean };
  encryption?: { algorithm: "AES256" | "aws:kms"; kmsKeyId?: string };
  conditionalWrites: boolean;
}

/** What else there is to know. */
export interface S3SinkTerms {
  instance: string;
  /** How long an append may take with all its attempts. */
  writeTimeoutSeconds: number;
  onTrouble(message: string, cause: unknown): void;
}

/** Share of the time for an append that one attempt may take: so there can be another. */
const ATTEMPT_SHARE = 0.4;

/**
 * Opens the store that a configuration names, and assembles in the background what was abandoned there.
 *
 * @throws where options make no sense, or the authorities cannot be read
 */
export async function openS3Sink(sink: S3Sink, terms: S3SinkTerms): Promise<S3Store> {
  const { accessKeyIdFile, secretAccessKeyFile, sessionTokenFile, type: _, ...options } = sink;
  const { instance, writeTimeoutSeconds, onTrouble } = terms;
  const store = await S3Store.open({
    ...options,
    credentials: { accessKeyIdFile, secretAccessKeyFile, ...(sessionTokenFile && { sessionTokenFile }) },
    instance,
    deadlineMs: writeTimeoutSeconds * 1000,
    requestTimeoutMs: writeTimeoutSeconds * 1000 * ATTEMPT_SHARE,
    onTrouble,
  });
  store.startAssembling(Date.now());
  return store;
}
