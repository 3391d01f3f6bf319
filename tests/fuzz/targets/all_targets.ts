import type { Target } from "../target.ts";
import { ARCHIVE_TARGETS } from "./archives.ts";
import { COMMAND_TARGETS } from "./commands.ts";
import { DOCUMENT_TARGETS } from "./documents.ts";
import { HTTP_TARGETS } from "./http.ts";
import { HTTP_REQUEST_TARGETS } from "./http_requests.ts";
import { PORT_FORWARD_TARGETS } from "./port_forward.ts";
import { RECORDING_TARGETS } from "./recordings.ts";
import { REMOTE_COMMAND_TARGETS } from "./remote_command.ts";
import { REQUEST_TARGETS } from "./requests.ts";
import { SESSION_TARGETS } from "./sessions.ts";
import { SPDY_TARGETS } from "./spdy.ts";
import { WEBSOCKET_TARGETS } from "./websocket.ts";

/** Every parser of the product that is given bytes or text by somebody else. */
export const TARGETS: readonly Target[] = [
  ...SPDY_TARGETS,
  ...WEBSOCKET_TARGETS,
  ...REMOTE_COMMAND_TARGETS,
  ...PORT_FORWARD_TARGETS,
  ...HTTP_TARGETS,
  ...HTTP_REQUEST_TARGETS,
  ...REQUEST_TARGETS,
  ...COMMAND_TARGETS,
  ...RECORDING_TARGETS,
  ...ARCHIVE_TARGETS,
  ...DOCUMENT_TARGETS,
  ...SESSION_TARGETS,
];
