/** `postern doctor` in front of the real cluster: each fault is made for real, by a gateway's account that is this test's own. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { issue as issueByCluster, parseAuthority } from "../cluster/certificates.ts";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import { layout } from "../cluster/layout.ts";
import { issue, makeCa } from "../support/certificates.ts";
import { tokenOf } from "./support/cluster.ts";
import { issueToken } from "./support/service_account.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { eventually } from "./support/wait.ts";
import { KUBELET, NEEDED, readReport, runPostern, Ward } from "./support/ward.ts";

const DAY_MS = 86_400_000;

/** Rights come to the API server's authorizer a moment after they are written; how long, a machine's load says. */
const SOON = { deadlineMs: 60_000 };

Deno.test({
  name: "postern doctor, on the real cluster",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using ward = await Ward.open();

    await t.step("finds nothing wrong with a gateway that has the rights that the chart grants", async () => {
      // A kubelet remembers a refusal for half a minute: it is asked once the rights are known.
      await eventually("the rights are known", async () => {
        return (await ward.asGateway({}, "--skip", "kubelets")).code === 0 || undefined;
      }, SOON);
      const { code, wrong, findings } = await ward.asGateway();
      assert.deepEqual([code, wrong], [0, []]);
      // All is well, but for what the gateway may not know.
      const else_ = findings.filter(({ status }) => status !== "ok").map(({ check }) => check);
      assert.deepEqual(else_, ["bypass"]);
    });

    await t.step(
      "is a command that its task's permissions suffice for, and whose exit code says it",
      async () => {
        const config = await ward.configure();
        const well = await runPostern("doctor", "--config", config, "--node", "node1", "--output", "json");
        assert.equal(well.code, 0, well.error);
        assert.deepEqual(readReport(well.code, well.out).wrong, []);
        assert.equal(well.error, "");
        // From elsewhere, as whoever administers the cluster; alice may exec by herself.
        const around = await runPostern("doctor", "--config", config, ...ward.administrator());
        assert.equal(around.code, 1, around.error);
        assert.match(
          around.out,
          /^WRONG {4}bypass: User alice can go around the gateway in namespace default: /m,
        );
        assert.match(around.out, /^ {9}mend it: take the subject out of it \(kubectl edit rolebinding /m);
        assert.match(around.out, /^\d+ wrong, \d+ unknown, \d+ to note, \d+ ok$/m);
      },
    );

    for (const { resources: [resource = ""] } of NEEDED) {
      await t.step(`finds that the right to ${resource} was taken away`, async () => {
        await ward.grant(NEEDED.filter(({ resources }) => !resources.includes(resource)));
        const says = new RegExp(`^rbac: .* may not (create|get) ${resource}\\b(?!/)`);
        await ward.finds(`the right to ${resource} is gone`, says, "--skip", "kubelets");
      });
    }

    await t.step("finds that the kubelet refuses whom RBAC does", async () => {
      await ward.grant(NEEDED);
      // Another account: a kubelet remembers for minutes whom it has let in.
      await using stranger = await Ward.open(
        NEEDED.filter(({ resources }) => !resources.includes("nodes/proxy")),
      );
      await stranger.finds("it refuses", /^kubelets: the kubelet of node1 .* refuses the gateway$/);
    });

    await t.step("knows that each way to the pods takes other rights", async () => {
      const upstream = { mode: "apiserver", apiserver: { identity: "gateway" } } as const;
      await eventually("it has the rights of the way by kubelets", async () => {
        return (await ward.asGateway({}, "--skip", "kubelets")).code === 0 || undefined;
      }, SOON);
      const { wrong } = await ward.asGateway({ upstream });
      for (const subresource of ["exec", "attach", "portforward"]) {
        assert.match(wrong.join("\n"), new RegExp(`^rbac: .* may not create pods/${subresource}: `, "m"));
      }
      assert.match(wrong.join("\n"), /^rbac-excess: .* may create nodes\/proxy, which it does not need$/m);
    });

    await t.step("names a right that is not needed, and to an administrator the binding", async () => {
      await ward.grant([...NEEDED, { apiGroups: [""], resources: ["secrets"], verbs: ["list"] }]);
      await ward.finds("secrets are too much", /^rbac-excess: .* may list secrets, which it does not need$/);
      const { wrong } = await ward.asAdministrator("--skip", "bypass");
      const by = new RegExp(
        `may list secrets, by ClusterRoleBinding ${ward.name} \\(ClusterRole ${ward.name}\\)`,
      );
      assert.match(wrong.join("\n"), by);
      await ward.grant([{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }]);
      await ward.finds("all is too much", /^rbac-excess: .* may \* \* in \*, by ClusterRoleBinding /);
      await ward.grant(NEEDED);
    });

    await t.step(
      "finds an API server that is not reached, not trusted, or does not know the gateway",
      async () => {
        const { cert } = await makeCa("somebody else");
        const ca = await Deno.readTextFile(ward.cluster.paths.caCertificate);
        const rows = [
          [{ token: "none", ca: cert }, "is not trusted"],
          [{ token: "none", ca }, "does not know the gateway's credentials"],
          [{ token: "none", ca, server: `https://127.0.0.1:${closedPort()}` }, "cannot be reached"],
        ] as const;
        for (const [kubeconfig, says] of rows) {
          await ward.write("other", ward.kubeconfig(kubeconfig));
          const { wrong } = await ward.asGateway({ kubernetes: { kubeconfig: "other" } });
          assert.match(wrong.join("\n"), new RegExp(`^api-server: the API server \\S+ ${says}`, "m"));
        }
      },
    );

    await t.step("finds kubelets that are not reached, not trusted, or not where they may be", async () => {
      await ward.write("stranger.crt", (await makeCa("somebody else")).cert);
      const rows: [Partial<GivenConfiguration["upstream"] & object>["kubelet"], string][] = [
        [{ caFile: "stranger.crt" }, "is not trusted: "],
        [{ port: closedPort() }, "cannot be reached: "],
        [{ allowedAddresses: ["10.0.0.0/8"] }, "may not be dialled: "],
        [{ insecureSkipTLSVerify: true }, "is not verified: "],
      ];
      for (const [kubelet, says] of rows) {
        const { wrong } = await ward.asGateway({ upstream: { kubelet: { ...KUBELET, ...kubelet } } });
        assert.match(wrong.join("\n"), new RegExp(`^kubelets: the kubelet of node1 \\S+ ${says}`, "m"));
      }
    });

    await t.step("finds a clock that is behind the API server's", async () => {
      await using ahead = await serverWithClock(ward, 90_000);
      const kubeconfig = await ward.write("ahead", await Deno.readTextFile(join(ward.folder, "kubeconfig")));
      const text = await Deno.readTextFile(kubeconfig);
      await Deno.writeTextFile(kubeconfig, text.replace(ward.cluster.apiServerUrl, ahead.url));
      const { wrong } = await ward.asGateway({ kubernetes: { kubeconfig: "ahead" } });
      assert.equal(wrong.length, 1, wrong.join("\n"));
      assert.match(wrong[0] ?? "", /^clock: this machine's clock is (8\d|90) s behind the API server's$/);
    });

    await t.step("finds a certificate that has ended, or will soon, or is another key's", async () => {
      const ca = await makeCa();
      const other = await issue(ca);
      const rows = [
        [-9 * DAY_MS, -DAY_MS, "expired at "],
        [-99 * DAY_MS, 5 * DAY_MS, "expires soon, at "],
        [DAY_MS, 9 * DAY_MS, "is not valid before "],
        [0, 99 * DAY_MS, "does not belong to the serving certificate "],
      ] as const;
      for (const [fromMs, toMs, says] of rows) {
        const now = Date.now();
        const leaf = await issue(ca, { notBefore: new Date(now + fromMs), notAfter: new Date(now + toMs) });
        const key = says.startsWith("does not belong") ? other.key : leaf.key;
        const tls = {
          certFile: await ward.write("tls.crt", leaf.cert),
          keyFile: await ward.write("tls.key", key),
        };
        const { wrong } = await ward.asGateway({ server: { tls } });
        assert.equal(wrong.length, 1, wrong.join("\n"));
        assert.ok(wrong[0]?.startsWith("certificates: ") && wrong[0].includes(says), wrong[0]);
      }
    });

    await t.step("finds a signing key that others may read, and one that is none", async () => {
      const key = join(ward.folder, "recordings.key");
      await Deno.chmod(key, 0o644);
      const open = await ward.asGateway();
      assert.match(open.wrong.join("\n"), /^keys: the signing key \S+ is open to everybody .*\(mode 0644\)$/);
      await Deno.chmod(key, 0o600);
      assert.deepEqual((await ward.asGateway()).wrong, []);
      await ward.write("not.key", (await issue(await makeCa())).key);
      const recording = { sink: { type: "folder", path: "recordings" }, signingKeyFile: "not.key" } as const;
      const none = await ward.asGateway({ recording });
      assert.match(none.wrong.join("\n"), /^keys: the signing key \S+ is no Ed25519 private key in PEM$/);
    });

    await t.step(
      "finds folders, a spool and an index that cannot be written to, as they are or for want of room",
      async () => {
        await using disk = await SmallDisk.mount(256 << 10);
        const at = (name: string) => join(disk.folder, name);
        const sections: Partial<GivenConfiguration> = {
          audit: {
            sinks: [
              { type: "file", path: at("audit.log") },
              { type: "webhook", url: "http://127.0.0.1:9/", spool: { directory: at("spool") } },
            ],
          },
          recording: { signingKeyFile: "recordings.key", sink: { type: "folder", path: at("recordings") } },
          index: { type: "sqlite", sqlite: { path: at("index.db") } },
        };
        await disk.fill(at("ballast"));
        const full = await ward.asGateway(sections);
        // An empty file takes no room; whether there is some is found out by those that write blocks.
        for (const what of ["audit file", "spool of the webhook sink", "folder of recordings", "index"]) {
          assert.match(full.wrong.join("\n"), new RegExp(`^sinks: ${what} \\S+: No space left`, "m"));
        }
        await mount("-o", "remount,ro", disk.folder);
        const locked = await ward.asGateway(sections);
        for (const what of ["audit file", "spool of the webhook sink", "folder of recordings", "index"]) {
          assert.match(
            locked.wrong.join("\n"),
            new RegExp(`^sinks: ${what} \\S+: Read-only file system`, "m"),
          );
        }
      },
    );

    await t.step("finds a receiver that refuses events, and one that is not there", async () => {
      await using receiver = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: () => {} },
        ({ url }) => new Response(null, { status: url.endsWith("/refuses") ? 403 : 200 }),
      );
      const base = `http://127.0.0.1:${receiver.addr.port}`;
      const sink = (type: "webhook" | "otlp", url: string) =>
        type === "otlp" ? { type, url } : { type, url, spool: { directory: "spool" } };
      for (const type of ["webhook", "otlp"] as const) {
        const rows = [
          [`${base}/takes`, []],
          [`${base}/refuses`, [
            `sinks: ${type} sink ${base}/refuses: the receiver refuses our credentials (403)`,
          ]],
        ] as const;
        for (const [url, wrong] of rows) {
          assert.deepEqual(
            (await ward.asGateway({ audit: { sinks: [LOCAL, sink(type, url)] } })).wrong,
            wrong,
          );
        }
        const nobody = { audit: { sinks: [LOCAL, sink(type, `http://127.0.0.1:${closedPort()}/`)] } };
        assert.match(
          (await ward.asGateway(nobody)).wrong.join("\n"),
          new RegExp(`^sinks: ${type} sink http\\S+: `),
        );
      }
    });

    await t.step("tells whether a token is for the audience that the gateway asks for", async () => {
      const meant = await ward.write("meant", await issueToken(ward.cluster, "--audience=postern"));
      const other = await ward.write("other", await tokenOf(ward.cluster, "alice"));
      const authentication = { audiences: ["postern"] };
      const good = await ward.asGateway({ authentication }, "--token-file", meant);
      assert.deepEqual(good.wrong, []);
      const bad = await ward.asGateway({ authentication }, "--token-file", other);
      assert.match(bad.wrong.join("\n"), /^token-review: the token /m);
      const without = await ward.asGateway({}, "--token-file", meant);
      assert.match(without.wrong.join("\n"), /^token-review: the token is nobody's/m);
    });

    await t.step("is told who may go around, and then finds nothing wrong with that", async () => {
      await eventually("all who may are named, and no others come meanwhile", async () => {
        const { findings } = await ward.asAdministrator("--node", "node1");
        const named = findings.flatMap(({ status, grant }) =>
          status === "wrong" && grant ? [grant.subject] : []
        );
        assert.ok(named.some(({ name }) => name === "alice"));
        const accepted = named.flatMap(({ kind, name, namespace }) => [
          "--accept",
          `${kind}:${namespace === undefined ? name : `${namespace}/${name}`}`,
        ]);
        const { code } = await ward.asAdministrator("--node", "node1", ...accepted);
        return code === 0 || undefined;
      }, SOON);
    });
  },
});

/** A sink that sessions wait for: one must be there. */
const LOCAL = { type: "file", path: "audit.log" } as const;

/** A port that nobody listens on: where a listener was until now. */
function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The API server with another clock: what it answers, at a time that is not now. */
async function serverWithClock({ cluster }: Ward, aheadMs: number) {
  const { pki } = layout(cluster.directory);
  const read = (name: string) => Deno.readTextFile(join(pki, name));
  const [certificate, privateKey] = await Promise.all(["ca.crt", "ca.key"].map(read));
  const authority = await parseAuthority({ certificate: certificate ?? "", key: privateKey ?? "" });
  const leaf = await issueByCluster(authority, { commonName: "ahead", ipAddresses: ["127.0.0.1"] });
  const client = Deno.createHttpClient({ caCerts: [certificate ?? ""] });
  const server = Deno.serve({
    ...{ hostname: "127.0.0.1", port: 0, cert: leaf.certificate, key: leaf.key, onListen: () => {} },
  }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = request.method === "GET" ? null : await request.text();
    const { method, headers } = request;
    const answer = await fetch(`${cluster.apiServerUrl}${pathname}${search}`, {
      method,
      headers,
      body,
      client,
    });
    const told = new Headers(answer.headers);
    told.set("Date", new Date(Date.now() + aheadMs).toUTCString());
    return new Response(await answer.text(), { status: answer.status, headers: told });
  });
  return {
    url: `https://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: async () => {
      await server.shutdown();
      client.close();
    },
  };
}

async function mount(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("mount", { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}
