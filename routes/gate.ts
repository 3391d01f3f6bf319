import type { CommandMask } from "../audit/argv/argv_mask.ts";
import type { AuditTarget } from "../audit/event.ts";
import type { Journal } from "../audit/journal.ts";
import type { ResourceAttributes } from "../authz/authorize.ts";
import type { Decision, Obligation } from "../authz/policy/decision.ts";
import type { Identity, User } from "../authz/user.ts";
import type { TargetRequest } from "../kube/resolve_target.ts";
import type { Target } from "../kube/target.ts";
import type { SessionLimits } from "../session/lifetime.ts";
import type { RecordingFacts, SessionRecording } from "../recording/archive.ts";
import type { OpenedUpstream, UpstreamRequest } from "../session/upstream.ts";
import type { HeaderLine } from "./handler.ts";
import type { Watch } from "./journey_watch.ts";
import type { Rechecks } from "./rechecks.ts";
import type { SessionKind } from "./session_address.ts";
import type { SessionRegistry } from "./session_registry.ts";
import type { SessionSlots } from "./session_slots.ts";

/** What a session is authorized for, as SubjectAccessReview asks it. */
export interface SessionAttributes {
  namespace: string;
  pod: string;
  subresource: SessionKind;
}

/** Who asks, and the credential that was shown. */
export interface Caller {
  /** As whom: authorization and policy are asked about this one. */
  user: User;
  /** A secret: it goes to the API server and nowhere else. */
  token: string;
  /** WebSocket subprotocols without the one that held the token; absent where none did. */
  subprotocols?: readonly string[];
}

/** What is to be opened, for whom. */
export interface OpenRequest {
  upstream: UpstreamRequest;
  /** The only stream protocol to offer. */
  protocol: string;
  /** Of the session's events. */
  auditId: string;
  /** The caller's token and `Impersonate-*` headers, for an upstream that sessions are opened at in the caller's name. */
  token: string;
  rawHeaders: readonly HeaderLine[];
  /** By which the upstream goes on with the session's trace. */
  traceHeaders: readonly HeaderLine[];
}

/** A connection to where a target is opened, made or being made, on which nothing was said yet of what for. */
export interface UpstreamDial {
  /** Opens the session on it: what was checked, and nothing else of that name. Once. */
  open(request: OpenRequest): Promise<OpenedUpstream>;
  /** Closes it, opened or not. */
  abandon(): void;
}

/**
 * The steps of a session's journey, in their order. Each throws a Refusal, which is what the client is told; whatever
 * else it throws is a refusal too, without words.
 */
export interface Gate {
  /** Who is it? 401, or 503 where nobody can say. */
  authenticate(token: string, signal: AbortSignal): Promise<User>;
  /** As whom do they ask? 403 where they may not. */
  impersonate(user: User, headers: readonly HeaderLine[], signal: AbortSignal): Promise<Identity>;
  /** The pod as it is now, pinned by its UID. 404 and 400 in the API server's words. */
  resolve(request: TargetRequest, signal: AbortSignal): Promise<Target>;
  /** May they? 403 in the API server's words. */
  authorize(user: User, attributes: SessionAttributes, signal: AbortSignal): Promise<void>;
  /** May they use the node's own paths? 403 in the API server's words. */
  authorizeNodeProxy(user: User, node: string, signal: AbortSignal): Promise<void>;
  /** What the policy says of this user and this target. Never throws: an error is a denial. */
  decide(user: User, target: Target, signal: AbortSignal): Promise<Decision>;
  /** What commands are written down as. */
  commandMask: CommandMask;
  /** Where the session's events are written down. */
  journal: Journal;
  /**
   * Begins the recording of a session, where the configuration or an obligation asks for one. It is begun when this resolves;
   * rejects where there must be one and cannot.
   */
  record(facts: RecordingFacts, obligations: readonly Obligation[]): Promise<SessionRecording | undefined>;
  /** Connects to where the target is opened. Never throws: what goes wrong is told by {@linkcode UpstreamDial.open}. */
  dial(target: Target, signal: AbortSignal): UpstreamDial;
  limits: SessionLimits;
  /** What holds for each connection of a port-forward. */
  forwarding: {
    /** What the policy says of a port: the sentence of a denial. */
    checkPort(port: number): string | undefined;
    /** Connections of one session that may be open at once. */
    maxConnections: number;
  };
  /** Places for sessions that are open at once. */
  slots: SessionSlots;
  /** The sessions that are open, to be watched and ended. */
  sessions: SessionRegistry;
  /** Asks again about sessions that live; absent where the configuration wants none of it. */
  rechecks?: {
    schedule: Rechecks;
    /** The same steps, answered out of no memory that is older than the schedule allows for. */
    steps: AnsweredAgain;
  };
  /** Sees what becomes of requests and sessions; absent where nobody counts. */
  watch?: Watch;
  /** Tells the gateway's own log what no client may know. */
  report(message: string, cause: unknown, auditId: string): void;
}

/** The steps whose answers may change while a session lives. */
export interface AnsweredAgain
  extends Pick<Gate, "authenticate" | "impersonate" | "authorize" | "authorizeNodeProxy" | "decide"> {
  /** May they do just this? 403 in the API server's words. */
  require(user: User, attributes: ResourceAttributes, signal: AbortSignal): Promise<void>;
}

/** What the audit says of a target. */
export function auditTarget(target: Target): AuditTarget {
  const { namespace, podName, podUid, nodeName, container, pod } = target;
  const statuses = [
    ...pod.status?.containerStatuses ?? [],
    ...pod.status?.initContainerStatuses ?? [],
    ...pod.status?.ephemeralContainerStatuses ?? [],
  ];
  const imageId = statuses.find(({ name }) => name === container?.name)?.imageID;
  return {
    namespace,
    podName,
    podUid,
    nodeName,
    ...(container && { container: container.name, containerKind: container.kind }),
    ...(container?.spec.image && { image: container.spec.image }),
    ...(imageId && { imageId }),
  };
}
