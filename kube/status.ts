/**
 * `metav1.Status`, the shape in which Kubernetes says no, and `Refusal`, the one error that becomes it.
 *
 * @see k8s.io/apimachinery pkg/apis/meta/v1/types.go, StatusReason; HTTP codes as pkg/api/errors sets them.
 */

import { printable } from "./printable.ts";

/** HTTP code of each reason that the gateway gives. */
const HTTP_CODE = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  Conflict: 409,
  Gone: 410,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  TooManyRequests: 429,
  InternalError: 500,
  NotImplemented: 501,
  ServiceUnavailable: 503,
  Timeout: 504,
} as const;

/** Why a request was refused, as `metav1.StatusReason` spells it. */
export type StatusReason = keyof typeof HTTP_CODE;

/** What a refusal is about: `{name, kind}` as the API server fills them (`kind` is the resource, e.g. `pods`). */
export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: { reason?: string; message?: string; field?: string }[];
  retryAfterSeconds?: number;
}

/** A `metav1.Status` document. `reason` is absent where the API server gives none. */
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: Record<string, never>;
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code?: number;
}

/** Options of a {@linkcode Refusal}. */
export interface RefusalOptions extends ErrorOptions {
  details?: StatusDetails;
  /** Headers of the answer, e.g. `WWW-Authenticate`. */
  headers?: Record<string, string>;
  /** The name of the rule that refused, for the audit event. */
  rule?: string;
}

/**
 * A refusal that the client is told of. `message` is for that person and holds no secret; `cause` is for our log
 * and goes nowhere else.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly details: StatusDetails | undefined;
  readonly headers: Record<string, string>;
  readonly rule: string | undefined;
  constructor(readonly reason: StatusReason, message: string, options: RefusalOptions = {}) {
    super(message, options);
    this.details = options.details;
    this.headers = options.headers ?? {};
    this.rule = options.rule;
  }
}

/** Any thrown value as a Status. What is no {@linkcode Refusal} says nothing of itself to the client; what is, nothing to a terminal. */
export function toStatus(thrown: unknown): Status {
  const { reason, message, details } = thrown instanceof Refusal
    ? thrown
    : { reason: "InternalError" as const, message: "internal error", details: undefined };
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: printable(message),
    reason,
    ...(details && { details }),
    code: HTTP_CODE[reason],
  };
}
