import { z } from "zod";
import {
  expected,
  file,
  flag,
  isPrivateUrl,
  oneOf,
  optionalFile,
  section,
  text,
  webUrl,
  wholeNumber,
  word,
} from "../values.ts";

const folder = section({
  type: z.literal("folder").meta({ description: "Recordings are files in a folder." }),
  path: file().default("/var/lib/postern/recordings").meta({
    description: "The folder. It is made with mode 0700, files with 0600.",
  }),
});

const PREFIX = expected("a prefix such as prod/, or nothing");

const s3 = section({
  type: z.literal("s3").meta({
    description:
      "Recordings are objects in storage that speaks S3. What is appended is an object of its own, and durable when the " +
      "store has answered; when a session is over they are joined into one, which is never written over.",
  }),
  endpoint: webUrl().meta({
    description: "Where the storage is, such as `https://s3.eu-central-1.amazonaws.com`.",
  }),
  region: text("a region such as eu-central-1", { maxLength: 64, pattern: /^[a-z0-9-]+$/ }).meta({
    description: "The region that requests are signed for.",
  }),
  bucket: text("the name of a bucket", { maxLength: 63, pattern: /^[a-z0-9][a-z0-9.-]+$/ }).meta({
    description: "The bucket. It must be there.",
  }),
  prefix: z.string(PREFIX).max(256, PREFIX).regex(/^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/, PREFIX).default("")
    .meta({
      description: "What every key begins with, such as `prod/`.",
    }),
  addressing: oneOf(["path", "virtual-host"], {
    fallback: "path",
    description:
      "`path`: the bucket is the first part of the path. `virtual-host`: it is the first label of the host.",
  }),
  caFile: optionalFile("Certificate authorities that are trusted beside the system's own, in PEM."),
  accessKeyIdFile: file().default("/etc/postern/s3/access-key-id").meta({
    description:
      "File that holds the access key's ID. Files with credentials are read again when they change.",
  }),
  secretAccessKeyFile: file().default("/etc/postern/s3/secret-access-key").meta({
    description: "File that holds the secret access key.",
  }),
  sessionTokenFile: optionalFile("File that holds the session token of temporary credentials."),
  conditionalWrites: flag({
    fallback: true,
    description:
      "Whether the storage refuses `If-None-Match: *` where there is such an object. Where it does not, nothing keeps a " +
      "gateway that was taken for gone from writing on.",
  }),
  objectLock: section({
    mode: word(["GOVERNANCE", "COMPLIANCE"]).meta({ description: "Who may lift the lock: some, or nobody." }),
    retainDays: wholeNumber({
      from: 1,
      to: 36500,
      fallback: 365,
      description: "For how long recordings are locked.",
    }),
    legalHold: flag({ fallback: false, description: "Whether every recording is put on legal hold, too." }),
  }).optional().meta({
    description:
      "What keeps whole recordings from being removed, also by the gateway. The bucket must have been made with object lock.",
  }),
  encryption: section({
    algorithm: word(["AES256", "aws:kms"]).meta({ description: "How the storage is asked to encrypt." }),
    kmsKeyId: text("the name of a key").optional().meta({ description: "The key of `aws:kms`." }),
  }).optional().meta({
    description: "What the storage does with what it stores. Absent: as the bucket says.",
  }),
}).check(({ value, issues }) => {
  const fault = (message: string) =>
    issues.push({ code: "custom", path: ["endpoint"], input: value.endpoint, message });
  if (!isPrivateUrl(value.endpoint)) fault("expected an https URL: recordings would pass in the clear");
  if (URL.parse(value.endpoint)?.pathname !== "/") fault("expected a URL without a path");
});

/** Where recordings are kept. */
export const recordingSink = z.discriminatedUnion("type", [folder, s3], {
  error: ({ code }) =>
    code === "invalid_union"
      ? 'expected one of "folder", "s3"'
      : expected("a sink: a section with a type").error(),
}).prefault({ type: "folder" }).meta({ description: "Where recordings are kept." });

/** Makes every path absolute. */
export function resolveRecordingSink(
  sink: z.output<typeof recordingSink>,
  absolute: (path: string) => string,
): z.output<typeof recordingSink> {
  const maybe = (path: string | undefined) => path === undefined ? undefined : absolute(path);
  if (sink.type === "folder") return { ...sink, path: absolute(sink.path) };
  return {
    ...sink,
    caFile: maybe(sink.caFile),
    accessKeyIdFile: absolute(sink.accessKeyIdFile),
    secretAccessKeyFile: absolute(sink.secretAccessKeyFile),
    sessionTokenFile: maybe(sink.sessionTokenFile),
  };
}
