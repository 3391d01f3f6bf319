import { streamEvent } from "../audit/event.ts";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import { parseStatusDocument } from "../protocol/remote_command/mod.ts";
import { CollectingClient } from "../session/collecting_client.ts";
import { spliceSpdy } from "../session/spdy_splice.ts";
import type { SessionEnd } from "../session/stream_event.ts";
import { StreamLedger } from "../session/stream_ledger.ts";
import { UPSTREAM_PROTOCOL } from "../session/websocket_translation.ts";
import { admit, decide, identify, type Permission } from "./admission.ts";
import type { CommandRequest } from "./command_request.ts";
import { auditTarget, type Caller, type Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import { LiveSession } from "./live_session.ts";

/**
 * A kubelet's `run`: a command whose output is the answer to a POST. It is an exec in all but its protocol, so that is how
 * it is checked, opened and written down.
 */
export async function run(journey: Journey, gate: Gate, request: CommandRequest): Promise<Response> {
  const { command: argv, stdin, stdout, stderr, tty } = request;
  const caller = await identify(journey, gate);
  journey.learn({ argv, flags: { stdin, stdout, stderr, tty }, protocol: "HTTP/1.1 run" });
  const target = await admit(journey, gate, caller, request);
  if (journey.method !== "POST") {
    throw new Refusal("MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  const permission = await decide(journey, gate, caller, target);
  const { client, end } = await runToEnd(journey, gate, caller, request, target, permission);
  return answer(journey.auditId, request, client, end);
}

async function runToEnd(
  journey: Journey,
  gate: Gate,
  caller: Caller,
  request: CommandRequest,
  target: Target,
  permission: Permission,
): Promise<{ client: CollectingClient; end: SessionEnd }> {
  const { command, stdin, stdout, stderr, tty } = request;
  const { namespace, podName: pod, podUid: uid, container } = target;
  const session = new LiveSession(journey, gate, {
    address: request,
    target,
    caller,
    permission,
    upstream: {
      ...{ subresource: "exec", namespace, pod, uid, container: container!.name, command },
      ...{ stdin, stdout, stderr, tty },
    },
    tty,
    protocol: UPSTREAM_PROTOCOL,
    clientProtocol: "HTTP/1.1 run",
  });
  const upstream = await session.open();
  const client = new CollectingClient();
  const ledger = new StreamLedger();
  const { end } = await session.run(async () => {
    const end = await spliceSpdy(client, upstream, {
      protocol: UPSTREAM_PROTOCOL,
      expectedStreams: CollectingClient.STREAMS.length,
      tap: session.tap(ledger),
      limits: gate.limits,
      signal: session.signal,
    });
    const streams = ledger.summaries();
    const about = auditTarget(target);
    return { end, streams, events: streams.map((each) => streamEvent(journey.facts, about, each)) };
  });
  return { client, end };
}

/** As the kubelet answers: output, then errors, not as they came; or what went wrong, as text. */
function answer(
  auditId: string,
  { command }: CommandRequest,
  client: CollectingClient,
  end: SessionEnd,
): Response {
  const stderr = client.output("stderr");
  const headers = { "Audit-Id": auditId, "Content-Type": "text/plain; charset=utf-8" };
  const failed = (text: string) => new Response(text, { status: 500, headers });
  if (end.reason !== "command_ended") return failed(end.message);
  const said = parseStatusDocument(client.output("error"));
  switch (said.type) {
    case "success": {
      const body = new Blob([client.output("stdout").slice(), stderr.slice()]);
      return new Response(body, { status: 200, headers: { ...headers, "Content-Type": "application/json" } });
    }
    case "exit": {
      const text = new TextDecoder().decode(stderr);
      return failed(`command '${command.join(" ")}' exited with ${said.exitCode}: ${text}`);
    }
    case "failure":
    case "malformed":
      return failed(said.message);
  }
}
