/**
 * Paths that are meant to be read in two ways, at the gateway and at the real API server: whatever the gateway does not refuse
 * outright, it takes for what the API server takes it for.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { tokenOf } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { rawRequest, type RawResponse, SPDY_UPGRADE } from "./support/raw_http.ts";

const gateway = sharedGateway();

const POD = "/api/v1/namespaces/default/pods/shell";

/** Each is tried at the end of a session's path, within it and before it. */
const TRICKS = [
  ...[
    "/",
    "//",
    "/.",
    "/..",
    "/../",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";x=1",
    "%3b",
    "%",
    "%zz",
    "%00",
    "%0a",
    "%2e%2e",
  ],
  ...[
    "%252f",
    "%c0%af",
    "%ef%bc%8f",
    "%E2%80%AE",
    "?",
    "%3f",
    "#",
    "%23",
    ":",
    "@",
    "+",
    "%20",
    "%ed%a0%80",
    "*",
  ],
];

const PATHS = [
  ...TRICKS.flatMap((trick) => [`${POD}/exec${trick}`, `${POD}${trick}/exec`, `${trick}${POD}/exec`]),
  ...[
    "/EXEC",
    "/Exec",
    "/%65xec",
    "/exec/exec",
    "/exec/x",
    "/x/exec",
    "/%61ttach",
    "/portforward/",
    "/portForward",
  ]
    .map((tail) => POD + tail),
  "/API/v1/namespaces/default/pods/shell/exec",
  "/api/V1/namespaces/default/pods/shell/exec",
  "/apis/v1/namespaces/default/pods/shell/exec",
  "/apis//v1/namespaces/default/pods/shell/exec",
  "/api/v1/namespaces/DEFAULT/pods/shell/exec",
  "/api/v1/namespaces/default/pods/SHELL/exec",
  "/api/v1/namespaces/%64efault/pods/shell/exec",
  "/api/v1/pods/shell/exec",
  "/api/v1/watch/namespaces/default/pods/shell/exec",
  "/api/v1/namespaces/default/Pods/shell/exec",
  "/%61pi/v1/namespaces/default/pods/shell/exec",
];

/** A session's path with some of its characters escaped, which changes nothing, unless one was a slash. */
const escaped = fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }).map((flags) =>
  Array.from(`${POD}/exec`, (character, index) => {
    const isKept = character === "/" ? index % 7 !== 0 || !flags[index + 9] : !flags[index];
    return isKept || index === 0 ? character : `%${character.charCodeAt(0).toString(16)}`;
  }).join("")
);

Deno.test({
  name: "whatever path is not refused is taken for what the API server takes it for",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const differing: string[] = [];
    const taken = { refused: 0, alike: 0, opened: 0 };
    const compare = async (path: string, user: "alice" | "bob", upgrade: readonly string[]) => {
      const [here, there] = await Promise.all([
        ask(path, user, upgrade, true),
        ask(path, user, upgrade, false),
      ]);
      const what = `${path} as ${user}${upgrade.length > 0 ? ", upgrading" : ""}`;
      const [said, meant] = [`${here.code} ${messageOf(here)}`, `${there.code} ${messageOf(there)}`];
      if (said === meant) taken[here.code === 101 ? "opened" : "alike"]++;
      else if (isRefusedOutright(here)) taken.refused++;
      else differing.push(`${what}: the API server says ${meant}, the gateway ${said}`);
      // Who may not, may not by any path.
      if (user === "bob") assert.notEqual(here.code, 101, what);
    };
    for (const path of [...PATHS, ...fc.sample(escaped, 20)]) {
      const asks = (["alice", "bob"] as const).flatMap((user) =>
        [SPDY_UPGRADE, []].map((upgrade) => compare(path, user, upgrade))
      );
      await Promise.all(asks);
    }
    assert.deepEqual(differing, []);
    assert.ok(taken.refused > 20 && taken.alike > 20 && taken.opened > 10, JSON.stringify(taken));
  },
});

async function ask(
  path: string,
  user: "alice" | "bob",
  upgrade: readonly string[],
  isHere: boolean,
): Promise<RawResponse> {
  const { cluster, port } = gateway();
  const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
  const server = isHere ? port : Number(new URL(cluster.apiServerUrl).port);
  const query = path.includes("?") ? "&" : "?";
  const headers = [...upgrade, `Authorization: Bearer ${await tokenOf(cluster, user)}`, "Connection: close"]
    .filter((line) => upgrade.length === 0 || line !== "Connection: close");
  return await rawRequest({ port: server, caCerts }, `POST ${path}${query}command=true&stdout=true`, headers);
}

/** Here nothing is asked of anybody: the path is malformed, or leads where only sessions may lead. */
function isRefusedOutright(here: RawResponse): boolean {
  return here.code === 400 || messageOf(here) === "this path is not passed through";
}

/** What a Status says; all of the answer where it is none. */
function messageOf({ body }: RawResponse): string {
  return body.startsWith("{") ? JSON.parse(body).message : body;
}
