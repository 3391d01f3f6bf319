import { VERSION } from "../manifest.ts";

/** A resource as discovery lists it. */
interface Resource {
  name: string;
  singularName: string;
  kind: string;
  namespaced: boolean;
  verbs: readonly string[];
  shortNames?: readonly string[];
  categories?: readonly string[];
}

const READ = ["get", "list", "watch"];

/** A part of an object that is asked for by itself. */
function subresource(name: string, kind: string, verbs: readonly string[]): Resource {
  return { name, singularName: "", kind, namespaced: true, verbs };
}

const KINDS: Readonly<Record<string, string>> = {
  attach: "Attach",
  exec: "Exec",
  portforward: "PortForward",
};

const CORE: readonly Resource[] = [
  {
    name: "namespaces",
    singularName: "namespace",
    kind: "Namespace",
    namespaced: false,
    verbs: READ,
    shortNames: ["ns"],
  },
  { name: "nodes", singularName: "node", kind: "Node", namespaced: false, verbs: READ, shortNames: ["no"] },
  {
    name: "pods",
    singularName: "pod",
    kind: "Pod",
    namespaced: true,
    verbs: ["create", "delete", ...READ],
    shortNames: ["po"],
    categories: ["all"],
  },
  ...["attach", "exec", "portforward"].map((name) => {
    return subresource(`pods/${name}`, `Pod${KINDS[name]}Options`, ["create", "get"]);
  }),
  subresource("pods/ephemeralcontainers", "Pod", ["get", "patch", "update"]),
  subresource("pods/log", "Pod", ["get"]),
  {
    name: "services",
    singularName: "service",
    kind: "Service",
    namespaced: true,
    verbs: READ,
    shortNames: ["svc"],
    categories: ["all"],
  },
];

/** Resources that are only asked, never kept. */
const review = (name: string, kind: string): Resource => {
  return { name, singularName: kind.toLowerCase(), kind, namespaced: false, verbs: ["create"] };
};

const GROUPS: Readonly<Record<string, readonly Resource[]>> = {
  apps: [
    {
      name: "deployments",
      singularName: "deployment",
      kind: "Deployment",
      namespaced: true,
      verbs: READ,
      shortNames: ["deploy"],
      categories: ["all"],
    },
  ],
  "authentication.k8s.io": [
    review("selfsubjectreviews", "SelfSubjectReview"),
    review("tokenreviews", "TokenReview"),
  ],
  "authorization.k8s.io": [
    review("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    review("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    review("subjectaccessreviews", "SubjectAccessReview"),
  ],
};

/** The discovery documents, by path. */
export const DISCOVERY: Readonly<Record<string, unknown>> = {
  "/version": VERSION,
  "/api": { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] },
  "/api/v1": resourceList("v1", CORE),
  "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: Object.keys(GROUPS).map(group) },
  ...Object.fromEntries(
    Object.keys(GROUPS).map((
      name,
    ) => [`/apis/${name}`, { kind: "APIGroup", apiVersion: "v1", ...group(name) }]),
  ),
  ...Object.fromEntries(
    Object.entries(GROUPS).map((
      [name, resources],
    ) => [`/apis/${name}/v1`, resourceList(`${name}/v1`, resources)]),
  ),
};

function group(name: string): object {
  const version = { groupVersion: `${name}/v1`, version: "v1" };
  return { name, versions: [version], preferredVersion: version };
}

function resourceList(groupVersion: string, resources: readonly Resource[]): object {
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
}
