import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP } from "node:net";
import { connect as connectTls, type PeerCertificate, type TLSSocket } from "node:tls";
import type { V1Node, V1NodeList } from "@kubernetes/client-node";
import type { Configuration } from "../../config/gateway_configuration.ts";
import { ApiError, type KubeClient } from "../../kube/client.ts";
import { type Credentials, CredentialSource } from "../../kube/credentials.ts";
import type { Connection } from "../../kube/kubeconfig.ts";
import { addressFilter, kubeletAddress } from "../../kube/node_address.ts";
import { causeOf, isDistrust } from "./cause.ts";
import { judgeValidity } from "./expiry.ts";
import { type Judgement, note, ok, unknown, wrong } from "./finding.ts";

/** What one node's kubelet says to who comes as the gateway. */
export interface KubeletFacts {
  node: string;
  /** `host:port`; absent where the node has no address of the types that are configured. */
  where?: string;
  /** Addresses of the name that the gateway may not dial; all of them. */
  refusedAddresses?: readonly string[];
  /** Why no TLS connection came about. */
  failure?: string;
  /** Of its certificate. */
  validity?: { notBefore: Date; notAfter: Date };
  /** What it answered to a question that needs `create nodes/proxy`, as sessions do; absent where none was asked. */
  status?: number;
  /** Whether nobody's certificate is looked at. */
  isUnverified?: boolean;
}

/** What is to be said of one node's kubelet. */
export function judgeKubelet(facts: KubeletFacts, now: Date): Judgement[] {
  const { node, where, refusedAddresses, failure, validity, status, isUnverified } = facts;
  if (where === undefined) {
    return [wrong(
      `node ${node}: ${failure ?? "has no address"}`,
      "name a type of address in `upstream.kubelet.addressTypes` that the node has",
    )];
  }
  const kubelet = `the kubelet of ${node} (${where})`;
  if (refusedAddresses !== undefined) {
    return [wrong(
      `${kubelet} may not be dialled: ${
        refusedAddresses.join(", ")
      } is outside of the ranges that are allowed`,
      "put the range that nodes are in into `upstream.kubelet.allowedAddresses`; if the address is no node's, find out who changed it",
    )];
  }
  if (failure !== undefined) {
    return [
      isDistrust(failure)
        ? wrong(
          `${kubelet} is not trusted: ${failure}`,
          "name the authority of the kubelets' certificates in `upstream.kubelet.caFile`; where they are self-signed, let kubelets " +
            "have signed ones (serverTLSBootstrap: true), or use `upstream.mode: apiserver`",
        )
        : wrong(
          `${kubelet} cannot be reached: ${failure}`,
          "let the gateway out to the nodes' port 10250 (NetworkPolicy, firewall), or use `upstream.mode: apiserver`",
        ),
    ];
  }
  const found = [judgeAnswer(kubelet, status)];
  if (isUnverified) {
    found.push(wrong(
      `${kubelet} is not verified: who stands between reads and changes every session, and takes the gateway's token`,
      "set `upstream.kubelet.insecureSkipTLSVerify` to false, and name the kubelets' authority in `upstream.kubelet.caFile`",
    ));
  }
  if (validity !== undefined) {
    const remedy =
      "renew it: rotateCertificates and serverTLSBootstrap in the kubelet's configuration do so by themselves";
    const judged = judgeValidity({ what: `the certificate of ${kubelet}`, ...validity, remedy }, now);
    if (judged.status !== "ok") found.push(judged);
  }
  return found;
}

function judgeAnswer(kubelet: string, status: number | undefined): Judgement {
  if (status === undefined) {
    return ok(`${kubelet} is reached and trusted; what it lets the gateway do was not asked`);
  }
  if (status === 401) {
    return wrong(
      `${kubelet} does not know the gateway's credentials`,
      "kubelets must ask the API server about tokens (authentication.webhook.enabled: true), or be shown a client certificate " +
        "(`upstream.kubelet.clientCertificateFile`)",
    );
  }
  if (status === 403) {
    return wrong(
      `${kubelet} refuses the gateway`,
      "grant the gateway create on nodes/proxy; the kubelet must ask the API server (authorization.mode: Webhook)",
    );
  }
  return status < 500 ? ok(`${kubelet} is reached, trusted, and lets the gateway in`) : note(
    `${kubelet} lets the gateway in, and answers ${status} to whether it is well`,
    "look at the kubelet's own log",
  );
}

/** Nodes that are looked at, at once and altogether. */
const MAX_AT_ONCE = 16;
const MAX_NODES = 5_000;
const PAGE = 250;

/** The gateway's way to its kubelets. */
export interface KubeletProbe {
  client: Pick<KubeClient, "get">;
  options: Configuration["upstream"]["kubelet"];
  /** Of the API server, and of kubelets where those are none of their own. */
  connection: Connection;
  /** Whether the gateway's credentials are here, to be shown. */
  isGateway: boolean;
  /** Where they may not be listed. */
  nodes: readonly string[];
}

/** Looks at every kubelet. */
export async function checkKubelets(probe: KubeletProbe, now: Date): Promise<Judgement[]> {
  let nodes: readonly V1Node[];
  try {
    nodes = await findNodes(probe);
  } catch (thrown) {
    if (!(thrown instanceof ApiError) || thrown.code !== 403) {
      return [unknown(`nodes cannot be read: ${causeOf(thrown)}`)];
    }
    return [unknown(
      "kubelets were not looked at: the gateway may get a node, but not list them",
      "name some with --node, or ask with an administrator's --kubeconfig",
    )];
  }
  let credentials: Credentials;
  try {
    credentials = await new CredentialSource(trustOf(probe)).current();
  } catch (thrown) {
    return [wrong(
      `the credentials for kubelets cannot be read: ${causeOf(thrown)}`,
      "check the files of `upstream.kubelet`",
    )];
  }
  const found: Judgement[] = [];
  const left = [...nodes];
  const work = async () => {
    for (let node = left.shift(); node !== undefined; node = left.shift()) {
      found.push(...judgeKubelet(await gatherKubelet(node, probe.options, credentials), now));
    }
  };
  await Promise.all(Array.from({ length: MAX_AT_ONCE }, work));
  return found.sort((a, b) => a.message < b.message ? -1 : 1);
}

async function findNodes({ client, nodes }: KubeletProbe): Promise<V1Node[]> {
  if (nodes.length > 0) {
    return await Promise.all(
      nodes.map((name) => client.get<V1Node>(`/api/v1/nodes/${encodeURIComponent(name)}`)),
    );
  }
  const found: V1Node[] = [];
  let next: string | undefined = "";
  while (next !== undefined && found.length < MAX_NODES) {
    const from: string = next === "" ? "" : `&continue=${encodeURIComponent(next)}`;
    const page: V1NodeList = await client.get<V1NodeList>(`/api/v1/nodes?limit=${PAGE}${from}`);
    found.push(...page.items);
    next = page.metadata?._continue ?? readContinue(page.metadata);
  }
  return found;
}

/** As the API is served; the client library's types spell it with an underscore. */
export function readContinue(metadata: object | undefined): string | undefined {
  return metadata !== undefined && "continue" in metadata && typeof metadata.continue === "string" &&
      metadata.continue !== ""
    ? metadata.continue
    : undefined;
}

/** Whom is trusted to name kubelets, and what they are shown: somebody else's credentials never. */
function trustOf({ options, connection, isGateway }: KubeletProbe): Connection {
  const { caFile, tokenFile, clientCertificateFile, clientKeyFile } = options;
  const ca = caFile === undefined ? connection.ca : { file: caFile };
  const nothing = { ...connection, ca, token: undefined, clientCertificate: undefined };
  if (!isGateway) return nothing;
  if (clientCertificateFile !== undefined && clientKeyFile !== undefined) {
    return {
      ...nothing,
      clientCertificate: { cert: { file: clientCertificateFile }, key: { file: clientKeyFile } },
    };
  }
  if (tokenFile !== undefined) return { ...nothing, token: { file: tokenFile } };
  return { ...connection, ca };
}

async function gatherKubelet(
  node: V1Node,
  options: KubeletProbe["options"],
  credentials: Credentials,
): Promise<KubeletFacts> {
  const name = node.metadata?.name ?? "";
  let address: { host: string; port: number };
  try {
    address = kubeletAddress(node, options);
  } catch (thrown) {
    return { node: name, failure: causeOf(thrown) };
  }
  const { host, port } = address;
  const where = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const known = { node: name, where };
  try {
    const addresses = isIP(host) === 0
      ? (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address)
      : [host];
    const [dialled] = addresses.filter(addressFilter(options.allowedAddresses));
    if (dialled === undefined) return { ...known, refusedAddresses: addresses };
    return {
      ...known,
      ...await ask({ host: dialled, port, name: options.serverName ?? host }, options, credentials),
    };
  } catch (thrown) {
    return { ...known, failure: causeOf(thrown) };
  }
}

/** Opens a connection as the gateway would, and asks whether the kubelet is well: by POST, so that it takes the right that sessions take. */
function ask(
  { host, port, name }: { host: string; port: number; name: string },
  { insecureSkipTLSVerify, dialTimeoutSeconds }: KubeletProbe["options"],
  { caCerts, token, clientCertificate }: Credentials,
): Promise<Pick<KubeletFacts, "validity" | "status" | "isUnverified">> {
  const { promise, resolve, reject } = Promise.withResolvers<
    Pick<KubeletFacts, "validity" | "status" | "isUnverified">
  >();
  const tcp = connectTcp({ host, port });
  const socket: TLSSocket = connectTls({
    socket: tcp,
    // What the certificate must be for: an address is no name that TLS could ask for.
    host: name,
    servername: isIP(name) === 0 ? name : "",
    ...(caCerts.length > 0 && { ca: [...caCerts] }),
    ...clientCertificate,
    rejectUnauthorized: !insecureSkipTLSVerify,
    ALPNProtocols: ["http/1.1"],
  });
  const timer = setTimeout(() => reject(new Error("i/o timeout")), dialTimeoutSeconds * 1000);
  const isAsked = token !== undefined || clientCertificate !== undefined;
  let head = "";
  tcp.on("error", reject);
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("the connection was closed without an answer")));
  socket.on("secureConnect", () => {
    const known = {
      ...validityOfPeer(socket.getPeerCertificate()),
      ...(insecureSkipTLSVerify && { isUnverified: true }),
    };
    if (!isAsked) return resolve(known);
    socket.on("data", (bytes: Uint8Array) => {
      head += new TextDecoder().decode(bytes);
      const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
      if (status !== undefined) resolve({ ...known, status: Number(status) });
      else if (head.length > 64) reject(new Error("what answers is no kubelet"));
    });
    const shown = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
    socket.write(
      `POST /healthz HTTP/1.1\r\nHost: ${name}\r\n${shown}Content-Length: 0\r\nConnection: close\r\n\r\n`,
    );
  });
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
    tcp.destroy();
  });
}

function validityOfPeer(certificate: Partial<PeerCertificate> | undefined): Pick<KubeletFacts, "validity"> {
  const { valid_from, valid_to } = certificate ?? {};
  if (valid_from === undefined || valid_to === undefined) return {};
  return { validity: { notBefore: new Date(valid_from), notAfter: new Date(valid_to) } };
}
