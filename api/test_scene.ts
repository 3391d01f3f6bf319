/** The API behind the gateway's own router, with an API server, an index, a store and sessions that a test makes up. */

import assert from "node:assert/strict";
import { KEEP_SECRETS_IN_CLEAR } from "../audit/argv/argv_mask.ts";
import type { AuditEvent } from "../audit/event.ts";
import type { ResourceAttributes } from "../authz/authorize.ts";
import { unauthorized } from "../authz/credential.ts";
import { impersonate } from "../authz/impersonate.ts";
import type { User } from "../authz/user.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { openCatalog } from "../catalog/open_catalog.ts";
import { Refusal, type Status } from "../kube/status.ts";
import { type RecordingStore, StoreError } from "../recording/store.ts";
import { createApp } from "../routes/app.ts";
import type { Gate } from "../routes/gate.ts";
import type { HeaderLine } from "../routes/handler.ts";
import { Rechecks } from "../routes/rechecks.ts";
import { type SessionFacts, SessionRegistry } from "../routes/session_registry.ts";
import { Readiness } from "../routes/readiness.ts";
import { SessionSlots } from "../routes/session_slots.ts";
import { createApi } from "./api.ts";

/** The audit ID of the session that tests are about. */
export const ID = "11111111-2222-4333-8444-555555555555";
/** One that nothing is known of. */
export const UNKNOWN = "99999999-2222-4333-8444-555555555555";

export const PREFIX = "/postern/v1";
export const SESSION = `${PREFIX}/sessions/${ID}`;

/** A session in namespace `default`. */
export const FACTS: SessionFacts = {
  auditId: ID,
  kind: "exec",
  namespace: "default",
  pod: "web",
  username: "alice",
  startedAt: new Date("2026-11-21T12:00:00Z"),
  recording: `2026/11/21/${ID}.rec`,
};

/** A request of a test. */
export interface Asked {
  /** The token is the name; `null`: none is shown. @default {"root"} */
  user?: string | null;
  method?: string;
  headers?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

export class Scene {
  readonly events: AuditEvent[] = [];
  readonly sessions = new SessionRegistry();
  readonly reported: string[] = [];
  /** Every question to the API server, in short. */
  readonly asked: string[] = [];
  /** What went past the gateway's own routes. */
  readonly forwarded: string[] = [];
  /** `<user> <verb> <resource> <namespace or *>`. */
  grants: string[] = [
    "root list sessions *",
    "root get sessions *",
    "root watch sessions *",
    "root delete sessions *",
    "root get recordings *",
  ];
  readonly readiness = new Readiness();
  files = new Map<string, Uint8Array<ArrayBuffer>>();
  isAuditDown = false;
  /** A token that is no longer good. */
  revoked: string | undefined;
  hasStore = true;
  /** After how many bytes the store breaks off. */
  breaksAfter: number | undefined;
  /** How often bytes of the store were asked for. */
  reads = 0;
  readonly #rechecks = new Rechecks({ periodMs: 40, graceMs: 60_000 });

  constructor(public catalog?: Catalog) {}

  async ask(rawTarget: string, { user = "root", method = "GET", headers = {}, signal }: Asked = {}) {
    const lines: HeaderLine[] = Object.entries(headers);
    if (user !== null) lines.push(["Authorization", `Bearer ${user}`]);
    const context = {
      remoteAddress: "192.0.2.1",
      remotePort: 1,
      rawTarget,
      rawHeaders: lines,
      signal: signal ?? new AbortController().signal,
      ...(headers.Upgrade !== undefined && {
        upgrade: { accept: () => assert.fail("accepted"), answerRaw: () => assert.fail("raw") },
      }),
    };
    const request = new Request(new URL(rawTarget, "https://gateway.invalid"), {
      method,
      headers: lines.map(([name, value]) => [name, value]),
    });
    return await this.#app()(request, context);
  }

  /** A refusal: its code, and what it says. */
  async refused(rawTarget: string, asked: Asked = {}): Promise<Status> {
    const response = await this.ask(rawTarget, asked);
    const status: Status = await response.json();
    assert.deepEqual([status.kind, status.status, status.code], ["Status", "Failure", response.status]);
    return status;
  }

  #app() {
    const never = () => Promise.reject(new Error("this is no session"));
    const askedOfSessions = { authorize: never, authorizeNodeProxy: never, decide: never };
    const steps: Pick<Gate, "authenticate" | "impersonate"> = {
      authenticate: (token) => {
        if (token === "nobody" || token === this.revoked) return Promise.reject(unauthorized());
        return Promise.resolve({ username: token, uid: "", groups: [], extra: {} });
      },
      impersonate: (user, headers, signal) =>
        impersonate(
          {
            require: (asking, attributes) => {
              if (asking.username === "root") return Promise.resolve();
              return Promise.reject(new Refusal("Forbidden", `may not impersonate ${attributes.name}`));
            },
          },
          user,
          headers,
          signal,
        ),
    };
    return createApp({
      ...steps,
      journal: {
        append: (events) => {
          if (this.isAuditDown) return Promise.reject(new Error("no space left on device"));
          this.events.push(...events);
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
        status: () => ({ healthy: true, sinks: [] }),
      },
      report: (message) => void this.reported.push(message),
      forward: ({ target }) => {
        this.forwarded.push(target);
        return Promise.resolve(new Response("from the API server"));
      },
      api: createApi({
        access: (user, attributes) => Promise.resolve(this.#access(user.username, attributes)),
        catalog: this.catalog,
        sessions: this.sessions,
        store: () => Promise.resolve(this.hasStore ? this.#store() : undefined),
      }, { heartbeatMs: 20, endWaitMs: 50 }),
      dial: () => assert.fail("this is no session"),
      rechecks: { schedule: this.#rechecks, steps: { ...steps, ...askedOfSessions, require: this.#require } },
      ...{ resolve: never, ...askedOfSessions, record: never },
      ...{ open: never, require: never, readPod: never, decideAddition: never, isClusterAdmin: never },
      limits: { setupTimeoutMs: 0, idleTimeoutMs: 0, pingMs: 0, silenceMs: 0, lingerMs: 0 },
      forwarding: { checkPort: () => undefined, maxConnections: 1 },
      proxies: { nodes: "deny", pods: "deny", services: "deny" },
      commandMask: KEEP_SECRETS_IN_CLEAR,
      slots: new SessionSlots(1),
      sessions: this.sessions,
    }, this.readiness);
  }

  readonly #require = (user: User, attributes: ResourceAttributes): Promise<void> => {
    const { allowed } = this.#access(user.username, attributes);
    return allowed
      ? Promise.resolve()
      : Promise.reject(new Refusal("Forbidden", `may not ${attributes.verb}`));
  };

  #access(user: string, { verb, group, resource, namespace, name }: ResourceAttributes) {
    const question = `${user} ${verb} ${resource}.${group} ${namespace ?? "*"} ${name ?? "*"}`;
    this.asked.push(question);
    const wanted = [`${user} ${verb} ${resource} *`, `${user} ${verb} ${resource} ${namespace ?? "*"}`];
    const allowed = group === "postern.dev" && wanted.some((each) => this.grants.includes(each));
    return { allowed, reason: allowed ? "RBAC: allowed by a role" : "" };
  }

  #store(): Pick<RecordingStore, "open" | "list"> {
    const { files, breaksAfter } = this;
    return {
      open: (path, { offset = 0, end } = {}) => {
        this.reads++;
        const bytes = files.get(path);
        if (bytes === undefined) return Promise.reject(new StoreError("not_found", "none"));
        const wanted = bytes.slice(offset, end);
        return Promise.resolve(ReadableStream.from(async function* () {
          yield wanted.slice(0, breaksAfter);
          if (breaksAfter !== undefined) throw new StoreError("unavailable", "the store does not answer");
        }()));
      },
      list: async function* (prefix) {
        for (const [path, { length: bytes }] of files) {
          if (path.startsWith(prefix)) yield { path, bytes, modifiedAt: new Date(0) };
        }
      },
    };
  }
}

/** `<event> <user> <verb> <resource> <namespace>/<name> <code>` of every event. */
export function brief(events: readonly AuditEvent[]): string[] {
  return events.map(({ annotations, user, verb, objectRef, responseStatus }) => {
    const about = `${objectRef?.resource ?? ""} ${objectRef?.namespace ?? ""}/${objectRef?.name ?? ""}`;
    return `${annotations["postern.dev/event"]} ${user.username ?? ""} ${verb} ${about} ${
      responseStatus?.code ?? ""
    }`
      .trim();
  });
}

/** An index that knows one session, {@linkcode FACTS}, which it calls live. */
function smallCatalog(): Catalog {
  const { namespace, pod, recording } = FACTS;
  const row = { auditId: ID, startedAt: "2026-11-21T12:00:00.000000Z", namespace, pod, recording };
  const detail = { ...row, decisions: [], streams: [], connections: [], more: false };
  const nothing = () => Promise.resolve(undefined);
  return {
    ...{ name: "small", apply: nothing, progress: nothing, close: nothing },
    sessions: () => Promise.resolve([row]),
    session: (auditId) => Promise.resolve(auditId === ID ? detail : undefined),
  };
}

/** Registers a test with a scene; with the real index, where one is asked for. */
export function apiTest(
  name: string,
  body: (scene: Scene) => Promise<void>,
  { index = "none" }: { index?: "none" | "small" | "real" } = {},
): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      if (index !== "real") return await body(new Scene(index === "small" ? smallCatalog() : undefined));
      const folder = await Deno.makeTempDir({ prefix: "postern-api-" });
      const catalog = await openCatalog({
        type: "sqlite",
        sqlite: { path: `${folder}/index.sqlite` },
        postgresql: { urlFile: "", maxConnections: 2 },
      });
      try {
        await body(new Scene(catalog));
      } finally {
        await catalog?.close();
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
