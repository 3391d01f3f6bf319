/**
 * What the chart grants the gateway is enough, and none of it can be spared: shown on the real cluster by an account that has all of
 * it, by one for each right that has all but this one, and by what the API server says that the account may do.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { z } from "zod";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import { KubeClient } from "../../kube/client.ts";
import { CredentialSource } from "../../kube/credentials.ts";
import { readKubeconfig } from "../../kube/kubeconfig.ts";
import { upgrade } from "../support/websocket_client.ts";
import { type Cluster, ROOT, runningCluster, tokensOf } from "./support/cluster.ts";
import { Gateway } from "./support/gateway.ts";
import { NoSpdyProxy } from "./support/no_spdy_proxy.ts";
import { grantedBy, nameOf, rightsIn, RightsLab, rightsOf, rule } from "./support/rights_lab.ts";
import { eventually } from "./support/wait.ts";

const PODS = "/api/v1/namespaces/default/pods";
const EXEC = `${PODS}/shell/exec?command=echo&command=inside&stdout=1`;

/** What a gateway can do, in the order of a session's journey: by whom it is asked, for what, and how it answers. */
const CAPABILITIES = {
  "tell who is nobody": ["nobody", EXEC, 401],
  "tell who may not": ["bob", EXEC, 403],
  "tell that there is no such pod": ["alice", `${PODS}/none/exec?command=true&stdout=1`, 404],
  "tell that a pod is elsewhere": ["alice", "/proxy/nodes/other/exec/default/shell/shell?command=true", 404],
  "open exec": ["alice", EXEC, "inside\n"],
  "open attach": ["alice", `${PODS}/shell/attach?stdout=1`, 101],
  "open port-forward": ["alice", `${PODS}/ports/portforward`, 101],
} as const;
type Capability = keyof typeof CAPABILITIES;

/** What a right is for, and what fails without it. Everything else goes on. */
interface Need {
  for: string;
  breaks: readonly Capability[];
  /** What the user is told. */
  said: string;
}

const OPENS = ["open exec", "open attach", "open port-forward"] as const;
const LOCATES = ["tell that a pod is elsewhere", ...OPENS] as const;
const FINDS = ["tell that there is no such pod", ...LOCATES] as const;
const AUTHORIZES = ["tell who may not", ...FINDS] as const;
const AUTHENTICATES = ["tell who is nobody", ...AUTHORIZES] as const;

const UNREADABLE = "the gateway cannot read the target from the API server";
const EVERYWHERE: Readonly<Record<string, Need>> = {
  "create tokenreviews.authentication.k8s.io": {
    for: "tell who somebody is",
    breaks: AUTHENTICATES,
    said: "the API server cannot be asked who you are",
  },
  "create subjectaccessreviews.authorization.k8s.io": {
    for: "tell what somebody may",
    breaks: AUTHORIZES,
    said: "the API server cannot be asked whether you may do this",
  },
  "get pods": { for: "find a pod", breaks: FINDS, said: UNREADABLE },
};

/** `verb` on what sessions are opened by in the gateway's own name. */
function subresources(verb: string, transport: string): Record<string, Need> {
  const said = "the API server does not let the gateway in";
  const need = (kind: string, breaks: Capability) => ({
    for: `open ${kind} over ${transport}`,
    breaks: [breaks],
    said,
  });
  return {
    [`${verb} pods/exec`]: need("exec", "open exec"),
    [`${verb} pods/attach`]: need("attach", "open attach"),
    [`${verb} pods/portforward`]: need("port-forward", "open port-forward"),
  };
}

/** A way in which sessions are opened. */
interface Way {
  name: string;
  /** Of deploy/manifests: what the chart grants where this is configured. */
  file: string;
  upstream: NonNullable<GivenConfiguration["upstream"]>;
  /** The API server stands behind a proxy that lets no SPDY through. */
  withoutSpdy?: true;
  /** Rights that are tried. */
  needs: Readonly<Record<string, Need>>;
}

const AS_GATEWAY = {
  file: "apiserver-gateway.yaml",
  upstream: { mode: "apiserver", apiserver: { identity: "gateway" } },
} as const;
const WAYS: readonly Way[] = [
  {
    name: "at kubelets",
    file: "kubelet.yaml",
    upstream: { mode: "kubelet" },
    needs: {
      ...EVERYWHERE,
      "get nodes": { for: "find a pod's kubelet", breaks: LOCATES, said: UNREADABLE },
      "create nodes/proxy": {
        for: "be let in by a kubelet",
        breaks: OPENS,
        said: "the kubelet does not let the gateway in",
      },
    },
  },
  {
    name: "at the API server as the user",
    file: "apiserver.yaml",
    upstream: { mode: "apiserver" },
    needs: EVERYWHERE,
  },
  {
    name: "at the API server as the gateway",
    ...AS_GATEWAY,
    needs: { ...EVERYWHERE, ...subresources("create", "SPDY") },
  },
  {
    name: "at an API server without SPDY as the gateway",
    ...AS_GATEWAY,
    withoutSpdy: true,
    needs: subresources("get", "WebSocket"),
  },
];
const FILES = [...new Set(WAYS.map(({ file }) => file))];

let cluster: Cluster;
let lab: RightsLab;

Deno.test.beforeAll(async () => {
  cluster = await runningCluster();
  lab = await RightsLab.create(cluster, FILES);
});
Deno.test.afterAll(() => lab?.[Symbol.asyncDispose]());

for (const way of WAYS) {
  live(`rbac, ${way.name}: what is granted is enough`, async () => {
    await using scene = await Scene.start(way, undefined);
    assert.deepEqual(await scene.failures(), []);
  });

  for (const [right, need] of Object.entries(way.needs)) {
    live(`rbac, ${way.name}: \`${right}\` is needed to ${need.for}`, async () => {
      await using scene = await Scene.start(way, right);
      const failures = await scene.failures();
      const broken = failures.map(({ capability }) => capability);
      assert.deepEqual(broken, need.breaks, JSON.stringify(failures));
      for (const { said } of failures) {
        // Of the gateway's account and of what it misses the user learns nothing.
        assert.ok(said.endsWith(need.said), said);
      }
      const missing = missingIn(right);
      await eventually(`the gateway's log says ${missing}`, async () => {
        // Within JSON.
        return (await scene.gateway.log()).includes(JSON.stringify(missing).slice(1, -1)) || undefined;
      });
    });
  }
}

for (const file of FILES) {
  live(`rbac, ${file}: each right that is granted is tried by itself`, async () => {
    const tried = WAYS.filter((way) => way.file === file).flatMap(({ needs }) => Object.keys(needs));
    assert.deepEqual(tried.sort(), (await grantedBy(file)).map(nameOf).sort());
  });

  live(`rbac, ${file}: the API server says that the gateway may do this, and nothing else`, async () => {
    const [whole, nobodys] = [
      await rulesOf(await lab.kubeconfigOf(file, undefined)),
      // What everybody may do who was authenticated.
      await rulesOf(await lab.kubeconfigOf()),
    ];
    const own = whole.filter((right) => !nobodys.includes(right));
    assert.deepEqual(own.sort(), (await grantedBy(file)).map(nameOf).sort());
  });
}

live("rbac: the gateway of all the other tests has what the chart grants, and nothing else", async () => {
  const others = await rightsIn("tests/cluster/manifests/gateway_rbac.yaml", "postern");
  assert.deepEqual(others, await grantedBy("kubelet.yaml"));
});

live("docs/rbac.md names the test of each right", async () => {
  const docs = (await Deno.readTextFile(join(ROOT, "docs", "rbac.md"))).replace(/\s+/g, " ");
  const unnamed = WAYS.flatMap(({ needs }) => Object.values(needs)).map((need) => `is needed to ${need.for}`)
    .filter((title) => !docs.includes(title));
  assert.deepEqual(unnamed, []);
});

/** In whose words the operator reads of a right that is missing. */
function missingIn(right: string): string {
  if (right === "create nodes/proxy") return "verb=create, resource=nodes, subresource(s)=[proxy]";
  const [verb, resource = ""] = right.split(" ");
  return `cannot ${verb} resource "${resource.split(".")[0]}"`;
}

const rules = z.object({
  status: z.object({
    resourceRules: z.array(rule),
    nonResourceRules: z.array(z.object({ nonResourceURLs: z.array(z.string()), verbs: z.array(z.string()) })),
    incomplete: z.literal(false),
  }),
});

/** What the API server says that an account may do. */
async function rulesOf(kubeconfig: string): Promise<string[]> {
  const { server, ...connection } = await readKubeconfig(kubeconfig);
  const credentials = new CredentialSource(connection);
  using client = new KubeClient({ server, credentials, timeoutMs: 60_000 });
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectRulesReview",
    spec: { namespace: "kube-system" },
  };
  const { status } = rules.parse(
    await client.create("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review),
  );
  const paths = status.nonResourceRules.flatMap(({ nonResourceURLs, verbs }) =>
    nonResourceURLs.flatMap((url) => verbs.map((verb) => `${verb} ${url}`))
  );
  return [...rightsOf(status.resourceRules).map(nameOf), ...paths];
}

/** A gateway that has all rights of its way but one. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly gateway: Gateway,
    readonly ca: string,
    readonly tokens: ReadonlyMap<string, string>,
    readonly parts: AsyncDisposableStack,
  ) {}

  static async start({ file, upstream, withoutSpdy }: Way, without: string | undefined): Promise<Scene> {
    await using parts = new AsyncDisposableStack();
    const proxy = withoutSpdy && parts.use(await NoSpdyProxy.start(cluster));
    const kubeconfig = await lab.kubeconfigOf(file, without, proxy?.url);
    const gateway = parts.use(
      await Gateway.start({ upstream, kubernetes: { kubeconfig, requestTimeoutSeconds: 60 } }),
    );
    const ca = await Deno.readTextFile(cluster.paths.caCertificate);
    return new Scene(gateway, ca, await tokensOf(cluster), parts.move());
  }

  /** What the gateway cannot do, and how it says so. */
  async failures(): Promise<{ capability: string; said: string }[]> {
    const failures: { capability: string; said: string }[] = [];
    for (const [capability, [user, path, wanted]] of Object.entries(CAPABILITIES)) {
      const { code, said } = await this.#ask(this.tokens.get(user) ?? "nobody's", path);
      if (code === wanted || (code === 101 && said === wanted)) continue;
      assert.ok(code === 503 || code === 101, `${capability}: ${code} ${said}`);
      failures.push({ capability, said });
    }
    return failures;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.disposeAsync();
  }

  /** @returns the answer's code, and the words of its Status; of an exec's 101 what the command wrote */
  async #ask(token: string, path: string): Promise<{ code: number; said: string }> {
    const { port } = this.gateway;
    using connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [this.ca] });
    const { answer, client } = await upgrade(connection, {
      path,
      host: `127.0.0.1:${port}`,
      headers: [["Authorization", `Bearer ${token}`]],
      // Of v4 a client is let in when the session is open, and not before.
      protocols: [path.endsWith("/portforward") ? "SPDY/3.1+portforward.k8s.io" : "v4.channel.k8s.io"],
      timeoutMs: 60_000,
    });
    if (client === undefined) {
      return { code: answer.status, said: status.parse(JSON.parse(answer.body)).message };
    }
    const written = path === EXEC ? (await client.receiveAll()).channels.get(1) : undefined;
    return { code: 101, said: new TextDecoder().decode(written) };
  }
}

const status = z.object({ kind: z.literal("Status"), message: z.string() });

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
