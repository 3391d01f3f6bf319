import { z } from "zod";
import { Refusal } from "../../kube/status.ts";
import type { ClusterState, Requester } from "../manifest.ts";
import { evaluate, type Request as AccessRequest, rulesFor } from "../rbac/evaluate.ts";
import { readBytes, readJson } from "./body.ts";
import { child, type Message, readEnvelope, textOf } from "./protobuf.ts";

/** The audience of every token here: the API server. */
const AUDIENCE = "https://kubernetes.default.svc";

const AUTHENTICATION = "authentication.k8s.io/v1";
const AUTHORIZATION = "authorization.k8s.io/v1";

const text = z.string().default("");

const ATTRIBUTES = z.object({
  resourceAttributes: z.object({
    verb: text,
    group: text,
    resource: text,
    subresource: z.string().optional(),
    namespace: z.string().optional(),
    name: z.string().optional(),
  }).optional(),
  nonResourceAttributes: z.object({ verb: text, path: text }).optional(),
});
const TOKEN_REVIEW = z.object({ token: text, audiences: z.array(z.string()).default([]) });
const SUBJECT_ACCESS_REVIEW = ATTRIBUTES.extend({
  user: text,
  groups: z.array(z.string()).default([]),
  uid: text,
});
const RULES_REVIEW = z.object({ namespace: text });

/** Whose token is it? Answers a TokenReview. */
export async function reviewToken(request: Request, { users }: ClusterState): Promise<Response> {
  const { token, audiences } = TOKEN_REVIEW.parse(await readSpec(request));
  const user = users.get(token);
  const common = audiences.filter((audience) => audience === AUDIENCE);
  const isMeant = audiences.length === 0 || common.length > 0;
  const status = user === undefined
    ? { user: {} }
    : isMeant
    ? { authenticated: true, user, audiences: audiences.length === 0 ? [AUDIENCE] : common }
    : { user: {}, error: "[invalid bearer token, token audiences are not for this reviewer]" };
  return created(AUTHENTICATION, "TokenReview", { audiences }, status);
}

/** May somebody? Answers a SubjectAccessReview. */
export async function reviewSubjectAccess(request: Request, { policy }: ClusterState): Promise<Response> {
  const spec = SUBJECT_ACCESS_REVIEW.parse(await readSpec(request));
  const { user: username, groups } = spec;
  if (username === "" && groups.length === 0) {
    throw new Refusal(
      "BadRequest",
      'spec.user: Invalid value: "": at least one of user or group must be specified',
    );
  }
  const status = accessStatus(evaluate(policy, { username, groups }, accessRequest(spec)));
  return created(AUTHORIZATION, "SubjectAccessReview", spec, status);
}

/** May I? Answers a SelfSubjectAccessReview, which kubectl sends as protobuf. */
export async function reviewSelfAccess(
  request: Request,
  { policy }: ClusterState,
  user: Requester,
): Promise<Response> {
  const spec = ATTRIBUTES.parse(await readSpec(request, attributesOf));
  const status = accessStatus(evaluate(policy, user, accessRequest(spec)));
  return created(AUTHORIZATION, "SelfSubjectAccessReview", spec, status);
}

/** What may I? Answers a SelfSubjectRulesReview, which kubectl sends as protobuf. */
export async function reviewSelfRules(
  request: Request,
  { policy }: ClusterState,
  user: Requester,
): Promise<Response> {
  const read = (spec: Message) => ({ namespace: textOf(spec, 1) });
  const { namespace } = RULES_REVIEW.parse(await readSpec(request, read));
  if (namespace === "") throw new Refusal("BadRequest", "no namespace on request");
  const status = { ...rulesFor(policy, user, namespace), incomplete: false };
  return created(AUTHORIZATION, "SelfSubjectRulesReview", { namespace }, status);
}

/** Who am I? Answers a SelfSubjectReview, whatever it says. */
export function reviewSelf(user: Requester): Response {
  return created(AUTHENTICATION, "SelfSubjectReview", undefined, { userInfo: user });
}

/**
 * The `spec` of the review that a request carries, still to be checked.
 *
 * @param readProtobuf reads it from protobuf, for the kinds that kubectl sends so
 * @throws {Refusal} BadRequest
 */
async function readSpec(request: Request, readProtobuf?: (spec: Message) => unknown): Promise<unknown> {
  const isProtobuf = request.headers.get("Content-Type")?.includes("protobuf") === true;
  if (isProtobuf && readProtobuf === undefined) {
    throw new Refusal("BadRequest", "the body of the request was in an unknown format: send JSON");
  }
  try {
    if (isProtobuf) {
      const review = readEnvelope(await readBytes(request));
      return readProtobuf?.(child(review, 2) ?? new Map());
    }
    return z.object({ spec: z.unknown() }).parse(await readJson(request)).spec ?? {};
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw new Refusal("BadRequest", "the object provided is unrecognized", { cause });
  }
}

/** `spec` of an access review. @see k8s.io/api authorization/v1/generated.proto */
function attributesOf(spec: Message): unknown {
  const [resource, url] = [child(spec, 1), child(spec, 2)];
  if (url !== undefined) return { nonResourceAttributes: { path: textOf(url, 1), verb: textOf(url, 2) } };
  if (resource === undefined) return {};
  const at = (number: number) => textOf(resource, number);
  return {
    resourceAttributes: {
      namespace: at(1),
      verb: at(2),
      group: at(3),
      resource: at(5),
      subresource: at(6),
      name: at(7),
    },
  };
}

/** @throws {Refusal} BadRequest where nothing, or both, is asked */
function accessRequest(spec: z.infer<typeof ATTRIBUTES>): AccessRequest {
  const { resourceAttributes: resource, nonResourceAttributes: url } = spec;
  if ((resource === undefined) === (url === undefined)) {
    const message = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    throw new Refusal("BadRequest", `spec.resourceAttributes: Invalid value: ${message}`);
  }
  if (resource === undefined) return url!;
  const { subresource, namespace, name, ...what } = resource;
  return {
    ...what,
    ...(subresource && { subresource }),
    ...(namespace && { namespace }),
    ...(name && { name }),
  };
}

function accessStatus(reason: string | undefined): object {
  return { allowed: reason !== undefined, ...(reason !== undefined && { reason }) };
}

function created(apiVersion: string, kind: string, spec: object | undefined, status: object): Response {
  const review = { kind, apiVersion, metadata: {}, ...(spec && { spec }), status };
  return Response.json(review, { status: 201 });
}
