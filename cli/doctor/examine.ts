import type {
  V1SelfSubjectAccessReview,
  V1SelfSubjectReview,
  V1SelfSubjectRulesReview,
  V1SubjectAccessReview,
} from "@kubernetes/client-node";
import manifest from "../../package.json" with { type: "json" };
import { ApiError, type KubeClient } from "../../kube/client.ts";
import { type ApiServerFacts, gatherApiServer, judgeApiServer, judgeVersion } from "./api_server.ts";
import { gatherRbac, judgeAround } from "./around.ts";
import { boundRules, type RbacObjects } from "./bypass.ts";
import { causeOf } from "./cause.ts";
import { gatherClock, judgeClock } from "./clock.ts";
import {
  certificateFilesOf,
  certificatesOf,
  checkCertificates,
  checkHeldCertificates,
  checkSecrets,
} from "./files.ts";
import { type CheckName, CHECKS, type Finding, type Judgement, unknown, wrong } from "./finding.ts";
import { checkKubelets } from "./kubelets.ts";
import {
  excessPermissions,
  type Identity,
  judgeExcess,
  judgeNeeds,
  type Need,
  needsOf,
  type OwnRule,
  type Permission,
  rulesFor,
  serviceAccount,
} from "./rbac.ts";
import type { Scene } from "./scene.ts";
import { checkSinks } from "./sinks.ts";
import { gatherTokenReview, judgeTokenReview } from "./token_review.ts";

/** What several checks look at, asked for once. */
interface Known {
  apiServer: ApiServerFacts;
  /** The gateway's own; `undefined`: it is not known who that is. */
  gateway: Identity | undefined;
  /** `undefined`: it may not be read. */
  rbac: RbacObjects | undefined;
  /** Why RBAC is not known, where it is not that it may not be read. */
  rbacFailure?: string;
}

const ELSEWHERE = "run postern doctor in the gateway's pod, without --kubeconfig";

/** Makes every check that is not skipped, and says what was found, in the order of {@linkcode CHECKS}. */
export async function examine(scene: Scene, skipped: ReadonlySet<CheckName>): Promise<Finding[]> {
  const known = await learn(scene);
  const found: Finding[] = [];
  for (const check of CHECKS) {
    if (skipped.has(check)) continue;
    for (const judgement of await make(check, scene, known)) found.push({ check, ...judgement });
  }
  return found;
}

async function learn(scene: Scene): Promise<Known> {
  const { client, connection } = scene;
  const apiServer = await gatherApiServer(client, connection.server);
  if ("failure" in apiServer) return { apiServer, gateway: undefined, rbac: undefined };
  const known = { apiServer, gateway: await gatewayOf(scene).catch(() => undefined) };
  try {
    return { ...known, rbac: await gatherRbac(client) };
  } catch (thrown) {
    const isForbidden = thrown instanceof ApiError && thrown.code === 403;
    return { ...known, rbac: undefined, ...(!isForbidden && { rbacFailure: causeOf(thrown) }) };
  }
}

/** Whom bindings must name for the gateway. */
async function gatewayOf({ isGateway, client, serviceAccount: named }: Scene): Promise<Identity | undefined> {
  if (!isGateway) return named && serviceAccount(named.namespace, named.name);
  const { status } = await client.create<V1SelfSubjectReview>(
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
  );
  const { username, groups = [] } = status?.userInfo ?? {};
  return username === undefined ? undefined : { username, groups };
}

/** A check that cannot be made fails alone. */
async function make(check: CheckName, scene: Scene, known: Known): Promise<readonly Judgement[]> {
  try {
    return await CHECK[check](scene, known);
  } catch (thrown) {
    return [unknown(`could not be found out: ${causeOf(thrown)}`)];
  }
}

/** Who tells of the API server itself says why; the others say that they could not ask. */
const UNREACHED = unknown("the API server could not be asked", "mend what api-server says first");

type Make = (scene: Scene, known: Known) => Promise<readonly Judgement[]> | readonly Judgement[];

const CHECK: Readonly<Record<CheckName, Make>> = {
  "version": (_scene, { apiServer }) =>
    judgeVersion({
      postern: manifest.version,
      deno: Deno.version.deno,
      denoExpected: manifest.devDependencies.deno,
      kubernetes: "version" in apiServer ? apiServer.version : undefined,
    }),
  "certificates": async (scene) => {
    if (!scene.isGateway) return [unknown("the gateway's certificates are not here", ELSEWHERE)];
    const files = certificateFilesOf(scene.configuration).map((file) => checkCertificates(file, new Date()));
    const own = certificatesOf(scene.connection).map((held) => checkHeldCertificates(held, new Date()));
    return (await Promise.all([...files, ...own])).flat();
  },
  "keys": (scene) =>
    scene.isGateway
      ? checkSecrets(scene.configuration)
      : [unknown("the gateway's keys are not here", ELSEWHERE)],
  "sinks": (scene) =>
    scene.isGateway
      ? checkSinks(scene.configuration)
      : [unknown("whether sinks can be written to is for the gateway to say", ELSEWHERE)],
  "api-server": (_scene, { apiServer }) => [judgeApiServer(apiServer)],
  "clock": async ({ client, timeoutMs }, { apiServer }) =>
    isUnreached(apiServer) ? [UNREACHED] : [judgeClock(await gatherClock(client, timeoutMs))],
  "token-review": async (scene, { apiServer }) => {
    if ("failure" in apiServer) return [UNREACHED];
    const named = scene.tokenFile === undefined
      ? undefined
      : (await Deno.readTextFile(scene.tokenFile)).trim();
    // Somebody else's token is not for the gateway's audiences, and says nothing.
    const own = scene.isGateway ? (await scene.credentials.current()).token : undefined;
    const token = { ...(named !== undefined && { named }), ...(own !== undefined && { own }) };
    const { audiences } = scene.configuration.authentication;
    return [judgeTokenReview(await gatherTokenReview(scene.client, token, audiences), new Date())];
  },
  "rbac": async (scene, { apiServer, gateway }) => {
    if ("failure" in apiServer) return [UNREACHED];
    const needs = needsOf(scene.configuration);
    if (scene.isGateway) return judgeNeeds(needs, await deniedTo(scene.client, needs), whoIs(gateway));
    if (gateway === undefined) return [UNNAMED];
    return judgeNeeds(needs, await deniedTo(scene.client, needs, gateway), whoIs(gateway));
  },
  "rbac-excess": async (scene, { apiServer, gateway, rbac }) => {
    if ("failure" in apiServer) return [UNREACHED];
    const needs = needsOf(scene.configuration);
    if (rbac !== undefined && gateway !== undefined) {
      return judgeExcess(rulesFor(boundRules(rbac), gateway), needs, whoIs(gateway));
    }
    if (!scene.isGateway) return [UNNAMED];
    const rules = await ownRules(scene.client, namespacesOf(gateway));
    const everybodys = await allowedToEverybody(scene.client, excessPermissions(rules, needs));
    return judgeExcess(rules, needs, whoIs(gateway), everybodys);
  },
  "kubelets": async (
    { client, configuration: { upstream }, connection, isGateway, nodes },
    { apiServer },
  ) => {
    if ("failure" in apiServer) return [UNREACHED];
    if (upstream.mode === "apiserver") return [];
    return await checkKubelets(
      { client, options: upstream.kubelet, connection, isGateway, nodes },
      new Date(),
    );
  },
  "bypass": (scene, { apiServer, gateway, rbac, rbacFailure }) => {
    if ("failure" in apiServer) return [UNREACHED];
    if (rbac === undefined) {
      return rbacFailure === undefined
        ? [unknown(
          "who can go around the gateway is not known: RBAC may not be read, and the gateway need not",
          "ask with an administrator's --kubeconfig",
        )]
        : [wrong(`RBAC cannot be read: ${rbacFailure}`, "ask again, with an administrator's --kubeconfig")];
    }
    const { authorization: { group } } = scene.configuration;
    return judgeAround(rbac, { gateway, accepted: scene.accepted, group });
  },
};

const UNNAMED = unknown("it is not known who the gateway is", "name it: --service-account NAMESPACE/NAME");

/** A refusal tells the time as well. */
function isUnreached(facts: ApiServerFacts): boolean {
  return "failure" in facts && facts.code === undefined;
}

function whoIs(identity: Identity | undefined): string {
  return identity === undefined ? "the gateway" : `the gateway (${identity.username})`;
}

/** Those of `needs` that somebody may not. @param identity absent: who asks */
async function deniedTo(
  client: Pick<KubeClient, "create">,
  needs: readonly Need[],
  identity?: Identity,
): Promise<Need[]> {
  const whom = identity && { user: identity.username, groups: identity.groups };
  const answers = await Promise.all(needs.map((need) => isAllowed(client, need, whom)));
  return needs.filter((_, index) => answers[index] !== true);
}

/** Permissions that are asked about one by one; what is more than this stays unexplained. */
const MAX_ASKED = 200;

/** Those that anybody has who was authenticated: the gateway has them not by a binding of its own. */
async function allowedToEverybody(
  client: Pick<KubeClient, "create">,
  permissions: readonly Permission[],
): Promise<Permission[]> {
  const asked = permissions.slice(0, MAX_ASKED);
  const everybody = { groups: ["system:authenticated"] };
  // Who may not ask is told so by another check.
  const ask = (permission: Permission) => isAllowed(client, permission, everybody).catch(() => false);
  const answers = await Promise.all(asked.map(ask));
  return asked.filter((_, index) => answers[index] === true);
}

/** @param whom absent: who asks */
async function isAllowed(
  client: Pick<KubeClient, "create">,
  { group, resource: whole, verb }: Permission,
  whom?: { user?: string; groups: readonly string[] },
): Promise<boolean> {
  const kind = whom === undefined ? "SelfSubjectAccessReview" : "SubjectAccessReview";
  const [resource, subresource] = whole.split("/");
  const resourceAttributes = { group, resource, verb, ...(subresource !== undefined && { subresource }) };
  const review = { apiVersion: "authorization.k8s.io/v1", kind, spec: { resourceAttributes, ...whom } };
  const { status } = await client.create<V1SelfSubjectAccessReview | V1SubjectAccessReview>(
    `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`,
    review,
  );
  return status?.allowed === true;
}

/** Where rights are looked for that hold in one namespace: the gateway's own, and where they would be worst. */
function namespacesOf(gateway: Identity | undefined): string[] {
  const [, own] = /^system:serviceaccount:([^:]+):/.exec(gateway?.username ?? "") ?? [];
  return [...new Set([...(own === undefined ? [] : [own]), "kube-system", "default"])];
}

/** What the API server says that who asks may do. */
async function ownRules(
  client: Pick<KubeClient, "create">,
  namespaces: readonly string[],
): Promise<OwnRule[]> {
  const answers = await Promise.all(namespaces.map(async (namespace) => {
    const review = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectRulesReview",
      spec: { namespace },
    };
    const path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    const { status } = await client.create<V1SelfSubjectRulesReview>(path, review);
    return (status?.resourceRules ?? []).map((rule) => JSON.stringify(rule));
  }));
  const [first = []] = answers;
  return [...new Set(answers.flat())].map((text) => {
    const here = namespaces.filter((_, index) => answers[index]?.includes(text));
    // What is allowed in each of them is allowed in the whole cluster, or as good as that.
    const isEverywhere = here.length === namespaces.length && first.includes(text);
    const rule: OwnRule["rule"] = JSON.parse(text);
    return { rule, ...(!isEverywhere && { namespace: here.join(", ") }) };
  });
}
