import type { Target } from "../target.ts";
import { HTTP_TARGETS } from "./http.ts";
import { PORT_FORWARD_TARGETS } from "./port_forward.ts";
import { REMOTE_COMMAND_TARGETS } from "./remote_command.ts";
import { SPDY_TARGETS } from "./spdy.ts";
import { WEBSOCKET_TARGETS } from "./websocket.ts";

/** Every parser of the product that is given bytes or text by somebody else. */
export const TARGETS: readonly Target[] = [
  ...SPDY_TARGETS,
  ...WEBSOCKET_TARGETS,
  ...REMOTE_COMMAND_TARGETS,
  ...PORT_FORWARD_TARGETS,
  ...HTTP_TARGETS,
];
