import { streamEvent } from "../audit/event.ts";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import {
  type ChannelProtocol,
  expectedStreams,
  failureDocument,
  internalErrorDocument,
  type RequestedStreams,
  STREAM_PROTOCOLS,
  type StreamProtocol,
} from "../protocol/remote_command/mod.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { refuseWebSocket } from "../session/error_channel.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import { spliceSpdy } from "../session/spdy_splice.ts";
import { StreamLedger } from "../session/stream_ledger.ts";
import { translateWebSocket, UPSTREAM_PROTOCOL } from "../session/websocket_translation.ts";
import { admit, decide, identify, type Permission } from "./admission.ts";
import { answerOf } from "./answer.ts";
import type { CommandRequest } from "./command_request.ts";
import { recordRefusal } from "./evidence.ts";
import { auditTarget, type Caller, type Gate } from "./gate.ts";
import type { Upgrade } from "./handler.ts";
import type { Journey } from "./journey.ts";
import { LiveSession } from "./live_session.ts";
import { type ClientProtocol, nameOf, negotiate } from "./negotiation.ts";

/** An exec or attach, whatever path asked for it: the whole journey of a session, from credential to end. */
export async function command(journey: Journey, gate: Gate, request: CommandRequest): Promise<Response> {
  const { method, context: { rawHeaders, upgrade } } = journey;
  const caller = await identify(journey, gate);
  const { command: argv, stdin, stdout, stderr, tty } = request;
  journey.learn({ ...(request.kind === "exec" && { argv }), flags: { stdin, stdout, stderr, tty } });
  const target = await admit(journey, gate, caller, request);

  if (method !== "GET" && method !== "POST") {
    throw new Refusal("MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  if (upgrade === undefined) throw new Refusal("BadRequest", "Upgrade request required");
  const client = negotiate(method, rawHeaders, caller.subprotocols, request.form);
  journey.learn({ protocol: nameOf(client) });

  const permission = await decide(journey, gate, caller, target);

  const session = new CommandSession(journey, gate, client, request, caller, target, permission);
  // The API server answers v5 before it dials, and tells a failure on the session's error channel.
  if (client.protocol === "v5.channel.k8s.io") return await session.acceptThenOpen(upgrade);
  return await session.openThenAccept(upgrade);
}

class CommandSession {
  readonly #ledger = new StreamLedger();
  readonly #session: LiveSession;
  /** What the upstream expects: an attach has the terminal that its container has, whatever was asked. */
  readonly #requested: RequestedStreams;

  constructor(
    readonly journey: Journey,
    readonly gate: Gate,
    readonly client: ClientProtocol<StreamProtocol, ChannelProtocol>,
    readonly request: CommandRequest,
    caller: Caller,
    readonly target: Target,
    permission: Permission,
  ) {
    const { kind, command, stdin, stdout, stderr } = request;
    const { namespace, podName: pod, podUid: uid, container } = target;
    const tty = kind === "attach" ? container!.spec.tty === true : request.tty;
    this.#requested = { stdin, stdout, stderr, tty };
    this.#session = new LiveSession(journey, gate, {
      address: request,
      target,
      caller,
      permission,
      upstream: {
        ...{ subresource: kind, namespace, pod, uid, container: container!.name, command },
        ...{ stdin, stdout, stderr, tty: request.tty },
      },
      tty,
      protocol: client.transport === "spdy" ? client.protocol : UPSTREAM_PROTOCOL,
      clientProtocol: nameOf(client),
    });
  }

  async openThenAccept(upgrade: Upgrade): Promise<Response> {
    const upstream = await this.#session.open();
    return upgrade.accept(this.#headers(), (client) => this.#run(client, upstream));
  }

  async acceptThenOpen(upgrade: Upgrade): Promise<Response> {
    await this.#session.prepare();
    return upgrade.accept(this.#headers(), async (client) => {
      let upstream: ByteConnection;
      try {
        upstream = await this.#session.open();
      } catch (thrown) {
        return await this.#refuse(client, thrown);
      }
      await this.#run(client, upstream);
    });
  }

  #headers() {
    return [...this.client.headers, ["Audit-Id", this.journey.auditId] as const];
  }

  async #run(client: ByteConnection, upstream: ByteConnection): Promise<void> {
    await this.#session.run(async () => {
      const end = await this.#passThrough(client, upstream);
      const streams = this.#ledger.summaries();
      const target = auditTarget(this.target);
      return { end, streams, events: streams.map((each) => streamEvent(this.journey.facts, target, each)) };
    });
  }

  async #passThrough(client: ByteConnection, upstream: ByteConnection) {
    const { request: { kind: purpose, form }, gate: { limits } } = this;
    const common = {
      tap: this.#session.tap(this.#ledger),
      limits,
      purpose,
      signal: this.#session.signal,
    };
    if (this.client.transport === "websocket") {
      const { protocol } = this.client;
      return await translateWebSocket(client, upstream, { ...common, protocol, requested: this.#requested });
    }
    const { protocol } = this.client;
    const expected = expectedStreams(this.#requested, STREAM_PROTOCOLS[protocol]).length;
    return await spliceSpdy(client, upstream, {
      ...common,
      protocol,
      expectedStreams: expected,
      opensErrorStream: form === "legacy",
    });
  }

  /** Tells a v5 client, whose protocol was switched already, what the API server would have told it. */
  async #refuse(client: ByteConnection, thrown: unknown): Promise<void> {
    const { gate, journey, request } = this;
    if (this.client.transport !== "websocket") return;
    const answer = answerOf(thrown);
    await recordRefusal(gate, journey, answer, thrown);
    const document = answer.status !== undefined
      ? failureDocument({ message: answer.message, ...answer.status })
      : internalErrorDocument(
        thrown instanceof UpstreamRefusal
          ? `unable to upgrade connection: ${answer.message}`
          : answer.message,
      );
    const { protocol } = this.client;
    await refuseWebSocket(client, { protocol, requested: request, lingerMs: gate.limits.lingerMs, document });
  }
}
