import { Refusal } from "../kube/status.ts";
import { statusMessage, UpstreamRefusal } from "./kubelet_upgrade.ts";

/** Who was shown the gateway's own credentials. */
export type Upstream = "the kubelet" | "the API server";

/**
 * What a session could not be opened for, where the gateway's own credentials were shown: that these do not suffice is no fault of
 * the user's, who is told no more than that. What was said is for the gateway's log, as the cause: it names the right that is missing.
 *
 * @param thrown by an upgrade
 * @returns a Refusal, ServiceUnavailable; or `thrown`, where it is about something else
 */
export function ownRefusal(thrown: unknown, upstream: Upstream): unknown {
  if (!(thrown instanceof UpstreamRefusal) || !isAboutUs(thrown, upstream)) return thrown;
  return new Refusal("ServiceUnavailable", `${upstream} does not let the gateway in`, { cause: thrown });
}

/**
 * A kubelet refuses for nothing else with these codes. Behind an API server's 403 may be admission too, which is about the user's
 * session and speaks in words of its own.
 *
 * @see k8s.io/apiserver pkg/endpoints/handlers/responsewriters/errors.go, forbiddenMessage
 */
function isAboutUs({ status, body }: UpstreamRefusal, upstream: Upstream): boolean {
  if (status === 401) return true;
  if (status !== 403) return false;
  if (upstream === "the kubelet") return true;
  const said = statusMessage(new TextDecoder().decode(body)) ?? "";
  return /^pods "[^"]*" is forbidden: User "[^"]*" cannot (create|get) resource "pods\//.test(said);
}
