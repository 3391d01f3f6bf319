import { expected, section, wholeNumber } from "../values.ts";
import { z } from "zod";

const group = expected('"" or the name of an API group such as "postern.dev"');

/** What is asked about a user: SubjectAccessReview. */
export const authorization = section({
  group: z.string(group).max(253, { ...group, abort: true })
    .regex(/^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$/, group)
    .default("").meta({
      description:
        'The API group that permissions are looked up in. `""`: who may `kubectl exec` may use Postern. ' +
        "`postern.dev`: RBAC grants `pods/exec` in that group, which only Postern honours, so nobody can go around it.",
    }),
  cacheTtlSeconds: wholeNumber({
    from: 0,
    to: 600,
    fallback: 10,
    description: "How long a permission is believed without asking again; 0 asks every time. " +
      "A permission taken away lasts this long.",
  }),
}).prefault({}).meta({ description: "What is asked about a user: SubjectAccessReview." });
