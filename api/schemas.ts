import { z } from "@hono/zod-openapi";
import { SessionDetail, SessionRow } from "../catalog/tables.ts";

/** What every document of this API says of itself. */
export const API_VERSION = "postern.dev/v1";

const apiVersion = z.literal(API_VERSION);
const time = z.string().meta({ description: "RFC 3339, UTC." });

/** `metav1.Status`, the shape of every refusal. */
export const StatusDocument = z.object({
  kind: z.literal("Status"),
  apiVersion: z.literal("v1"),
  metadata: z.object({}),
  status: z.enum(["Success", "Failure"]),
  message: z.string().optional(),
  reason: z.string().optional().meta({ description: "A `metav1.StatusReason`." }),
  details: z.object({
    name: z.string().optional(),
    group: z.string().optional(),
    kind: z.string().optional(),
    retryAfterSeconds: z.int().optional(),
  }).optional(),
  code: z.int().meta({ description: "The HTTP status." }),
}).openapi("Status");

// Made anew: what was made before the library was loaded has not its methods.
const Session = z.object(SessionRow.shape).openapi("Session");

/** A page of sessions. */
export const SessionList = z.object({
  apiVersion,
  kind: z.literal("SessionList"),
  metadata: z.object({
    continue: z.string().optional().meta({
      description: "Given where there may be more: the parameter `continue` of the next request.",
    }),
  }),
  items: z.array(Session).meta({ description: "The newest first." }),
}).openapi("SessionList");

/** One session, whole. */
export const SessionDocument = z.object({
  apiVersion,
  kind: z.literal("Session"),
  here: z.boolean().meta({
    description: "It runs in the replica that answers, where it can be watched and ended.",
  }),
  session: z.object(SessionDetail.shape).openapi("SessionDetail"),
}).openapi("SessionDocument");

/** What happened in a session, as the index keeps it. */
export const SessionEventList = z.object({
  apiVersion,
  kind: z.literal("SessionEventList"),
  items: z.array(
    z.looseObject({
      type: z.enum(["decision", "start", "stream", "connection", "end", "response", "refusal"]).meta({
        description: "As `postern.dev/event` has it in the audit events.",
      }),
      at: time,
    }).openapi("SessionEvent"),
  ).meta({ description: "The earliest first." }),
  more: z.boolean().meta({ description: "There are more streams or connections than are listed." }),
}).openapi("SessionEventList");

/** A UUID, as the gateway makes them. */
export const Named = z.object({
  auditId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/).meta({
    description: "The session's audit ID, a UUID.",
    example: "0b0f0b5e-5ad1-4c3b-9a3e-0d9a1f4a7d52",
  }),
});

const name = (description: string) => z.string().min(1).max(1024).optional().meta({ description });
const flag = (description: string) =>
  z.enum(["true", "false"]).transform((value) => value === "true").optional().meta({ description });

/** Which sessions are listed. What is not known is refused: a filter that is misspelt would show more than was asked for. */
export const ListQuery = z.strictObject({
  user: name("Who authenticated, or as whom."),
  namespace: name("The pod's namespace. Without it, the grant must be cluster-wide."),
  pod: name("The pod's name."),
  kind: name("`exec`, `attach`, `portforward`, `ephemeralcontainers` or `proxy`."),
  privileged: flag("The target is one that the policy guards for cluster-admins."),
  denied: flag("The session was forbidden, or a connection in it was."),
  live: flag("It was opened, and has not ended as far as the index knows."),
  from: name("RFC 3339, UTC: requests that came then or later."),
  to: name("RFC 3339, UTC: requests that came before."),
  text: name("Is in the command, whose words are joined by spaces, in whatever case."),
  limit: z.string().regex(/^\d{1,4}$/).transform(Number).optional().meta({
    description: "Most sessions of the page, 1 to 1000; 100 by default.",
  }),
  continue: name("Where the page begins: what the page before says."),
});

/** Of a request without parameters: one that has some means something else. */
export const NoQuery = z.strictObject({});
