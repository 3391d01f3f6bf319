/** What is wrong with one field of an object. */
export interface FieldError {
  /** E.g. `spec.containers[0].name`. */
  field: string;
  /** As `metav1.CauseType` spells it. */
  reason:
    | "FieldValueDuplicate"
    | "FieldValueForbidden"
    | "FieldValueInvalid"
    | "FieldValueNotFound"
    | "FieldValueRequired";
  /** E.g. `Required value`. */
  message: string;
}

/** A refusal of a kind that the gateway itself never makes, as a whole `metav1.Status`. */
export class StatusError extends Error {
  constructor(readonly code: number, readonly reason: string, message: string, readonly details: object) {
    super(message);
  }

  toStatus(): object {
    const { message, reason, details, code } = this;
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      reason,
      details,
      code,
    };
  }
}

/** An object that breaks the rules of its kind. @param kind e.g. `Pod` */
export function invalid(kind: string, name: string, errors: readonly FieldError[]): StatusError {
  const list = errors.map(({ field, message }) => `${field}: ${message}`);
  const text = list.length === 1 ? list[0] : `[${list.join(", ")}]`;
  const message = `${kind} "${name}" is invalid: ${text}`;
  return new StatusError(422, "Invalid", message, { name, kind, causes: errors });
}

export function alreadyExists(resource: string, name: string): StatusError {
  return new StatusError(409, "AlreadyExists", `${resource} "${name}" already exists`, {
    name,
    kind: resource,
  });
}
