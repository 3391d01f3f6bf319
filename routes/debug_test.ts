import assert from "node:assert/strict";
import type { V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import type { AuditEvent } from "../audit/event.ts";
import { ephemeralContainer } from "../authz/policy/ephemeral_container.ts";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import { debug, type DebugGate } from "./debug.ts";
import type { Forward } from "./forwarding.ts";
import type { HeaderLine, RequestContext } from "./handler.ts";
import { Journey } from "./journey.ts";
import { readRequestTarget } from "./request_target.ts";

const USER: User = { username: "jane", uid: "u", groups: [], extra: {} };
const PATH = "/api/v1/namespaces/default/pods/web/ephemeralcontainers";
const MERGE = "application/merge-patch+json";
const JSON_PATCH = "application/json-patch+json";
const PLAIN: V1EphemeralContainer = { name: "dbg", image: "busybox" };
const PRIVILEGED: V1EphemeralContainer = { name: "dbg", securityContext: { privileged: true } };

type Forwarded = Parameters<Forward>[0] & { text: string; isTrial: boolean };

/**
 * An API server with one pod, as much of it as writes ephemeral containers: it takes a merge patch that names them, and a
 * JSON patch that tests and copies an annotation into an image.
 */
class ApiServer {
  readonly asked: Forwarded[] = [];
  pod: V1Pod | undefined = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", namespace: "default", uid: "u-1", resourceVersion: "7", annotations: {} },
    spec: { containers: [{ name: "app" }], nodeName: "node1" },
  };
  /** Runs before each answer: what others do meanwhile. */
  meanwhile: (request: Forwarded) => void = () => {};
  /** Answers instead. */
  answer: (request: Forwarded) => Response | undefined = () => undefined;

  readonly forward: Forward = async (request) => {
    const isTrial = new URLSearchParams(request.target.split("?")[1]).has("dryRun");
    const asked = { ...request, text: await new Response(request.body).text(), isTrial };
    this.meanwhile(asked);
    this.asked.push(asked);
    return this.answer(asked) ?? this.#write(asked);
  };

  change(annotations: Record<string, string> = {}): void {
    const { metadata } = this.pod!;
    const resourceVersion = String(Number(metadata!.resourceVersion) + 1);
    this.pod = { ...this.pod!, metadata: { ...metadata, resourceVersion, annotations } };
  }

  #write({ text, headers, isTrial }: Forwarded): Response {
    const { pod } = this;
    if (pod === undefined) return status(404, "NotFound");
    const body = JSON.parse(text);
    let added: V1EphemeralContainer[];
    if (headers.get("Content-Type") === JSON_PATCH) {
      const [test, copy] = body;
      if (test.value !== pod.metadata!.resourceVersion) return status(422, "Invalid");
      added = [{ name: "dbg", image: pod.metadata!.annotations![copy.from.split("/").at(-1)]! }];
    } else {
      const version = body.metadata?.resourceVersion;
      if (version !== undefined && version !== pod.metadata!.resourceVersion) return status(409, "Conflict");
      added = body.spec.ephemeralContainers;
    }
    const written = { ...pod, spec: { ...pod.spec!, ephemeralContainers: added } };
    if (!isTrial) {
      this.pod = written;
      this.change();
    }
    return Response.json(isTrial ? written : this.pod, { headers: { "Audit-Id": isTrial ? "a-1" : "a-2" } });
  }

  get written(): readonly V1EphemeralContainer[] {
    return this.pod?.spec?.ephemeralContainers ?? [];
  }
}

function status(code: number, reason: string): Response {
  const body = {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason,
    code,
    message: `no: ${reason}`,
  };
  return Response.json(body, { status: code });
}

interface Asked {
  api?: ApiServer;
  method?: string;
  query?: string;
  type?: string;
  headers?: readonly HeaderLine[];
  body?: BodyInit | null;
  isClusterAdmin?: boolean;
  upgrade?: RequestContext["upgrade"];
  gate?: Partial<DebugGate>;
}

const adding = (...ephemeralContainers: V1EphemeralContainer[]) =>
  JSON.stringify({ spec: { ephemeralContainers } });

/** Sends a request through `debug`, to an API server that runs only in this test. */
async function ask(
  { api = new ApiServer(), method = "PATCH", query = "", type = MERGE, ...asked }: Asked = {},
) {
  const { body = adding(PLAIN), headers = [], isClusterAdmin = false, upgrade } = asked;
  const rawTarget = PATH + query;
  const context: RequestContext = {
    remoteAddress: "192.0.2.1",
    remotePort: 1,
    rawTarget,
    rawHeaders: [["Authorization", "Bearer mine"], ["Content-Type", type], ...headers],
    signal: new AbortController().signal,
    ...(upgrade && { upgrade }),
  };
  const events: AuditEvent[] = [];
  const options = { scope: "container", strict: false } as const;
  const gate: DebugGate = {
    authenticate: () => Promise.resolve(USER),
    impersonate: (user) => Promise.resolve({ user }),
    journal: {
      append: (more) => {
        events.push(...more);
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
      status: () => ({ healthy: true, sinks: [] }),
    },
    report: () => {},
    forward: api.forward,
    readPod: () => Promise.resolve(structuredClone(api.pod)),
    decideAddition: (_user, addition) =>
      Promise.resolve(ephemeralContainer({ ...addition, options, isClusterAdmin })),
    ...asked.gate,
  };
  const journey = new Journey(method, context, readRequestTarget(rawTarget));
  const request = new Request(`https://gateway.invalid${rawTarget}`, {
    method,
    body,
    headers: [["Content-Type", type]],
  });
  const kinds = () => events.map(({ annotations }) => annotations["postern.dev/event"]);
  try {
    const answer = await debug(journey, request, gate);
    const text = await answer.text();
    return { api, events, kinds: kinds(), code: answer.status, answer, text, refusal: undefined };
  } catch (thrown) {
    assert.ok(thrown instanceof Refusal, String(thrown));
    return { api, events, kinds: kinds(), code: 0, text: "", refusal: thrown };
  }
}

Deno.test("debug tries a write, decides, writes it down and then writes", async () => {
  const { api, events, kinds, code, text } = await ask({ query: "?fieldManager=me" });
  assert.equal(code, 200);
  assert.deepEqual(api.asked.map(({ target }) => target), [
    `${PATH}?fieldManager=me&dryRun=All`,
    `${PATH}?fieldManager=me`,
  ]);
  assert.deepEqual(api.written, [PLAIN]);
  assert.equal(text, JSON.stringify(api.pod));
  assert.deepEqual(kinds, ["decision", "response"]);
  const [decision, response] = events;
  assert.equal(decision!.verb, "patch");
  assert.deepEqual(decision!.objectRef, {
    resource: "pods",
    namespace: "default",
    name: "web",
    apiVersion: "v1",
    uid: "u-1",
    subresource: "ephemeralcontainers",
  });
  const { annotations } = decision!;
  assert.equal(annotations["postern.dev/container"], "dbg");
  assert.equal(annotations["postern.dev/image"], "busybox");
  assert.equal(annotations["authorization.k8s.io/decision"], "allow");
  assert.equal(response!.responseStatus?.code, 200);
  assert.equal(response!.annotations["postern.dev/bytes-out"], String(text.length));
  assert.equal(response!.annotations["postern.dev/upstream-audit-id"], "a-2");
});

Deno.test("debug sends what it tried, byte for byte, each with the user's token and impersonation", async () => {
  const headers: HeaderLine[] = [
    ["Impersonate-User", "bob"],
    ["Accept", "application/vnd.kubernetes.protobuf"],
    ["Audit-ID", "forged"],
  ];
  const { api, events } = await ask({ headers });
  const [trial, real] = api.asked;
  assert.equal(trial!.text, real!.text);
  assert.deepEqual(JSON.parse(real!.text).metadata, { resourceVersion: "7" });
  for (const { headers } of api.asked) {
    assert.equal(headers.get("Authorization"), "Bearer mine");
    assert.equal(headers.get("Impersonate-User"), "bob");
  }
  assert.equal(trial!.headers.get("Audit-ID"), null);
  assert.equal(real!.headers.get("Audit-ID"), events[0]!.auditID);
  // The trial's answer is for the gateway, the other for the client.
  assert.equal(trial!.headers.get("Accept"), "application/json");
  assert.equal(real!.headers.get("Accept"), "application/vnd.kubernetes.protobuf");
});

Deno.test("debug refuses what the policy denies, and writes nothing", async () => {
  const { api, kinds, refusal, events } = await ask({ body: adding(PRIVILEGED) });
  assert.equal(refusal?.reason, "Forbidden");
  assert.equal(
    refusal?.message,
    'pods "web" is forbidden: ephemeral container "dbg" of pod "web" sets securityContext.privileged: ' +
      "only cluster-admins may add it (rule ephemeral-container)",
  );
  assert.deepEqual(api.asked.map(({ isTrial }) => isTrial), [true]);
  assert.deepEqual(kinds, ["decision"]);
  assert.equal(events[0]!.annotations["authorization.k8s.io/decision"], "forbid");
});

Deno.test("debug lets a cluster-admin add it", async () => {
  const { api, code } = await ask({ body: adding(PRIVILEGED), isClusterAdmin: true });
  assert.equal(code, 200);
  assert.deepEqual(api.written, [PRIVILEGED]);
});

Deno.test("debug asks about what is new, not about what was there", async () => {
  const api = new ApiServer();
  const old = { name: "old", securityContext: { privileged: true } };
  api.pod!.spec!.ephemeralContainers = [old];
  assert.equal((await ask({ api, body: adding(old, PLAIN) })).code, 200);
});

Deno.test("attack: one that was there under that name is not what is there now", async () => {
  const api = new ApiServer();
  api.pod!.spec!.ephemeralContainers = [{ name: "dbg" }];
  assert.equal((await ask({ api, body: adding(PRIVILEGED) })).refusal?.reason, "Forbidden");
});

Deno.test("attack: an annotation that a copy takes is changed between trial and write", async () => {
  const api = new ApiServer();
  api.change({ image: "good" });
  api.meanwhile = ({ isTrial }) => {
    if (!isTrial) api.change({ image: "evil" });
  };
  const denying: DebugGate["decideAddition"] = (_user, { added }) => {
    const isEvil = added.some(({ image }) => image === "evil");
    return Promise.resolve(
      isEvil
        ? { allowed: false, rule: "r", reason: "evil" }
        : { allowed: true, rule: "r", reason: "", obligations: [] },
    );
  };
  const body = JSON.stringify([{ op: "copy", from: "/metadata/annotations/image", path: "/x" }]);
  const { refusal, kinds } = await ask({ api, type: JSON_PATCH, body, gate: { decideAddition: denying } });
  assert.equal(refusal?.message, 'pods "web" is forbidden: evil');
  assert.deepEqual(api.written, []);
  assert.deepEqual(kinds, ["decision", "decision"]);
});

for (const type of [MERGE, JSON_PATCH]) {
  const body = type === MERGE
    ? adding(PLAIN)
    : JSON.stringify([{ op: "copy", from: "/metadata/annotations/image", path: "/x" }]);

  Deno.test(`debug tries again where the pod changed meanwhile, by ${type}, and decides once`, async () => {
    const api = new ApiServer();
    let changes = 2;
    api.meanwhile = () => {
      if (changes-- > 0) api.change({ image: "busybox" });
    };
    const { code, kinds } = await ask({ api, type, body });
    assert.equal(code, 200);
    assert.equal(api.written.length, 1);
    assert.deepEqual(kinds, ["decision", "response"]);
  });

  Deno.test(`debug gives up after five attempts, by ${type}, with the API server's answer`, async () => {
    const api = new ApiServer();
    api.meanwhile = () => api.change({ image: "busybox" });
    const { code, kinds, events, text } = await ask({ api, type, body });
    assert.equal(api.asked.length, 5);
    assert.equal(code, type === MERGE ? 409 : 422);
    assert.match(text, /"no: (Conflict|Invalid)"/);
    assert.deepEqual(kinds, ["refusal"]);
    assert.equal(events[0]!.responseStatus?.message, type === MERGE ? "no: Conflict" : "no: Invalid");
  });
}

Deno.test("a conflict of the client's own making is told at once", async () => {
  const body = JSON.stringify({ metadata: { resourceVersion: "3" }, spec: { ephemeralContainers: [PLAIN] } });
  const api = new ApiServer();
  api.meanwhile = () => api.change();
  const { code } = await ask({ api, body });
  assert.deepEqual([code, api.asked.length], [409, 1]);
});

Deno.test("a conflict that no change explains is told at once", async () => {
  const api = new ApiServer();
  api.answer = () => status(409, "Conflict"); // of field managers, say
  const { code } = await ask({ api });
  assert.deepEqual([code, api.asked.length], [409, 1]);
});

Deno.test("a write that comes too late is told as the API server tells it, after its decision", async () => {
  const api = new ApiServer();
  api.answer = ({ isTrial }) => isTrial ? undefined : status(403, "Forbidden");
  const { code, kinds, events } = await ask({ api });
  assert.equal(code, 403);
  assert.deepEqual(kinds, ["decision", "response"]);
  assert.equal(events[1]!.responseStatus?.code, 403);
});

for (
  const [code, reason] of [[400, "BadRequest"], [403, "Forbidden"], [404, "NotFound"], [
    422,
    "Invalid",
  ]] as const
) {
  Deno.test(`debug passes on that a trial is refused with ${code}, and writes it down`, async () => {
    const api = new ApiServer();
    api.answer = () => status(code, reason);
    const asked = await ask({ api });
    assert.equal(asked.code, code);
    assert.equal(JSON.parse(asked.text).message, `no: ${reason}`);
    assert.equal(api.asked.length, 1);
    assert.deepEqual(asked.kinds, ["refusal"]);
    const { responseStatus } = asked.events[0]!;
    assert.deepEqual([responseStatus?.code, responseStatus?.reason, responseStatus?.message], [
      code,
      reason,
      `no: ${reason}`,
    ]);
  });
}

Deno.test("whether a pod is there is the API server's to tell", async () => {
  const api = new ApiServer();
  api.pod = undefined;
  const { code, kinds } = await ask({ api });
  assert.deepEqual([code, kinds], [404, ["refusal"]]);
});

Deno.test("attack: a pod that appears after the read is looked at again", async () => {
  const api = new ApiServer();
  const { pod } = api;
  api.pod = undefined;
  api.meanwhile = () => api.pod ??= pod;
  const { refusal } = await ask({ api, body: adding(PRIVILEGED) });
  assert.equal(refusal?.reason, "Forbidden");
  assert.deepEqual(api.asked.map(({ isTrial }) => isTrial), [true, true]);
});

Deno.test("a trial that the client asked for stays one", async () => {
  const { api, code, kinds } = await ask({ query: "?dryRun=All" });
  assert.equal(code, 200);
  assert.deepEqual(api.asked.map(({ target }) => target), [`${PATH}?dryRun=All`, `${PATH}?dryRun=All`]);
  assert.deepEqual(api.written, []);
  assert.deepEqual(kinds, ["decision", "response"]);
});

const nonsense: { name: string; answer: () => Response; reason: string }[] = [
  { name: "no pod", answer: () => Response.json({ kind: "Status" }), reason: "InternalError" },
  { name: "no JSON", answer: () => new Response("<html>"), reason: "InternalError" },
  {
    name: "a pod of another version than it was held to",
    answer: () => Response.json({ ...new ApiServer().pod, metadata: { uid: "u-1", resourceVersion: "8" } }),
    reason: "Conflict",
  },
  {
    name: "another pod of that name",
    answer: () => Response.json({ ...new ApiServer().pod, metadata: { uid: "u-2", resourceVersion: "7" } }),
    reason: "Conflict",
  },
  {
    name: "more than any pod is",
    answer: () => new Response(new Uint8Array(5 << 20)),
    reason: "ServiceUnavailable",
  },
];
for (const { name, answer, reason } of nonsense) {
  Deno.test(`debug writes nothing where the trial answers with ${name}`, async () => {
    const api = new ApiServer();
    api.answer = answer;
    const { refusal } = await ask({ api });
    assert.equal(refusal?.reason, reason);
    assert.equal(api.asked.length, 1);
  });
}

Deno.test("no audit, no write", async () => {
  const journal = {
    append: () => Promise.reject(new Error("disk full")),
    close: () => Promise.resolve(),
    status: () => ({ healthy: false, sinks: [] }),
  };
  const { api, refusal } = await ask({ gate: { journal } });
  assert.equal(refusal?.reason, "ServiceUnavailable");
  assert.deepEqual(api.written, []);
});

const refused: { name: string; asked: Asked; reason: string }[] = [
  { name: "POST", asked: { method: "POST" }, reason: "MethodNotAllowed" },
  { name: "DELETE", asked: { method: "DELETE" }, reason: "MethodNotAllowed" },
  {
    name: "protobuf",
    asked: { type: "application/vnd.kubernetes.protobuf" },
    reason: "UnsupportedMediaType",
  },
  { name: "a body beyond 3 MiB", asked: { body: new Uint8Array(3145729) }, reason: "RequestEntityTooLarge" },
  {
    name: "an upgrade",
    asked: { upgrade: { accept: () => assert.fail(), answerRaw: () => assert.fail() } },
    reason: "BadRequest",
  },
];
for (const { name, asked, reason } of refused) {
  Deno.test(`debug refuses ${name} before anything is asked`, async () => {
    const { api, refusal } = await ask(asked);
    assert.equal(refusal?.reason, reason);
    assert.equal(api.asked.length, 0);
  });
}

Deno.test("who is nobody is told so before the body is read", async () => {
  const body = new ReadableStream({ pull: () => assert.fail("the body was read") }, { highWaterMark: 0 });
  const authenticate = () => Promise.reject(new Refusal("Unauthorized", "Unauthorized"));
  assert.equal((await ask({ body, gate: { authenticate } })).refusal?.reason, "Unauthorized");
});
