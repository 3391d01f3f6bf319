import { portRange } from "../port_range.ts";
import { flag, list, oneOf, section } from "../values.ts";

/** Whether one kind of proxy is served. */
function proxied(description: string) {
  return oneOf(["allow", "deny"], { fallback: "allow", description });
}

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
  portForward: section({
    allowedPorts: list(portRange()).default([]).meta({
      description:
        'The ports of pods that may be forwarded, each `8080` or `"8000-8100"`; empty: all. A denied port ends its own ' +
        "connection and no other. Proxies of pods keep to the list too.",
    }),
  }).prefault({}).meta({ description: "What may be forwarded." }),
  proxies: section({
    nodes: proxied(
      "The `proxy` of nodes, but for its paths that are sessions. `allow`: whom RBAC lets, and cluster-admins alone where " +
        "it leads past the kubelet. `deny`: nobody.",
    ),
    pods: proxied(
      "The `proxy` of pods. `allow`: whom RBAC lets, by the rules of a port-forward. `deny`: nobody.",
    ),
    services: proxied("The `proxy` of services. `allow`: whom RBAC lets. `deny`: nobody."),
  }).prefault({}).meta({ description: "HTTP through the API server to what stands behind it." }),
}).prefault({}).meta({ description: "The rules that hold whatever RBAC grants." });
