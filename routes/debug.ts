import { isDeepStrictEqual } from "node:util";
import type { V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import { type AuditTarget, decisionEvent } from "../audit/event.ts";
import type { Decision } from "../authz/policy/decision.ts";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import { identify } from "./admission.ts";
import { auditedAnswer } from "./audited_answer.ts";
import { recordRefusal, recordStrictly } from "./evidence.ts";
import { answered, type Forward, forwardedHeaders, upstreamAuditId } from "./forwarding.ts";
import type { Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import { type PodWrite, readPodWrite } from "./pod_write.ts";
import { BodyError, readBody } from "./read_body.ts";

/**
 * Writes of `pods/{name}/ephemeralcontainers`: what `kubectl debug` asks for.
 *
 * Whether an ephemeral container is one for cluster-admins can be said only of the pod that the write would make, and only
 * the API server knows that pod: patches come in four languages, a JSON patch copies from anywhere in the pod, and
 * defaults and webhooks come on top. So no patch is understood here. The API server is asked to try the write
 * (`dryRun=All`), as the user and with what else the user has sent; the pod that it answers with is decided about; then
 * the same bytes are sent for real.
 *
 * What was decided about is what is written, because both are held to one version of the pod, that of the gateway's own
 * read before them. Held how: a merge, a strategic merge, an apply and a PUT by `metadata.resourceVersion`, which the API
 * server compares in the same transaction that writes (409); a JSON patch by a `test` of it as the first operation, which
 * fails the patch whatever its other operations do to the field (422). So whoever changes an annotation between the two,
 * for a `copy` to find something else, has changed the version, and the write comes to nothing. No directive takes
 * the precondition out of a body: `$patch: delete` takes the name along, without which the API server takes no write
 * (400). A version that a client names itself is kept, for it is as good a precondition; what is none (`0`, nothing) is
 * replaced. All of this was tried on 1.34, and tests/e2e/debug_test.ts tries it again.
 *
 * A pod changes by itself, above all while it starts. So a write that was refused for its precondition alone is tried
 * again from the read, a few times; what then comes of it is told as the API server tells it.
 *
 * What is left: a mutating webhook that answers a dry run otherwise than the write. Whoever can make it do so can have it
 * make any pod of theirs privileged; and a session into the container that it made is refused all the same.
 *
 * @module
 */

/** The steps of a write: a session's, and what a write needs beside them. */
export interface DebugGate extends Pick<Gate, "authenticate" | "impersonate" | "journal" | "report"> {
  forward: Forward;
  /** The pod as it is, read by the gateway; `undefined` where there is none. */
  readPod(namespace: string, name: string, signal: AbortSignal): Promise<V1Pod | undefined>;
  /** What the policy says of ephemeral containers that are added. Any error is a denial. */
  decideAddition(user: User, addition: Addition, signal: AbortSignal): Promise<Decision>;
}

/** What a write would do. */
export interface Addition {
  /** As it would be, the added containers among its own. */
  pod: V1Pod;
  added: readonly V1EphemeralContainer[];
}

/** Largest body, in bytes: the API server's own bound. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** How long a client may take to send it, in milliseconds. */
const BODY_MS = 30_000;

/** Largest pod that the API server answers with, in bytes; etcd takes half of it. */
const MAX_POD_BYTES = 4 * 1024 * 1024;

/** How long the API server may take to send it, once it answers, in milliseconds. */
const POD_MS = 30_000;

/** How often a write is tried whose pod changes meanwhile. */
const MAX_ATTEMPTS = 5;

/** Any method but GET and HEAD of `/api/v1/namespaces/{namespace}/pods/{name}/ephemeralcontainers`. */
export async function debug(journey: Journey, request: Request, gate: DebugGate): Promise<Response> {
  const { method, target: { segments }, context } = journey;
  const [namespace, name] = [segments[3]!, segments[5]!];
  const objectRef = {
    resource: "pods",
    namespace,
    name,
    apiVersion: "v1",
    subresource: "ephemeralcontainers",
  };
  journey.learn({ objectRef });
  const { user } = await identify(journey, gate);
  if (context.upgrade !== undefined) {
    throw new Refusal("BadRequest", "this path cannot be upgraded through the gateway", { rule: "upgrade" });
  }
  if (method !== "PATCH" && method !== "PUT") {
    throw new Refusal("MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  const write = readPodWrite(method, request.headers.get("Content-Type"), await readRequest(request));
  return await new PodDebugging(journey, gate, user, write, { namespace, name }).run();
}

class PodDebugging {
  /** What was written down last: the same is not written down twice. */
  #recorded: unknown;

  constructor(
    readonly journey: Journey,
    readonly gate: DebugGate,
    readonly user: User,
    readonly write: PodWrite,
    readonly at: { namespace: string; name: string },
  ) {}

  async run(): Promise<Response> {
    let before = await this.#read();
    for (let left = MAX_ATTEMPTS - 1;; left--) {
      const body = this.write.at(before?.metadata?.resourceVersion);
      /** Whether an answer says no more than that the pod is another by now; if so, it is read again. */
      const isOvertaken = async ({ status }: Response) => {
        if (left === 0 || !this.#mayBeOvertaken(status)) return false;
        const now = await this.#read();
        const isMoved = now?.metadata?.resourceVersion !== before?.metadata?.resourceVersion;
        if (isMoved) before = now;
        return isMoved;
      };

      const trial = await this.#try(body);
      if (!trial.ok) {
        if (await isOvertaken(trial)) {
          await trial.body?.cancel();
          continue;
        }
        return await this.#refused(trial);
      }
      const pod = readAnswer(await readTrial(trial));
      // There was none, so that this one came in between: what the write does to it is not known yet.
      if (before === undefined) {
        before = await this.#read();
        if (left > 0) continue;
        throw changed(this.at.name);
      }
      await this.#decide(before, pod);

      const answer = await this.#send(body);
      if (!answer.ok && await isOvertaken(answer)) {
        await answer.body?.cancel();
        continue;
      }
      return await auditedAnswer(this.journey, this.gate, this.journey.auditTarget, answer);
    }
  }

  async #read(): Promise<V1Pod | undefined> {
    const { namespace, name } = this.at;
    return await this.gate.readPod(namespace, name, this.journey.context.signal);
  }

  #mayBeOvertaken(code: number): boolean {
    const { form, ownVersion } = this.write;
    return ownVersion === undefined && (code === 409 || (code === 422 && form === "json_patch"));
  }

  /** Asks the policy, and writes its answer down before anything is written. @throws {Refusal} */
  async #decide(before: V1Pod, pod: V1Pod): Promise<void> {
    const { journey, gate, user, write } = this;
    const version = write.ownVersion ?? before.metadata?.resourceVersion;
    // A trial changes no version. If this is another one, the precondition was none.
    const isSame = version !== undefined && pod.metadata?.resourceVersion === version &&
      pod.metadata.uid !== undefined && pod.metadata.uid === before.metadata?.uid;
    if (!isSame) throw changed(this.at.name);
    const added = addedContainers(before, pod);
    const target = targetOf(pod, added);
    journey.auditTarget = target;
    const decision = await gate.decideAddition(user, { pod, added }, journey.context.signal);
    if (!isDeepStrictEqual(this.#recorded, { decision, target })) {
      await recordStrictly(gate, decisionEvent(journey.facts, target, decision));
      this.#recorded = { decision, target };
    }
    if (decision.allowed) return;
    const { name } = this.at;
    const details = { name, kind: "pods" };
    const { reason, rule } = decision;
    throw new Refusal("Forbidden", `pods "${name}" is forbidden: ${reason}`, { details, rule });
  }

  /** The write, without its effect; its answer is for the gateway, and so in its language. */
  async #try(body: string): Promise<Response> {
    const { rawTarget } = this.journey.context;
    const isTrial = this.journey.target.query.some(([key]) => key === "dryRun");
    const target = isTrial ? rawTarget : `${rawTarget}${rawTarget.includes("?") ? "&" : "?"}dryRun=All`;
    const headers = forwardedHeaders(this.journey.context);
    headers.delete("Audit-ID"); // the write's is ours; to the API server's log this is another request
    headers.set("Accept", "application/json");
    return await this.#forward(target, headers, body);
  }

  /** The write, as the client asked for it. */
  async #send(body: string): Promise<Response> {
    const { context, auditId } = this.journey;
    return await this.#forward(context.rawTarget, forwardedHeaders(context, auditId), body);
  }

  async #forward(target: string, headers: Headers, text: string): Promise<Response> {
    const { method, context: { signal } } = this.journey;
    headers.set("Content-Type", this.write.contentType);
    const body = new Blob([text]).stream();
    return await this.gate.forward({ method, target, headers, body, signal });
  }

  /** The API server's own refusal, as it stands. */
  async #refused(trial: Response): Promise<Response> {
    const { journey, gate } = this;
    const body = await readTrial(trial);
    const upstream = upstreamAuditId(trial);
    if (upstream !== undefined) journey.learn({ upstreamAuditId: upstream });
    const { reason, message } = readStatus(body);
    const answer = { code: trial.status, reason, message, headers: [], body, isRaw: false };
    await recordRefusal(gate, journey, answer, undefined);
    return answered(trial, body.slice());
  }
}

async function readRequest(request: Request): Promise<Uint8Array> {
  try {
    return await readBody(request.body, { maxBytes: MAX_BODY_BYTES, deadlineMs: BODY_MS });
  } catch (cause) {
    if (!(cause instanceof BodyError)) {
      throw new Refusal("BadRequest", "the request's body was cut off", { cause });
    }
    if (cause.kind === "too_slow") throw new Refusal("Timeout", "the request's body did not come in time");
    throw new Refusal("RequestEntityTooLarge", `Request entity too large: limit is ${MAX_BODY_BYTES}`);
  }
}

async function readTrial(trial: Response): Promise<Uint8Array> {
  try {
    return await readBody(trial.body, { maxBytes: MAX_POD_BYTES, deadlineMs: POD_MS });
  } catch (cause) {
    throw new Refusal("ServiceUnavailable", "the API server's answer could not be read", { cause });
  }
}

/** The pod that a trial ended with. */
function readAnswer(bytes: Uint8Array): V1Pod {
  const pod = parseObject(bytes);
  if (pod?.kind === "Pod" && pod.apiVersion === "v1") return pod as V1Pod;
  throw new Refusal("InternalError", "the API server answered a trial with something that is no pod");
}

/** What a Status says; whatever else it is says nothing. */
function readStatus(bytes: Uint8Array): { reason: string; message: string } {
  const { reason, message } = parseObject(bytes) ?? {};
  return {
    reason: typeof reason === "string" ? reason : "",
    message: typeof message === "string" ? message : "the API server refused",
  };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** Those that were not there before, exactly as they are. */
function addedContainers(before: V1Pod, after: V1Pod): V1EphemeralContainer[] {
  const old = before.spec?.ephemeralContainers ?? [];
  return (after.spec?.ephemeralContainers ?? []).filter((container) =>
    !old.some((each) => isDeepStrictEqual(each, container))
  );
}

/** What the audit says of it. One write may add more than one container, though no client is known to. */
function targetOf({ metadata, spec }: V1Pod, added: readonly V1EphemeralContainer[]): AuditTarget {
  const images = added.flatMap(({ image }) => image === undefined ? [] : [image]);
  return {
    namespace: metadata?.namespace ?? "",
    podName: metadata?.name ?? "",
    podUid: metadata?.uid ?? "",
    nodeName: spec?.nodeName ?? "",
    ...(added.length > 0 && {
      container: added.map(({ name }) => name).join(","),
      containerKind: "ephemeral",
      image: images.join(","),
    }),
  };
}

function changed(name: string): Refusal {
  const message =
    `Operation cannot be fulfilled on pods "${name}": the object has been modified while it was ` +
    "checked; please try again";
  return new Refusal("Conflict", message, { details: { name, kind: "pods" } });
}
