import { decisionEvent, endEvent, startEvent, streamEvent } from "../audit/event.ts";
import { readCredential } from "../authz/credential.ts";
import type { Decision } from "../authz/policy/decision.ts";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import { expectedStreams, internalErrorDocument, STREAM_PROTOCOLS } from "../protocol/remote_command/mod.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import { openKubelet } from "../session/upstream.ts";
import { spliceSpdy } from "../session/spdy_splice.ts";
import { StreamLedger } from "../session/stream_ledger.ts";
import { refuseWebSocket } from "../session/error_channel.ts";
import { translateWebSocket, UPSTREAM_PROTOCOL } from "../session/websocket_translation.ts";
import { answerOf } from "./answer.ts";
import { recordRefusal, recordSafely, recordStrictly } from "./evidence.ts";
import { type CommandRequest, readCommandRequest } from "./exec_request.ts";
import { auditTarget, type Gate } from "./gate.ts";
import type { Upgrade } from "./handler.ts";
import type { Journey } from "./journey.ts";
import { type ClientProtocol, negotiate } from "./negotiation.ts";

/** `…/namespaces/{namespace}/pods/{pod}/exec`, GET and POST: the whole journey of a session, from credential to end. */
export async function exec(journey: Journey, gate: Gate): Promise<Response> {
  const { context, method } = journey;
  const { rawHeaders, signal, upgrade } = context;

  const credential = readCredential(rawHeaders);
  const user = await gate.authenticate(credential.token, signal);
  journey.learnIdentity({ user });
  const identity = await gate.impersonate(user, rawHeaders, signal);
  journey.learnIdentity(identity);

  const request = readCommandRequest(journey.target);
  const { namespace, pod, container, command: argv, stdin, stdout, stderr, tty } = request;
  journey.learn({ argv, flags: { stdin, stdout, stderr, tty } });
  const resolving = gate.resolve({ namespace, pod, container, purpose: "exec" }, signal);
  resolving.catch(() => {}); // told below, and only to those who may know
  await gate.authorize(identity.user, { namespace, pod, subresource: "exec" }, signal);
  const target = await resolving;
  journey.auditTarget = auditTarget(target);

  if (method !== "GET" && method !== "POST") {
    throw new Refusal("MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  if (upgrade === undefined) throw new Refusal("BadRequest", "Upgrade request required");
  const client = negotiate(method, rawHeaders, credential.subprotocols);
  journey.learn({ protocol: nameOf(client) });

  const decision = await gate.decide(identity.user, target, signal);
  await recordStrictly(gate, decisionEvent(journey.facts, journey.auditTarget, decision));
  if (!decision.allowed) throw denied(target, decision);

  const session = new ExecSession(journey, gate, client, request, target);
  // The API server answers v5 before it dials, and tells a failure on the session's error channel.
  if (client.protocol === "v5.channel.k8s.io") return session.acceptThenOpen(upgrade);
  return await session.openThenAccept(upgrade);
}

/** A policy's denial, as the API server words its own. */
function denied({ podName: name }: Target, { reason, rule }: Decision): Refusal {
  const details = { name, kind: "pods" };
  return new Refusal("Forbidden", `pods "${name}" is forbidden: ${reason}`, { details, rule });
}

/** An exec that was allowed and recorded: what is left is to open it, to see it through and to write down its end. */
class ExecSession {
  readonly #startedAtMs = performance.now();
  readonly #ledger = new StreamLedger();
  readonly #leave: () => void;

  constructor(
    readonly journey: Journey,
    readonly gate: Gate,
    readonly client: ClientProtocol,
    readonly request: CommandRequest,
    readonly target: Target,
  ) {
    this.#leave = gate.slots.take();
  }

  async openThenAccept(upgrade: Upgrade): Promise<Response> {
    const upstream = await this.#open();
    return upgrade.accept(this.#headers(), (client) => this.#run(client, upstream));
  }

  acceptThenOpen(upgrade: Upgrade): Response {
    return upgrade.accept(this.#headers(), async (client) => {
      let upstream: ByteConnection;
      try {
        upstream = await this.#open();
      } catch (thrown) {
        return await this.#refuse(client, thrown);
      }
      await this.#run(client, upstream);
    });
  }

  #headers() {
    return [...this.client.headers, ["Audit-Id", this.journey.auditId] as const];
  }

  async #open(): Promise<ByteConnection> {
    try {
      return await this.#openKubelet();
    } catch (thrown) {
      this.#leave();
      throw thrown;
    }
  }

  async #openKubelet(): Promise<ByteConnection> {
    const { gate, journey, request, target } = this;
    const endpoint = await gate.endpoint(target);
    const { namespace, podName: pod, podUid: uid, container } = target;
    const protocol = this.client.transport === "spdy" ? this.client.protocol : UPSTREAM_PROTOCOL;
    const { signal } = journey.context;
    const wanted = {
      ...request,
      subresource: "exec" as const,
      namespace,
      pod,
      uid,
      container: container!.name,
    };
    const upstream = await openKubelet(endpoint, wanted, protocol, { ...gate.dial, signal });
    try {
      await recordStrictly(
        gate,
        startEvent(journey.facts, auditTarget(target), {
          upstream: upstream.authority,
          clientProtocol: nameOf(this.client),
          upstreamProtocol: upstream.protocol,
        }),
      );
    } catch (thrown) {
      upstream.connection.close();
      throw thrown;
    }
    return upstream.connection;
  }

  async #run(client: ByteConnection, upstream: ByteConnection): Promise<void> {
    const { gate, journey } = this;
    const end = await this.#passThrough(client, upstream).finally(this.#leave);
    if (end.cause !== undefined) gate.report("a session failed", end.cause, journey.auditId);
    const target = auditTarget(this.target);
    const streams = this.#ledger.summaries();
    const durationMs = performance.now() - this.#startedAtMs;
    await recordSafely(
      gate,
      journey.auditId,
      ...streams.map((stream) => streamEvent(journey.facts, target, stream)),
      endEvent(journey.facts, target, { ...end, streams, durationMs }),
    );
  }

  async #passThrough(client: ByteConnection, upstream: ByteConnection) {
    const { request, gate: { limits } } = this;
    const common = { tap: this.#ledger, limits, signal: this.journey.context.signal };
    if (this.client.transport === "websocket") {
      return await translateWebSocket(client, upstream, {
        ...common,
        protocol: this.client.protocol,
        requested: request,
      });
    }
    const { protocol } = this.client;
    const expected = expectedStreams(request, STREAM_PROTOCOLS[protocol]).length;
    return await spliceSpdy(client, upstream, { ...common, protocol, expectedStreams: expected });
  }

  /** Tells a v5 client, whose protocol was switched already, what the API server would have told it. */
  async #refuse(client: ByteConnection, thrown: unknown): Promise<void> {
    const { gate, journey, request } = this;
    if (this.client.transport !== "websocket") return;
    const answer = answerOf(thrown);
    await recordRefusal(gate, journey, answer, thrown);
    const text = thrown instanceof UpstreamRefusal
      ? `unable to upgrade connection: ${answer.message}`
      : answer.message;
    const document = internalErrorDocument(text);
    const { protocol } = this.client;
    await refuseWebSocket(client, { protocol, requested: request, lingerMs: gate.limits.lingerMs, document });
  }
}

function nameOf({ transport, protocol }: ClientProtocol): string {
  return `${transport === "spdy" ? "SPDY/3.1" : "WebSocket"} ${protocol || "(none)"}`;
}
