/** `postern doctor` in front of the embedded cluster, each fault made for real. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { postern } from "../../cli/postern.ts";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import { EmbeddedCluster } from "../../demo/embedded_cluster.ts";
import { kubeconfig } from "../../demo/kubeconfig.ts";
import { GATEWAY_USER, tokenOf } from "../../demo/manifest.ts";
import type { Policy, PolicyRule } from "../../demo/rbac/evaluate.ts";
import { issue, makeCa } from "../support/certificates.ts";

/** The report, as docs/doctor.md describes it. */
const Report = z.strictObject({
  apiVersion: z.literal("postern.dev/v1alpha1"),
  kind: z.literal("DoctorReport"),
  ok: z.boolean(),
  findings: z.array(z.strictObject({
    check: z.string(),
    status: z.enum(["ok", "note", "wrong", "unknown"]),
    message: z.string(),
    remedy: z.string().optional(),
    grant: z.strictObject({
      subject: z.strictObject({
        kind: z.enum(["User", "Group", "ServiceAccount"]),
        name: z.string(),
        namespace: z.string().optional(),
      }),
      permissions: z.array(z.string()).min(1),
      namespace: z.string().optional(),
      resourceNames: z.array(z.string()).optional(),
      binding: z.strictObject({
        kind: z.enum(["RoleBinding", "ClusterRoleBinding"]),
        name: z.string(),
        namespace: z.string().optional(),
      }),
      role: z.strictObject({ kind: z.enum(["Role", "ClusterRole"]), name: z.string() }),
      aggregatedFrom: z.array(z.string()).optional(),
    }).optional(),
  })),
});

/** A cluster, and a folder with what its gateway reads. */
class Ward implements AsyncDisposable {
  private constructor(readonly cluster: EmbeddedCluster, readonly folder: string) {}

  static async open(): Promise<Ward> {
    const folder = await Deno.makeTempDir();
    const cluster = await EmbeddedCluster.start({ folder });
    const ward = new Ward(cluster, folder);
    const { cert, key } = cluster.gatewayCertificate;
    const signing = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
    await ward.write("gateway.crt", cert);
    await ward.write("gateway.key", key);
    await ward.write("recordings.key", signing.toString());
    await ward.write("gateway.kubeconfig", ward.kubeconfigOf(GATEWAY_USER));
    return ward;
  }

  kubeconfigOf(user: string, ca = this.cluster.ca, server = this.cluster.apiServer): string {
    return kubeconfig({
      server,
      ca,
      users: [{ name: user, token: tokenOf(this.cluster.state.users, user) }],
    });
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  async write(name: string, text: string, mode = 0o600): Promise<string> {
    await Deno.writeTextFile(this.at(name), text);
    await Deno.chmod(this.at(name), mode);
    return this.at(name);
  }

  /** A configuration with these sections in the place of the usual ones. */
  async configure(sections: Partial<GivenConfiguration> = {}): Promise<string> {
    return await this.write(
      "gateway.yaml",
      stringify({
        apiVersion: "postern.dev/v1alpha1",
        kind: "GatewayConfiguration",
        server: { tls: { certFile: "gateway.crt", keyFile: "gateway.key" } },
        kubernetes: { kubeconfig: "gateway.kubeconfig" },
        upstream: { kubelet: { allowedAddresses: ["127.0.0.0/8"] } },
        audit: { sinks: [{ type: "file", path: "audit.log" }] },
        recording: { signingKeyFile: "recordings.key", sink: { type: "folder", path: "recordings" } },
        ...sections,
      }),
    );
  }

  /** Runs the doctor. @returns the findings that are not as they should be, with the exit code */
  async examine(sections: Partial<GivenConfiguration> = {}, ...args: string[]) {
    const config = await this.configure(sections);
    const { code, out, error } = await run("doctor", "--config", config, "--output", "json", ...args);
    assert.notEqual(out, "", error);
    const report = Report.parse(JSON.parse(out));
    assert.equal(report.ok, code === 0);
    const wrong = report.findings.filter(({ status }) => status === "wrong");
    for (const { message, remedy } of wrong) assert.ok(remedy, `it says how to mend: ${message}`);
    return {
      code,
      out,
      findings: report.findings,
      wrong: wrong.map(({ check, message }) => `${check}: ${message}`),
    };
  }

  /** While `test` runs, RBAC is as `change` makes it. */
  async withPolicy(change: (policy: Policy) => Policy, test: () => Promise<void>): Promise<void> {
    const { state } = this.cluster;
    const before = state.policy;
    state.policy = change(before);
    try {
      await test();
    } finally {
      state.policy = before;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function run(...args: string[]) {
  let [out, error] = ["", ""];
  const code = await postern(args, { out: (text) => out += text, error: (text) => error += text });
  return { code, out, error };
}

/** The gateway's role without a resource. */
function without(resource: string) {
  return (policy: Policy): Policy => ({
    ...policy,
    roles: policy.roles.map((role) =>
      role.name === "postern"
        ? { ...role, rules: role.rules.filter((rule) => !rule.resources?.includes(resource)) }
        : role
    ),
  });
}

/** One more cluster role, and a binding of the same name. */
function granting(subject: Policy["bindings"][number]["subjects"][number], rule: PolicyRule, name = "more") {
  return (policy: Policy): Policy => ({
    roles: [...policy.roles, { name, namespace: undefined, rules: [rule] }],
    bindings: [...policy.bindings, {
      name,
      namespace: undefined,
      subjects: [subject],
      roleRef: { kind: "ClusterRole", name },
    }],
  });
}

const GATEWAY = { kind: "ServiceAccount", name: "postern", namespace: "postern-system" } as const;

/** What listens, answers each request with a status, and keeps what it was sent. */
function receiver(status: number) {
  const bodies: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    bodies.push(await request.text());
    return new Response(null, { status });
  });
  return { url: `http://127.0.0.1:${server.addr.port}/`, bodies, close: () => server.shutdown() };
}

Deno.test({
  name: "postern doctor",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using ward = await Ward.open();
    const step = (name: string, fn: () => Promise<void>) => t.step({ name, fn });

    await step("finds nothing wrong with what is well, and changes nothing", async () => {
      const { code, wrong, findings } = await ward.examine();
      assert.deepEqual([code, wrong], [0, []]);
      const of = (check: string) => findings.filter((one) => one.check === check).map(({ status }) => status);
      assert.deepEqual([of("api-server"), of("clock"), of("kubelets"), of("rbac")], [["ok"], ["ok"], ["ok"], [
        "ok",
      ]]);
      // The gateway's own rights do not reach RBAC.
      assert.deepEqual(of("bypass"), ["unknown"]);
      await assert.rejects(Deno.stat(ward.at("audit.log")), Deno.errors.NotFound);
      await assert.rejects(Deno.stat(ward.at("recordings")), Deno.errors.NotFound);
    });

    await step(
      "finds a right that was taken from the gateway",
      () =>
        ward.withPolicy(without("subjectaccessreviews"), async () => {
          const { code, wrong } = await ward.examine();
          assert.equal(code, 1);
          assert.match(wrong.join("\n"), /^rbac: .*may not create subjectaccessreviews in authorization/m);
        }),
    );

    await step(
      "finds that tokens cannot be reviewed",
      () =>
        ward.withPolicy(without("tokenreviews"), async () => {
          const { wrong } = await ward.examine();
          assert.match(wrong.join("\n"), /^token-review: tokens cannot be reviewed: .*403/m);
        }),
    );

    await step(
      "finds that kubelets would refuse the gateway, by asking one",
      () =>
        ward.withPolicy(without("nodes/proxy"), async () => {
          const { wrong } = await ward.examine();
          assert.match(
            wrong.join("\n"),
            /^kubelets: the kubelet of \S+ \(127\.0\.0\.1:\d+\) refuses the gateway$/m,
          );
        }),
    );

    const reads: PolicyRule = { apiGroups: [""], resources: ["secrets"], verbs: ["list"] };
    await step(
      "names what the gateway may do and does not need",
      () =>
        ward.withPolicy(granting(GATEWAY, reads), async () => {
          const { wrong } = await ward.examine();
          assert.equal(wrong.length, 1);
          assert.match(
            wrong[0] ?? "",
            /^rbac-excess: the gateway \(system:serviceaccount:.*\) may list secrets, /,
          );
        }),
    );

    await step(
      "names the binding of it, where an administrator asks",
      () =>
        ward.withPolicy(granting(GATEWAY, reads), async () => {
          const admin = await ward.write("root", ward.kubeconfigOf("root"));
          const { wrong } = await ward.examine(
            {},
            ...["--kubeconfig", admin, "--service-account", "postern-system/postern", "--skip", "bypass"],
          );
          assert.equal(wrong.length, 1);
          assert.match(wrong[0] ?? "", /may list secrets, by ClusterRoleBinding more \(ClusterRole more\)/);
        }),
    );

    await step("finds an API server that is signed by somebody else, and says it once", async () => {
      const { cert } = await makeCa("somebody else");
      await ward.write("other", ward.kubeconfigOf(GATEWAY_USER, cert));
      const { code, wrong, findings } = await ward.examine({ kubernetes: { kubeconfig: "other" } });
      assert.deepEqual([code, wrong.length], [1, 1]);
      assert.match(wrong[0] ?? "", /^api-server: .* is not trusted: /);
      assert.ok(findings.some(({ check, status }) => check === "bypass" && status === "unknown"));
    });

    await step("finds an API server that is not there", async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const server = `https://127.0.0.1:${listener.addr.port}`;
      listener.close();
      await ward.write("gone", ward.kubeconfigOf(GATEWAY_USER, ward.cluster.ca, server));
      const { wrong } = await ward.examine({ kubernetes: { kubeconfig: "gone" } });
      assert.match(wrong.join(), /^api-server: .* cannot be reached: /);
    });

    await step("finds kubelets that are signed by somebody else", async () => {
      await ward.write("kubelets.crt", (await makeCa("somebody else")).cert);
      const kubelet = { allowedAddresses: ["127.0.0.0/8"], caFile: "kubelets.crt" };
      const { wrong } = await ward.examine({ upstream: { kubelet } });
      assert.match(wrong.join(), /^kubelets: the kubelet of .* is not trusted: /);
    });

    await step(
      "finds kubelets of another name than is configured, and takes them by a name that they have",
      async () => {
        const allowedAddresses = ["127.0.0.0/8"];
        const other = { kubelet: { allowedAddresses, serverName: "somebody.else" } };
        assert.match(
          (await ward.examine({ upstream: other })).wrong.join(),
          /^kubelets: .* is not trusted: /,
        );
        const address = { kubelet: { allowedAddresses, serverName: "192.0.2.7" } };
        assert.match(
          (await ward.examine({ upstream: address })).wrong.join(),
          /^kubelets: .* is not trusted: /,
        );
        const own = { kubelet: { allowedAddresses, serverName: "localhost" } };
        assert.deepEqual((await ward.examine({ upstream: own })).wrong, []);
      },
    );

    await step("finds kubelets that anybody could stand in for", async () => {
      const kubelet = { allowedAddresses: ["127.0.0.0/8"], insecureSkipTLSVerify: true };
      const { wrong } = await ward.examine({ upstream: { kubelet } });
      assert.equal(wrong.length, 1);
      assert.match(wrong[0] ?? "", /^kubelets: .* is not verified: /);
    });

    await step("finds kubelets outside of the ranges, which are dialled by nobody", async () => {
      const { wrong } = await ward.examine({ upstream: { kubelet: { allowedAddresses: ["10.0.0.0/8"] } } });
      assert.match(wrong.join(), /^kubelets: .* may not be dialled: 127\.0\.0\.1 is outside/);
    });

    await step("finds a certificate that has expired", async () => {
      const day = 86_400_000;
      const times = { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - day) };
      const { cert, key } = await issue(await makeCa(), times);
      const tls = { certFile: await ward.write("old.crt", cert), keyFile: await ward.write("old.key", key) };
      const { wrong } = await ward.examine({ server: { tls } });
      assert.match(wrong.join(), /^certificates: the serving certificate .*old\.crt expired at /);
    });

    await step("finds a signing key that others can read", async () => {
      await Deno.chmod(ward.at("recordings.key"), 0o644);
      const { wrong } = await ward.examine();
      await Deno.chmod(ward.at("recordings.key"), 0o600);
      assert.match(wrong.join(), /^keys: the signing key .* is open to everybody .*mode 0644/);
    });

    await step("finds folders that cannot be written to", async () => {
      // Below a file there are no folders, whoever asks.
      const { wrong } = await ward.examine({
        audit: { sinks: [{ type: "file", path: "gateway.crt/audit.log" }] },
        recording: {
          signingKeyFile: "recordings.key",
          sink: { type: "folder", path: "gateway.key/recordings" },
        },
      });
      assert.match(wrong.join("\n"), /^sinks: audit file .*gateway\.crt\/audit\.log: /m);
      assert.match(wrong.join("\n"), /^sinks: folder of recordings .*gateway\.key\/recordings: /m);
    });

    await step("posts nothing but an empty list to a receiver, and tells what it answers", async () => {
      const [well, refusing] = [receiver(200), receiver(401)];
      try {
        const spool = { directory: "spool" };
        const { wrong } = await ward.examine({
          audit: {
            sinks: [
              { type: "webhook", url: well.url, spool },
              { type: "otlp", url: refusing.url },
              { type: "stdout" },
            ],
          },
        });
        assert.equal(wrong.length, 1);
        assert.match(wrong[0] ?? "", /^sinks: otlp sink .*: the receiver refuses our credentials \(401\)$/);
        assert.deepEqual(well.bodies.map((body) => JSON.parse(body).items), [[]]);
        assert.deepEqual(refusing.bodies, ['{"resourceLogs":[]}']);
      } finally {
        await Promise.all([well.close(), refusing.close()]);
      }
    });

    await step("finds a receiver and a store that are not there", async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const url = `http://127.0.0.1:${listener.addr.port}`;
      listener.close();
      const secret = await ward.write("secret", "sesame");
      const { wrong, out } = await ward.examine({
        audit: { sinks: [{ type: "otlp", url }, { type: "stdout" }] },
        recording: {
          signingKeyFile: "recordings.key",
          sink: {
            type: "s3",
            endpoint: url,
            region: "here",
            bucket: "bucket",
            accessKeyIdFile: secret,
            secretAccessKeyFile: secret,
          },
        },
      });
      assert.match(wrong.join("\n"), /^sinks: otlp sink .*no answer/m);
      assert.match(wrong.join("\n"), /^sinks: recording store .*cannot be reached/m);
      assert.doesNotMatch(out, /sesame/);
    });

    await step("tells whether the gateway would know a user by their token", async () => {
      const alice = await ward.write("alice", tokenOf(ward.cluster.state.users, "alice"));
      const { findings } = await ward.examine({}, "--token-file", alice);
      const [review] = findings.filter(({ check }) => check === "token-review");
      assert.deepEqual([review?.status, review?.message.split(",")[0]], ["ok", "the token is that of alice"]);
      const nobody = await ward.write("nobody", "sesame");
      const { wrong, out } = await ward.examine({}, "--token-file", nobody);
      assert.match(wrong.join(), /^token-review: the token is nobody's/);
      assert.doesNotMatch(out, /sesame/);
    });

    await step("names everybody who can go around, by which binding, to who may read RBAC", async () => {
      const admin = await ward.write("root", ward.kubeconfigOf("root"));
      const asAdmin = ["--kubeconfig", admin, "--service-account", "postern-system/postern"];
      const { code, findings } = await ward.examine({}, ...asAdmin);
      assert.equal(code, 1);
      const who = findings.flatMap(({ status, grant }) =>
        grant === undefined
          ? []
          : [`${status} ${grant.subject.kind} ${grant.subject.name} by ${grant.binding.name}`]
      );
      assert.deepEqual(who, [
        "note ServiceAccount postern by postern",
        "wrong User alice by developer",
        "wrong User root by root",
      ]);
      const accepted = ["--accept", "User:alice", "--accept", "User:root"];
      assert.equal((await ward.examine({}, ...asAdmin, ...accepted)).code, 0);
    });

    await step(
      "attack: bare get of nodes/proxy opens a WebSocket at a kubelet, and is seen",
      () =>
        ward.withPolicy(
          granting({ kind: "Group", name: "metrics" }, {
            apiGroups: [""],
            resources: ["nodes/proxy"],
            verbs: ["get"],
          }),
          async () => {
            const admin = await ward.write("root", ward.kubeconfigOf("root"));
            const { wrong } = await ward.examine({}, "--kubeconfig", admin);
            assert.match(wrong.join("\n"), /^bypass: Group metrics can go around .*: get nodes\/proxy, by/m);
          },
        ),
    );

    await step("attack: a binding's name moves no cursor of who reads the report", () =>
      ward.withPolicy(
        granting({ kind: "User", name: "\x1b[2Jeve\u202e\u0085" }, {
          apiGroups: ["*"],
          resources: ["*"],
          verbs: ["*"],
        }),
        async () => {
          const admin = await ward.write("root", ward.kubeconfigOf("root"));
          const config = await ward.configure();
          for (const format of ["text", "json"]) {
            const { out } = await run("doctor", "-c", config, "--kubeconfig", admin, "--output", format);
            assert.match(out, /eve/);
            assert.doesNotMatch(out.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u, format);
          }
        },
      ));

    await step("says in words what it found, and how to mend it", async () => {
      const config = await ward.configure({ upstream: { kubelet: { allowedAddresses: ["10.0.0.0/8"] } } });
      const { code, out } = await run("doctor", "--config", config);
      assert.equal(code, 1);
      assert.match(out, /^ok {7}version: postern /m);
      assert.match(
        out,
        /^WRONG {4}kubelets: .*\n {9}mend it: put the range that nodes are in into `upstream/m,
      );
      assert.match(out, /\n\n1 wrong, 1 unknown, 0 to note, \d+ ok\n$/);
    });
  },
});

const usages = [
  { args: ["--output", "xml"], says: /expected text or json/ },
  { args: ["--skip", "nothing"], says: /expected one of version, certificates/ },
  { args: ["--accept", "alice"], says: /expected User:NAME/ },
  { args: ["--service-account", "postern"], says: /expected NAMESPACE\/NAME/ },
  { args: ["--context", "x"], says: /expected --kubeconfig with --context/ },
];
for (const { args, says } of usages) {
  Deno.test(`postern doctor ${args.join(" ")} exits with 2`, async () => {
    const { code, out, error } = await run("doctor", ...args);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(error, says);
  });
}
