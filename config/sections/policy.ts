import { flag, oneOf, section } from "../values.ts";

/** The rules that hold whatever RBAC grants. */
export const policy = section({
  privileged: section({
    scope: oneOf(["container", "pod"], {
      fallback: "container",
      description:
        "`container`: the container that is opened must not be privileged. `pod`: no container of its pod may be. " +
        "Host namespaces belong to the pod, and count in both.",
    }),
    strict: flag({
      fallback: false,
      description:
        "Also refuse what reaches the node in other ways: writable `hostPath`, added capabilities such as " +
        "`SYS_ADMIN`, `procMount: Unmasked`, `shareProcessNamespace` beside a privileged container.",
    }),
  }).prefault({}).meta({
    description: "Sessions to privileged containers are for cluster-admins. It cannot be switched off.",
  }),
}).prefault({}).meta({ description: "The rules that hold whatever RBAC grants." });
