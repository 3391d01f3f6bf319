import { parse } from "yaml";
import { Refusal } from "../kube/status.ts";

/**
 * Largest YAML document that is read, in bytes. Clients send JSON; YAML takes a second for 256 KiB, in which nobody else is
 * served.
 */
const MAX_YAML_BYTES = 64 * 1024;

/** How a write of a pod says what it changes; `replace` is a PUT. */
type Form = "replace" | "merge" | "json_patch";

/** A body that writes a pod, and that can be held to one version of it. */
export interface PodWrite {
  /** What the body is sent as. */
  contentType: string;
  form: Form;
  /** The version that the client itself holds the write to. */
  ownVersion: string | undefined;
  /**
   * The body, with the precondition that the pod is at this version still. The client's own stays where there is one: the
   * two agree, or the API server refuses the write.
   */
  at(resourceVersion: string | undefined): string;
}

const FORMS: Readonly<Record<string, Readonly<Record<string, Form>>>> = {
  PUT: { "application/json": "replace", "application/yaml": "replace" },
  PATCH: {
    "application/json-patch+json": "json_patch",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "merge",
    "application/apply-patch+yaml": "merge",
  },
};

/**
 * Reads the body of a PUT or PATCH, as much of it as a precondition needs. It is written anew from what was read, so that
 * nothing in it (a key given twice, say) has two meanings.
 *
 * @param contentType as the client sent it
 * @throws {Refusal} UnsupportedMediaType, BadRequest, RequestEntityTooLarge
 */
export function readPodWrite(method: string, contentType: string | null, bytes: Uint8Array): PodWrite {
  const mediaType = (contentType || (method === "PUT" ? "application/json" : "")).split(";")[0]!.trim();
  const accepted = FORMS[method] ?? {};
  const form = Object.hasOwn(accepted, mediaType) ? accepted[mediaType] : undefined;
  if (form === undefined) {
    const types = Object.keys(accepted).join(", ");
    const message =
      `the body of the request was in an unknown format - accepted media types include: ${types}`;
    throw new Refusal("UnsupportedMediaType", message);
  }
  const body = readDocument(bytes, mediaType.endsWith("yaml"));
  return form === "json_patch" ? jsonPatch(mediaType, body) : document(mediaType, form, body);
}

/** Operations: a test in front of them fails the whole patch, whatever they do afterwards. */
function jsonPatch(contentType: string, body: unknown): PodWrite {
  if (!Array.isArray(body)) throw malformed("a JSON patch must be a list of operations");
  const operations: readonly unknown[] = body;
  const at = (version: string | undefined) => {
    const test = { op: "test", path: "/metadata/resourceVersion", value: version };
    return JSON.stringify(version === undefined ? operations : [test, ...operations]);
  };
  return { contentType, form: "json_patch", ownVersion: undefined, at };
}

/** A pod, or what is merged into one: its `metadata.resourceVersion` is the precondition. */
function document(mediaType: string, form: Form, body: unknown): PodWrite {
  if (!isObject(body)) throw malformed("the body must be an object");
  const { metadata = {} } = body;
  if (!isObject(metadata)) throw malformed("metadata must be an object");
  const ownVersion = readVersion(metadata.resourceVersion);
  const at = (version: string | undefined) => {
    const resourceVersion = ownVersion ?? version;
    return JSON.stringify(
      resourceVersion === undefined ? body : { ...body, metadata: { ...metadata, resourceVersion } },
    );
  };
  // What was read as YAML is written as JSON. An apply has but the one type, and every JSON is YAML.
  const contentType = form === "replace" ? "application/json" : mediaType;
  return { contentType, form, ownVersion, at };
}

/**
 * The version that a client names. Nothing, an empty text and `0` hold a write to no version, as the API server reads
 * them, so that they are no precondition.
 */
function readVersion(version: unknown): string | undefined {
  if (version === undefined || version === null || version === "" || version === "0") return undefined;
  if (typeof version === "string" && /^[1-9][0-9]{0,19}$/.test(version)) return version;
  throw malformed("metadata.resourceVersion is none that the API server gave");
}

function readDocument(bytes: Uint8Array, isYaml: boolean): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw malformed("the body is no UTF-8");
  }
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    if (!isYaml) throw malformed("the body is no JSON");
  }
  if (bytes.length > MAX_YAML_BYTES) {
    throw new Refusal("RequestEntityTooLarge", `YAML may have ${MAX_YAML_BYTES} bytes here: send JSON`);
  }
  try {
    const value: unknown = parse(text, { version: "1.1", logLevel: "error" }); // what the API server reads
    return value;
  } catch {
    throw malformed("the body is neither JSON nor YAML");
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function malformed(message: string): Refusal {
  return new Refusal("BadRequest", message, { rule: "body" });
}
