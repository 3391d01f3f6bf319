import type { FakedKubelet } from "../faked_kubelet.ts";
import type { Case } from "./case.ts";
import { HTTP_CASES } from "./http.ts";
import { LEGACY_CASES } from "./legacy.ts";
import { PORT_FORWARD_CASES } from "./port_forward.ts";
import { REMOTE_COMMAND_CASES } from "./remote_command.ts";
import { SPDY_CASES } from "./spdy.ts";
import { upstreamCases } from "./upstream_faults.ts";
import { WEBSOCKET_CASES } from "./websocket.ts";

/** Every edge case, those first that wait for longest. */
export function allCases(kubelet: Pick<FakedKubelet, "heads">): Case[] {
  return [
    ...PORT_FORWARD_CASES,
    ...REMOTE_COMMAND_CASES,
    ...WEBSOCKET_CASES,
    ...SPDY_CASES,
    ...HTTP_CASES,
    ...LEGACY_CASES,
    ...upstreamCases(kubelet),
  ];
}
