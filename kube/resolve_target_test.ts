import assert from "node:assert/strict";
import { ApiError, ApiUnreachable } from "./client.ts";
import { NodeCache } from "./node_cache.ts";
import { isNodeNamed } from "./node_name.ts";
import { requireSamePod, resolveTarget, type TargetRequest } from "./resolve_target.ts";
import { Refusal, toStatus } from "./status.ts";

const POD = {
  metadata: { name: "web", namespace: "default", uid: "uid-1" },
  spec: { nodeName: "node1", containers: [{ name: "app" }] },
};
const NODE = {
  metadata: { name: "node1" },
  status: {
    addresses: [{ type: "Hostname", address: "node1" }, { type: "InternalIP", address: "10.0.0.5" }],
    daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
  },
};
const OPTIONS = { addressTypes: ["InternalIP"], defaultContainerAnnotation: false };
const REQUEST: TargetRequest = { namespace: "default", pod: "web", container: undefined, purpose: "exec" };
const PATHS = { pod: "/api/v1/namespaces/default/pods/web", node: "/api/v1/nodes/node1" };

/** An API server that knows these objects by path. */
function scene(objects: Record<string, unknown>, { ttlMs = 0, readsNodes = true } = {}) {
  const asked: string[] = [];
  const client = {
    get: <T>(path: string): Promise<T> => {
      asked.push(path);
      const object = objects[path];
      if (object instanceof Error) return Promise.reject(object);
      if (object === undefined) return Promise.reject(new ApiError(404, {}));
      return Promise.resolve(object as T);
    },
  };
  const nodes = readsNodes ? new NodeCache(client, ttlMs) : undefined;
  return {
    asked,
    resolve: (request: Partial<TargetRequest> = {}) =>
      resolveTarget(client, { ...REQUEST, ...request }, { ...OPTIONS, nodes }),
  };
}

const whole = (pod: unknown = POD, node: unknown = NODE) => ({ [PATHS.pod]: pod, [PATHS.node]: node });

Deno.test("resolveTarget finds pod, container, node and kubelet with two questions and no list", async () => {
  const { asked, resolve } = scene(whole());
  const target = await resolve();
  assert.deepEqual(
    [target.podUid, target.container?.name, target.nodeName, target.kubelet],
    ["uid-1", "app", "node1", { host: "10.0.0.5", port: 10250 }],
  );
  assert.deepEqual(asked, [PATHS.pod, PATHS.node]);
});

Deno.test("resolveTarget asks for the pod every time, and for a node that it knows only once", async () => {
  const { asked, resolve } = scene(whole(), { ttlMs: 1000 });
  await resolve();
  await resolve();
  assert.deepEqual(asked, [PATHS.pod, PATHS.node, PATHS.pod]);
});

Deno.test("resolveTarget asks for no node where no kubelet is dialled, and knows of it what the pod says", async () => {
  const pod = { ...POD, status: { hostIP: "10.0.0.5", hostIPs: [{ ip: "10.0.0.5" }, { ip: "fd00::5" }] } };
  const { asked, resolve } = scene({ [PATHS.pod]: pod }, { readsNodes: false });
  const { node, nodeName, kubelet } = await resolve();
  assert.deepEqual(asked, [PATHS.pod]);
  assert.equal(kubelet, undefined);
  for (const name of [nodeName, "10.0.0.5", "fd00::5", "https:node1:10250"]) {
    assert.ok(isNodeNamed(name, node, 10250), name);
  }
  assert.ok(!isNodeNamed("node2", node, 10250));
});

Deno.test("resolveTarget gives the very pod whose UID it pins", async () => {
  const target = await scene(whole()).resolve();
  assert.equal(target.pod, POD);
  assert.equal(target.podUid, target.pod.metadata?.uid);
});

Deno.test("resolveTarget leaves out who wrote the pod's fields: thousands of sessions keep their pods", async () => {
  const pod = { ...POD, metadata: { ...POD.metadata, managedFields: [{ manager: "kubectl" }] } };
  const target = await scene(whole(pod)).resolve();
  assert.equal(target.pod.metadata?.managedFields, undefined);
  assert.deepEqual(target.pod.spec, POD.spec);
});

Deno.test("a port-forward has no container, however many there are", async () => {
  const pod = { ...POD, spec: { ...POD.spec, containers: [{ name: "a" }, { name: "b" }] } };
  assert.equal((await scene(whole(pod)).resolve({ purpose: "portforward" })).container, undefined);
});

const REFUSED = [
  {
    name: "a pod that is not there",
    objects: {},
    status: { reason: "NotFound", code: 404, message: 'pods "web" not found', name: "web", kind: "pods" },
  },
  {
    name: "a node that is not there",
    objects: { [PATHS.pod]: POD },
    status: {
      reason: "NotFound",
      code: 404,
      message: 'nodes "node1" not found',
      name: "node1",
      kind: "nodes",
    },
  },
  {
    name: "a pod that no node runs",
    objects: whole({ ...POD, spec: { ...POD.spec, nodeName: undefined } }),
    status: { reason: "BadRequest", code: 400, message: "pod web does not have a host assigned" },
  },
  {
    name: "an API server that is gone",
    objects: whole(new ApiUnreachable("gone")),
    status: {
      reason: "ServiceUnavailable",
      code: 503,
      message: "the gateway cannot read the target from the API server",
    },
  },
  {
    name: "a gateway that may not read nodes",
    objects: whole(POD, new ApiError(403, {})),
    status: {
      reason: "ServiceUnavailable",
      code: 503,
      message: "the gateway cannot read the target from the API server",
    },
  },
  {
    name: "an answer about another pod",
    objects: whole({ ...POD, metadata: { ...POD.metadata, name: "other" } }),
    status: { reason: "InternalError", code: 500, message: "the API server answered with another pod" },
  },
  {
    name: "an answer from another namespace",
    objects: whole({ ...POD, metadata: { ...POD.metadata, namespace: "kube-system" } }),
    status: { reason: "InternalError", code: 500, message: "the API server answered with another pod" },
  },
  {
    name: "a pod without a UID, which could not be pinned",
    objects: whole({ ...POD, metadata: { ...POD.metadata, uid: undefined } }),
    status: { reason: "InternalError", code: 500, message: "the API server answered with another pod" },
  },
];
for (const { name, objects, status: { name: subject, kind, ...status } } of REFUSED) {
  Deno.test(`resolveTarget refuses ${name}`, async () => {
    const thrown: unknown = await scene(objects).resolve().catch((error) => error);
    assert.ok(thrown instanceof Refusal);
    const { reason, code, message, details } = toStatus(thrown);
    assert.deepEqual({ reason, code, message }, status);
    assert.deepEqual(details, kind && { name: subject, kind });
  });
}

const FORGED = [
  "..",
  ".",
  "a/b",
  "web?x=",
  "web#",
  "a%2e",
  "web\r\nX: y",
  "WEB",
  "",
  "a..b",
  "-a",
  "a".repeat(254),
];
for (const name of FORGED) {
  Deno.test(`path traversal: ${JSON.stringify(name).slice(0, 20)} is the name of nothing, and never asked for`, async () => {
    for (const request of [{ pod: name }, { namespace: name }]) {
      const { asked, resolve } = scene(whole());
      await assert.rejects(resolve(request), (thrown) => toStatus(thrown).code === 404);
      assert.deepEqual(asked, []);
    }
  });
}

Deno.test("path traversal: a pod cannot name its node into another path", async () => {
  const { asked, resolve } = scene(whole({ ...POD, spec: { ...POD.spec, nodeName: "../pods" } }));
  await assert.rejects(resolve(), (thrown) => toStatus(thrown).code === 400);
  assert.deepEqual(asked, [PATHS.pod]);
});

const samePods = [
  { name: "the same pod", answer: { metadata: { uid: "u-1" } }, want: "the same" },
  { name: "another of that name", answer: { metadata: { uid: "u-2" } }, want: 'pods "web" not found' },
  { name: "one without a UID", answer: {}, want: 'pods "web" not found' },
  { name: "none any more", answer: new ApiError(404, {}), want: 'pods "web" not found' },
  {
    name: "one that cannot be asked for",
    answer: new ApiError(500, {}),
    want: "the gateway cannot read the target from the API server",
  },
];
for (const { name, answer, want } of samePods) {
  Deno.test(`requireSamePod: ${name}`, async () => {
    const get = () => answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    const client = { get } as Parameters<typeof requireSamePod>[0];
    const target = { namespace: "default", podName: "web", podUid: "u-1" };
    const said = await requireSamePod(client, target).then(
      (pod) => pod === answer && "the same",
      (thrown) => thrown.message,
    );
    assert.equal(said, want);
  });
}
