/** What the client speaks; of a port-forward, `websocket` is SPDY in a tunnel. */
export type Transport = "spdy" | "websocket";

/** Both, in the order of the tables. */
export const TRANSPORTS: readonly Transport[] = ["spdy", "websocket"];

/** The ways to the streaming server. */
export const ROUTE_NAMES = [
  "direct",
  "splice",
  "kube-apiserver",
  "gateway",
  "gateway, recording",
  "gateway, apiserver mode",
] as const;

/** How the table calls a way. */
export type RouteName = typeof ROUTE_NAMES[number];

/** A way to the streaming server. */
export interface Route {
  name: RouteName;
  /** Without a path. */
  url: string;
  /** Whether paths are a kubelet's: the streaming server itself, or what leads to it byte by byte. */
  isKubelet: boolean;
  /** The process whose cost is the route's; of `direct` the streaming server's. */
  pid: number;
}

/** Whether a route can carry a port-forward over this transport: no kubelet knows the tunnel. */
export function forwards({ isKubelet }: Pick<Route, "isKubelet">, transport: Transport): boolean {
  return !isKubelet || transport === "spdy";
}

/** How the table calls what is spoken in an exec. */
export const EXEC_NAMES: Record<Transport, string> = { spdy: "SPDY", websocket: "WebSocket v5" };

/** How the table calls what is spoken in a port-forward. */
export const FORWARD_NAMES: Record<Transport, string> = { spdy: "SPDY", websocket: "tunnel" };
