import {
  addressRange,
  flag,
  list,
  oneOf,
  optionalFile,
  optionalWholeNumber,
  section,
  text,
  wholeNumber,
  word,
} from "../values.ts";

const ADDRESS_TYPES = ["InternalIP", "InternalDNS", "Hostname", "ExternalIP", "ExternalDNS"] as const;

const kubelet = section({
  addressTypes: list(word(ADDRESS_TYPES), ADDRESS_TYPES.length).min(1, {
    error: () => "expected at least one type of address",
  }).default(["InternalIP", "InternalDNS", "Hostname"]).meta({
    description: "Types of node address to use, best first; the first that the node has is dialled.",
  }),
  port: optionalWholeNumber({
    from: 1,
    to: 65535,
    description: "Port of every kubelet. Without it, the one that the node's status names.",
  }),
  nodeCacheSeconds: wholeNumber({
    from: 0,
    to: 300,
    fallback: 10,
    description:
      "How long a node's address is remembered; 0: every session asks. A node that cannot be reached is asked for anew. " +
      "Pods are never remembered.",
  }),
  allowedAddresses: list(addressRange()).default([]).meta({
    description:
      "Ranges that a node's address must lie in, so that a forged Node cannot draw a session elsewhere: best the one that the " +
      "nodes are in, and neither services nor pods. Empty: anywhere but in loopback, link-local, multicast and reserved ranges, and " +
      "where clouds have their metadata. A name is looked up, and the very address is held to this that is dialled.",
  }),
  caFile: optionalFile(
    "Certificate authorities that sign the kubelets' certificates, in PEM. Without it, those of the API server.",
  ),
  serverName: text("the name in the kubelets' certificates", { pattern: /^[A-Za-z0-9._:-]+$/ }).optional()
    .meta({
      description:
        "The name that every kubelet's certificate must carry. Without it, the address that is dialled.",
    }),
  insecureSkipTLSVerify: flag({
    fallback: false,
    description:
      "Accept any certificate: whoever stands between gateway and kubelet then reads and changes sessions, " +
      "and takes the gateway's token. For test clusters.",
  }),
  tokenFile: optionalFile(
    "A bearer token for kubelets, read again when it changes. " +
      "Without it and without a client certificate, the gateway's own API credentials.",
  ),
  clientCertificateFile: optionalFile("A client certificate for kubelets, in PEM; needs `clientKeyFile`."),
  clientKeyFile: optionalFile("Private key of `clientCertificateFile`, in PEM."),
  dialTimeoutSeconds: wholeNumber({
    from: 1,
    to: 120,
    fallback: 10,
    description: "How long connecting to a kubelet may take, TLS handshake and upgrade each.",
  }),
}).check(({ value, issues }) => {
  const fault = (key: keyof typeof value, message: string) =>
    issues.push({ code: "custom", path: [key], input: value[key], message });
  if (value.clientCertificateFile !== undefined && value.clientKeyFile === undefined) {
    fault("clientKeyFile", "expected the path of the key that belongs to clientCertificateFile");
  }
  if (value.clientKeyFile !== undefined && value.clientCertificateFile === undefined) {
    fault("clientCertificateFile", "expected the path of the certificate that belongs to clientKeyFile");
  }
  if (!value.insecureSkipTLSVerify) return;
  // Both at once is a misunderstanding, and the careless half of it would win.
  if (value.caFile !== undefined) fault("insecureSkipTLSVerify", "expected false, as caFile is set");
  if (value.serverName !== undefined) fault("insecureSkipTLSVerify", "expected false, as serverName is set");
});

const apiserver = section({
  identity: oneOf(["user", "gateway"], {
    fallback: "user",
    description:
      "As whom sessions are opened there. `user`: with the user's own token and impersonation, so RBAC must " +
      "grant them the same in the core group: where `authorization.group` is another one, so that nobody can go around the " +
      "gateway, they have not that, and every session is refused there. `gateway`: with the gateway's credentials, which must be " +
      "granted it; the API server's audit log then names the gateway.",
  }),
  transport: oneOf(["auto", "spdy", "websocket"], {
    fallback: "auto",
    description:
      "What the API server is spoken to in. `auto`: SPDY, which costs it half the CPU, and WebSocket where it or a proxy before " +
      "it speaks no SPDY, which is found out again every hour; a denial is final. WebSocket is asked for by GET, for which RBAC " +
      "wants the verb `get`, and from 1.35 on `create` too. To servers before 1.30 it cannot tell the end of stdin, and forwards no " +
      "ports. Over WebSocket a command begins before the pod could be read again: a pod that was replaced by another of its name " +
      "in that moment is noticed too late.",
  }),
  dialTimeoutSeconds: wholeNumber({
    from: 1,
    to: 120,
    fallback: 10,
    description: "How long connecting to the API server may take, TLS handshake and upgrade each.",
  }),
});

/** Where sessions are opened. */
export const upstream = section({
  mode: oneOf(["kubelet", "apiserver"], {
    fallback: "kubelet",
    description:
      "Through what a session reaches its container. `kubelet`: the pod is pinned by its UID in the request, and " +
      "nothing but the gateway sees the session. `apiserver`: admission and the API server's own audit log see it too, and " +
      "the gateway needs no rights on nodes; it costs the API server CPU, and the pod is pinned by reading it again before " +
      "anything passes.",
  }),
  kubelet: kubelet.prefault({}).meta({ description: "How kubelets are found, verified and spoken to." }),
  apiserver: apiserver.prefault({}).meta({ description: "How sessions are opened at the API server." }),
}).prefault({}).meta({ description: "Where sessions are opened." });
