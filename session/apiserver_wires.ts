import { TUNNEL_PROTOCOL } from "../protocol/port_forward/mod.ts";
import { statusMessage, UpstreamRefusal } from "./kubelet_upgrade.ts";
import { WEBSOCKET_UPSTREAM_PROTOCOLS } from "./websocket_upstream.ts";

/** How long what an API server does not speak is not tried again: it may be a newer one then, or have another proxy before it. */
const REMEMBERED_MS = 60 * 60 * 1000;

/** What may be spoken to an API server: SPDY, or WebSocket by the name of its subprotocol. */
export type Wire = "SPDY/3.1" | typeof WEBSOCKET_UPSTREAM_PROTOCOLS[number] | typeof TUNNEL_PROTOCOL;

/** Which of them are to be used. `auto`: WebSocket where SPDY is not spoken. */
export type Transport = "auto" | "spdy" | "websocket";

/** What to try for a session, best first: SPDY costs an API server half the CPU. */
export function wiresOf(subresource: "exec" | "attach" | "portforward", transport: Transport): Wire[] {
  if (transport === "spdy") return ["SPDY/3.1"];
  const webSocket: readonly Wire[] = subresource === "portforward"
    ? [TUNNEL_PROTOCOL]
    : WEBSOCKET_UPSTREAM_PROTOCOLS;
  return transport === "websocket" ? [...webSocket] : ["SPDY/3.1", ...webSocket];
}

/**
 * Whether what was thrown is about the wire, so that another may be spoken: never about who asks, or what for. Such a refusal is
 * final, lest a session that was refused by POST be opened by GET, which takes other rights.
 */
export function isNotSpoken(wire: Wire, thrown: unknown): boolean {
  if (!(thrown instanceof UpstreamRefusal)) return false;
  const { status } = thrown;
  const text = new TextDecoder().decode(thrown.body);
  // A Status is of the API server itself, and its words hold names of the user's choosing: they are compared, not searched.
  const said = statusMessage(text);
  if (said !== undefined) {
    return status === 400 && /^(Upgrade request required$|unable to upgrade: )/.test(said);
  }
  // A kubelet's answer to a subprotocol that it does not know, passed on by a server of those days (E-94).
  if (wire !== "SPDY/3.1") return status === 400 || status === 403;
  // What stands before the API server. It says no to methods and upgrades as such, or with a word.
  if ([405, 426, 501].includes(status)) return true;
  return [400, 403].includes(status) && /\b(upgrade|upgrading|protocol|spdy)\b/i.test(text);
}

/** Which wire an API server was found to speak, so that it is not asked for the others with every session. */
export class SpokenWires {
  readonly #found = new Map<string, { wire: Wire; untilMs: number }>();
  readonly #now: () => number;

  /** @param now the time in milliseconds; for tests */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** `wires` from the one on that was found to be spoken; all of them where none was, or long ago. */
  toTry(authority: string, wires: readonly Wire[]): readonly Wire[] {
    const found = this.#found.get(keyOf(authority, wires));
    if (found === undefined || found.untilMs <= this.#now()) return wires;
    return wires.slice(wires.indexOf(found.wire));
  }

  /** A session was opened by `wire`. The first of all is tried first anyway, and needs no memory. */
  opened(authority: string, wires: readonly Wire[], wire: Wire): void {
    const key = keyOf(authority, wires);
    const found = this.#found.get(key);
    const isKnown = found?.wire === wire && found.untilMs > this.#now();
    if (wire === wires[0]) this.#found.delete(key);
    else if (!isKnown) this.#found.set(key, { wire, untilMs: this.#now() + REMEMBERED_MS });
  }
}

function keyOf(authority: string, wires: readonly Wire[]): string {
  return [authority, ...wires].join(" ");
}
