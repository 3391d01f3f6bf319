import { isDeepStrictEqual } from "node:util";
import type { V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import { z } from "zod";
import { Refusal } from "../../kube/status.ts";
import { readJson } from "./body.ts";
import { createPod } from "../manifest.ts";
import { now } from "../pod_status.ts";
import type { PodStore, ServedPod } from "../pod_store.ts";
import { alreadyExists, type FieldError, invalid } from "./status_error.ts";

const NAME = z.string();
const CONTAINER = z.looseObject({
  name: NAME.default(""),
  image: z.string().optional(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  stdin: z.boolean().optional(),
  stdinOnce: z.boolean().optional(),
  tty: z.boolean().optional(),
  env: z.array(z.looseObject({ name: NAME, value: z.string().optional() })).optional(),
  ports: z.array(z.looseObject({ containerPort: z.int() })).optional(),
  targetContainerName: z.string().optional(),
});
const POD = z.looseObject({
  kind: z.literal("Pod"),
  metadata: z.looseObject({
    name: NAME.default(""),
    generateName: NAME.optional(),
    namespace: NAME.optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.looseObject({
    containers: z.array(CONTAINER).default([]),
    initContainers: z.array(CONTAINER).optional(),
    restartPolicy: z.enum(["Always", "OnFailure", "Never"]).optional(),
  }),
});
/** What a PUT or a patch says of ephemeral containers. */
const DEBUGGED = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string().optional() }).optional(),
  spec: z.looseObject({ ephemeralContainers: z.array(CONTAINER).optional() }).optional(),
});

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Finds the pod that is written, as it is once the body has come. @throws {Refusal} NotFound */
type FindPod = () => ServedPod;

/** Creates a pod, as `kubectl run` asks for it. The kubelet starts it. @throws {Refusal | StatusError} */
export async function createOne(
  request: Request,
  pods: PodStore,
  namespace: string,
): Promise<Response> {
  const given = POD.parse(await readJson(request));
  const { generateName } = given.metadata;
  const name = given.metadata.name || (generateName === undefined ? "" : `${generateName}${suffix()}`);
  if ((given.metadata.namespace ?? namespace) !== namespace) {
    throw new Refusal(
      "BadRequest",
      "the namespace of the provided object does not match the namespace sent on the request",
    );
  }
  const containers = [...given.spec.initContainers ?? [], ...given.spec.containers];
  const names = containers.map((container) => container.name);
  const errors: FieldError[] = [];
  if (!DNS_SUBDOMAIN.test(name)) errors.push(invalidName("metadata.name", name));
  if (given.spec.containers.length === 0) {
    errors.push({ field: "spec.containers", reason: "FieldValueRequired", message: "Required value" });
  }
  names.forEach((container, index) => {
    const field = `spec.containers[${index}].name`;
    if (!DNS_LABEL.test(container)) errors.push(invalidName(field, container));
    if (names.indexOf(container) !== index) errors.push(duplicate(field, container));
  });
  if (errors.length > 0) throw invalid("Pod", name, errors);
  if (pods.find(namespace, name) !== undefined) throw alreadyExists("pods", name);
  const pod = createPod(
    { ...given, metadata: { ...given.metadata, name, namespace } } as V1Pod,
    `10.244.0.${2 + pods.version % 250}`,
    now(),
  );
  return Response.json(isTrial(request) ? pod : pods.put(pod), { status: 201 });
}

/** Deletes a pod: at once, or as soon as the kubelet has ended it. */
export async function deleteOne(
  request: Request,
  pods: PodStore,
  findPod: FindPod,
): Promise<Response> {
  const options = z.looseObject({ gracePeriodSeconds: z.int().optional() }).parse(
    await readJson(request) ?? {},
  );
  const pod = findPod();
  const asked = new URL(request.url).searchParams.get("gracePeriodSeconds");
  const graceSeconds = options.gracePeriodSeconds ?? Number(asked ?? 30);
  const metadata = { ...pod.metadata, deletionTimestamp: now(), deletionGracePeriodSeconds: graceSeconds };
  const deleted = { ...pod, metadata } as unknown as ServedPod; // its times are text
  if (isTrial(request)) return Response.json(deleted);
  if (graceSeconds === 0) pods.remove(pod);
  else if (pod.metadata.deletionTimestamp === undefined) return Response.json(pods.put(deleted));
  return Response.json(deleted);
}

/**
 * Adds ephemeral containers to a pod, as `kubectl debug` asks for it. The kubelet starts them.
 *
 * @throws {Refusal | StatusError} Conflict where the pod is at another version than the one that is named
 */
export async function writeEphemeral(
  request: Request,
  pods: PodStore,
  findPod: FindPod,
): Promise<Response> {
  const mediaType = (request.headers.get("Content-Type") ?? "").split(";")[0]?.trim();
  const isPatch = request.method === "PATCH";
  const isStrategic = mediaType === "application/strategic-merge-patch+json";
  if (isPatch && !isStrategic && mediaType !== "application/merge-patch+json") {
    throw new Refusal("UnsupportedMediaType", "415: Unsupported Media Type");
  }
  const { metadata, spec } = DEBUGGED.parse(await readJson(request));
  const pod = findPod();
  const { name, resourceVersion } = pod.metadata;
  const asked = metadata?.resourceVersion || resourceVersion;
  if (asked !== resourceVersion) {
    const message = `Operation cannot be fulfilled on pods "${name}": the object has been modified; ` +
      "please apply your changes to the latest version and try again";
    throw new Refusal("Conflict", message, { details: { name, kind: "pods" } });
  }
  const before = pod.spec?.ephemeralContainers ?? [];
  const given = (spec?.ephemeralContainers ?? (isPatch ? before : [])) as V1EphemeralContainer[];
  const after = isStrategic ? mergeByName(before, given) : given;
  requireOnlyAdded(pod, before, after);
  const changed = {
    ...pod,
    spec: { ...pod.spec, containers: pod.spec?.containers ?? [], ephemeralContainers: after },
  };
  if (isTrial(request) || isDeepStrictEqual(before, after)) return Response.json(changed);
  return Response.json(pods.put(changed));
}

/** A strategic merge of a list whose key is `name`: what is not named stays, what is new stands at the end. */
function mergeByName(before: readonly V1EphemeralContainer[], given: readonly V1EphemeralContainer[]) {
  const of = (name: string) => given.find((each) => each.name === name);
  const kept = before.map((container) => ({ ...container, ...of(container.name) }));
  return [...kept, ...given.filter(({ name }) => !before.some((each) => each.name === name))];
}

/** @throws {StatusError} as the API server says it */
function requireOnlyAdded(
  { metadata: { name }, spec }: ServedPod,
  before: readonly V1EphemeralContainer[],
  after: readonly V1EphemeralContainer[],
): void {
  const field = "spec.ephemeralContainers";
  const { initContainers = [], containers = [] } = spec ?? {};
  const others = [...initContainers, ...containers].map(({ name }) => name);
  const errors: FieldError[] = [];
  for (const container of before) {
    const same = after.find((each) => each.name === container.name);
    if (isDeepStrictEqual(same, container)) continue;
    const what = same === undefined ? "removed" : "changed";
    const message = `Forbidden: existing ephemeral containers "${container.name}" may not be ${what}`;
    errors.push({ field, reason: "FieldValueForbidden", message });
  }
  after.forEach(({ name, targetContainerName = "" }, index) => {
    const at = `${field}[${index}]`;
    const isTaken = others.includes(name) || after.findIndex((each) => each.name === name) !== index;
    if (!DNS_LABEL.test(name)) errors.push(invalidName(`${at}.name`, name));
    if (isTaken) errors.push(duplicate(`${at}.name`, name));
    if (targetContainerName !== "" && !others.includes(targetContainerName)) {
      const message = `Not found: ${JSON.stringify(targetContainerName)}`;
      errors.push({ field: `${at}.targetContainerName`, reason: "FieldValueNotFound", message });
    }
  });
  if (errors.length > 0) throw invalid("Pod", name, errors);
}

function invalidName(field: string, name: string): FieldError {
  if (name === "") return { field, reason: "FieldValueRequired", message: "Required value" };
  const rule =
    "must consist of lower case alphanumeric characters or '-', and begin and end with an alphanumeric one";
  return { field, reason: "FieldValueInvalid", message: `Invalid value: ${JSON.stringify(name)}: ${rule}` };
}

function duplicate(field: string, name: string): FieldError {
  return { field, reason: "FieldValueDuplicate", message: `Duplicate value: ${JSON.stringify(name)}` };
}

/** Whether a write is to be tried, without its effect. @throws {Refusal} BadRequest */
function isTrial({ url }: Request): boolean {
  const asked = new URL(url).searchParams.getAll("dryRun");
  if (asked.some((value) => value !== "All")) {
    throw new Refusal(
      "BadRequest",
      `dryRun: Unsupported value: [${asked.map((value) => JSON.stringify(value)).join(",")}]`,
    );
  }
  return asked.length > 0;
}

/** Five characters that spell no word. */
function suffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return [...crypto.getRandomValues(new Uint8Array(5))].map((byte) => letters[byte % letters.length]).join(
    "",
  );
}
