import { file, ipAddress, section, wholeNumber } from "../values.ts";

/** Where clients connect, and the bounds that hold before anyone is known. */
export const server = section({
  address: ipAddress().default("0.0.0.0").meta({ description: "The address that is listened on." }),
  port: wholeNumber({
    from: 0,
    to: 65535,
    fallback: 8443,
    description: "The TCP port that is listened on; 0 lets the system choose one.",
  }),
  tls: section({
    certFile: file().default("/etc/postern/tls/tls.crt").meta({
      description: "Certificate chain in PEM, the gateway's own certificate first. " +
        "The default is where a `kubernetes.io/tls` Secret is mounted.",
    }),
    keyFile: file().default("/etc/postern/tls/tls.key").meta({
      description: "Private key of the certificate, in PEM.",
    }),
    reloadSeconds: wholeNumber({
      from: 1,
      to: 86400,
      fallback: 60,
      description: "How often the two files are looked at for a renewed certificate. Open sessions stay.",
    }),
  }).prefault({}).meta({ description: "The certificate that clients see." }),
  limits: section({
    maxHeaderBytes: wholeNumber({
      from: 1024,
      to: 16777216,
      fallback: 1048576,
      description: "Largest request line and headers together. The default is the API server's.",
    }),
    maxHeldHeaderBytes: wholeNumber({
      from: 1048576,
      to: 17179869184,
      fallback: 67108864,
      description:
        "Memory for the headers of all requests under way together, beyond the first 16 KiB of each. " +
        "A request that finds no room is answered 503.",
    }),
    headerTimeoutSeconds: wholeNumber({
      from: 1,
      to: 300,
      fallback: 32,
      description: "How long a client may take to send a request's headers. The default is the API server's.",
    }),
    handshakeTimeoutSeconds: wholeNumber({
      from: 1,
      to: 120,
      fallback: 10,
      description: "How long a TLS handshake may take.",
    }),
    idleTimeoutSeconds: wholeNumber({
      from: 1,
      to: 3600,
      fallback: 90,
      description: "How long a connection without a request is kept open. Sessions have their own limit.",
    }),
    maxRequestsPerConnection: wholeNumber({
      from: 1,
      to: 1000000,
      fallback: 1000,
      description: "Requests that one connection may carry before it is closed.",
    }),
    maxConnections: wholeNumber({
      from: 1,
      to: 1000000,
      fallback: 4096,
      description: "Connections open at once, TLS handshakes included. Whoever comes then has to wait.",
    }),
    maxConnectionsPerAddress: wholeNumber({
      from: 1,
      to: 1000000,
      fallback: 1024,
      description:
        "Of these, how many may come from one IPv4 address, or one IPv6 network of /64; a further one is " +
        "ended at once. Raise it where a load balancer hides the clients' own addresses.",
    }),
  }).prefault({}).meta({ description: "Bounds on what a client may cost." }),
  shutdownDelaySeconds: wholeNumber({
    from: 0,
    to: 3600,
    fallback: 0,
    description:
      "How long the gateway takes new sessions after SIGTERM, while `/readyz` answers 503 already: until who balances " +
      "leads them elsewhere. Afterwards they are refused with 503. It counts as part of `drainTimeoutSeconds`, and is " +
      "no longer than that.",
  }),
  drainTimeoutSeconds: wholeNumber({
    from: 0,
    to: 86400,
    fallback: 25,
    description: "How long open sessions may go on after SIGTERM before they are ended and told so. " +
      "The default fits into the 30 seconds that Kubernetes gives a pod.",
  }),
}).prefault({}).meta({
  description: "Where clients connect, and the bounds that hold before anyone is known.",
});
