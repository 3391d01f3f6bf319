import assert from "node:assert/strict";
import { readByteRange, readConditions } from "../../../api/byte_range.ts";
import { maskUri } from "../../../audit/mask.ts";
import { readCredential } from "../../../authz/credential.ts";
import { readImpersonation } from "../../../authz/impersonate.ts";
import { Refusal } from "../../../kube/status.ts";
import { readCommandRequest, readKubeletCommand } from "../../../routes/command_request.ts";
import { readPodWrite } from "../../../routes/pod_write.ts";
import { readProxyAddress } from "../../../routes/proxy_address.ts";
import { readRequestTarget } from "../../../routes/request_target.ts";
import { readKubeletAddress } from "../../../routes/session_address.ts";
import { headerLinesOf, isPrintable, orRefuses, textOf } from "../oracle.ts";
import type { Target } from "../target.ts";

const EXEC =
  "/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&command=id&stdin=true&stdout=1&tty=false";

const PATH_WORDS = [
  ...[
    "/",
    "//",
    "/./",
    "/../",
    "%2f",
    "%2F",
    "%2e",
    "..",
    "%00",
    "%0a",
    "%c0%af",
    "%25",
    "%",
    ";",
    "\\",
    "#",
    "?",
  ],
  ...[
    "/api/v1/",
    "namespaces/",
    "pods/",
    "exec",
    "attach",
    "portforward",
    "nodes/",
    "proxy/",
    "minions/",
    "run",
  ],
  ...[
    "&command=",
    "&container=",
    "stdin=1",
    "tty",
    "&dryRun=All",
    "http:",
    "https:web:80",
    "+",
    "é",
    "portForward",
  ],
];

/** The path as the platform's own URL parser has it, taken apart. */
function segmentsByUrl(rawTarget: string): string[] | undefined {
  const url = URL.parse(`https://gateway.invalid${rawTarget}`);
  if (url === null) return undefined;
  const segments = url.pathname.slice(1).split("/");
  if (segments.at(-1) === "") segments.pop();
  return segments.map(decodeURIComponent);
}

export const REQUEST_TARGETS: readonly Target[] = [
  {
    name: "request-target",
    promise: "a path is refused, or is read as any other server reads it, and so are its parameters",
    seeds: [
      EXEC,
      "/",
      "/api/v1/nodes/n1/proxy/exec/default/web/c?command=id&input=1",
      "/api/v1/pods?limit=1",
    ],
    words: PATH_WORDS,
    maxBytes: 512,
    check(input) {
      const raw = textOf(input);
      const target = orRefuses(() => readRequestTarget(raw), Refusal);
      if (target === undefined) return;
      assert.deepEqual(segmentsByUrl(raw), target.segments);
      for (const segment of target.segments) {
        assert.ok(segment !== "" && segment !== "." && segment !== "..");
        assert.doesNotMatch(segment, /[/\\%;\p{Cc}]/u);
      }
      assert.equal(target.path, `/${target.segments.join("/")}`);
      const again = readRequestTarget(`/${target.segments.map(encodeURIComponent).join("/")}`);
      assert.equal(again.path, target.path, "what is authorized is what is opened");
      const query = raw.includes("?") ? raw.slice(raw.indexOf("?") + 1) : "";
      assert.deepEqual(target.query.map(([key, value]) => [key, value]), [
        ...new URLSearchParams(`?${query}`),
      ]);
    },
  },
  {
    name: "session-address",
    promise: "every path is one address or none, and its words are what the path says",
    seeds: [
      EXEC,
      "/proxy/minions/n1/exec/default/web/c?command=id",
      "/api/v1/proxy/nodes/n1/portForward/default/web/u-1",
      "/api/v1/nodes/n1/proxy/run/default/web/u-1/c?cmd=ls%20-l",
      "/api/v1/namespaces/default/services/https:web:443/proxy/x",
    ],
    words: PATH_WORDS,
    maxBytes: 512,
    check(input) {
      const target = orRefuses(() => readRequestTarget(textOf(input)), Refusal);
      if (target === undefined) return;
      const { segments } = target;
      const proxied = orRefuses(() => readProxyAddress(segments), Refusal);
      if (proxied) assert.ok(segments.includes(proxied.id) && proxied.id.includes(proxied.name));
      const address = readKubeletAddress(segments);
      if (address !== undefined) {
        for (const word of [address.node, address.namespace, address.pod]) assert.ok(segments.includes(word));
        const { kind } = address;
        if (kind !== "portforward") readKubeletCommand({ ...address, kind }, target);
      }
      if (segments.length < 6) return;
      const command = orRefuses(() => readCommandRequest(target, "exec"), Refusal);
      if (command === undefined) return;
      const sent = target.query.filter(([key]) => key === "command").map(([, value]) => value);
      assert.deepEqual(command.command, sent);
    },
  },
  {
    name: "credential",
    promise: "a token is one word that can stand in a header, or the request has none",
    seeds: [
      "Authorization: Bearer abc.def",
      "Upgrade: websocket\nSec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.YWJj, v4.channel.k8s.io",
    ],
    words: [
      "Authorization: ",
      "bearer ",
      "Basic ",
      "base64url.bearer.authorization.k8s.io.",
      ",",
      " ",
      "\t",
      "\n",
      "=",
    ],
    check(input) {
      const credential = orRefuses(() => readCredential(headerLinesOf(textOf(input))), Refusal);
      if (credential === undefined) return;
      assert.match(credential.token, /^[\x21-\x7e]+$/);
      assert.ok(
        !credential.subprotocols?.some((name) => name.startsWith("base64url.bearer.authorization.k8s.io.")),
        "the token goes no further",
      );
    },
  },
  {
    name: "impersonation",
    promise: "whoever is impersonated, each part of them is asked for",
    seeds: [
      "Impersonate-User: alice\nImpersonate-Group: developers\nImpersonate-Extra-scopes: view",
      "impersonate-user: system:serviceaccount:default:robot\nImpersonate-Uid: 7",
    ],
    words: [
      "Impersonate-",
      "User: ",
      "Group: ",
      "Uid: ",
      "Extra-",
      "%2f",
      "%",
      "system:serviceaccount:",
      "a:b",
      "__proto__: x",
      "\n",
    ],
    check(input) {
      const request = orRefuses(() => readImpersonation(headerLinesOf(textOf(input))), Refusal);
      if (request === undefined) return;
      const asked = new Map<string, number>();
      for (const { verb, resource } of request.attributes) {
        assert.equal(verb, "impersonate");
        asked.set(resource, (asked.get(resource) ?? 0) + 1);
      }
      const { uid, groups, extra } = request.user;
      assert.equal((asked.get("users") ?? 0) + (asked.get("serviceaccounts") ?? 0), 1);
      assert.equal(asked.get("uids") ?? 0, uid ? 1 : 0);
      assert.equal(asked.get("userextras") ?? 0, Object.values(extra ?? {}).flat().length);
      const named = request.attributes.filter(({ resource }) => resource === "groups").map(({ name }) =>
        name
      );
      const given = groups.filter((group) =>
        !/^system:(un)?authenticated$|^system:serviceaccounts/.test(group)
      );
      assert.deepEqual(given.filter((group) => !named.includes(group)), []);
    },
  },
  {
    name: "uri-mask",
    promise: "no value of a key that names a credential is left, and everything else is",
    seeds: [`${EXEC}&access_token=s3cret`, "//user:pw@host/path?token=x#y"],
    words: ["token=", "?", "&", "#", ";", "%74oken=", "@", "//", "=", "access_token", "REDACTED"],
    check(input) {
      const masked = maskUri(textOf(input));
      assert.equal(maskUri(masked), masked);
      const query = masked.includes("?") ? masked.slice(masked.indexOf("?") + 1) : "";
      for (const [key, value] of new URLSearchParams(query.replaceAll(/[;#]/g, "&"))) {
        if (key.trim().toLowerCase() === "access_token") assert.match(value, /^(REDACTED)?$/);
      }
    },
  },
  {
    name: "byte-range",
    promise: "a range lies within the bytes that there are",
    seeds: ["bytes=0-1", "bytes=-5", "bytes=7-", 'W/"a", "b"'],
    words: ["bytes=", "-", "999999999999999", "*", ",", '"a"', "W/", " "],
    maxBytes: 128,
    check(input) {
      const text = textOf(input).replaceAll(/[^\x20-\x7e]/g, "");
      const span = readByteRange(text, 100);
      if (typeof span === "object") assert.ok(span.start >= 0 && span.start < span.end && span.end <= 100);
      const headers = new Headers({ "If-None-Match": text, "If-Match": text });
      assert.ok([undefined, 304, 412].includes(readConditions(headers, '"a"')));
    },
  },
  {
    name: "pod-write",
    promise:
      "a body is refused in words that are safe to log, or is one JSON that holds the pod to its version",
    seeds: [
      '0{"metadata":{"resourceVersion":"7"},"spec":{}}',
      '1[{"op":"add","path":"/spec","value":1}]',
      "2metadata:\n  name: a\nspec: &x {a: [1, 2]}\n",
      "3apiVersion: v1\nkind: Pod\n",
    ],
    words: [
      "metadata",
      "resourceVersion",
      ": ",
      "- ",
      "&a ",
      "*a",
      "<<: *a",
      "!!binary ",
      "? ",
      "|\n",
      "{",
      "[",
      "__proto__",
      "\n",
    ],
    check(input) {
      const forms = [
        ["PUT", "application/json"],
        ["PATCH", "application/json-patch+json"],
        ["PATCH", "application/apply-patch+yaml"],
        ["PUT", "application/yaml"],
      ] as const;
      const [method, type] = forms[(input[0] ?? 0) % forms.length]!;
      let write;
      try {
        write = readPodWrite(method, type, input.subarray(1));
      } catch (thrown) {
        if (!(thrown instanceof Refusal)) throw thrown;
        return isPrintable(thrown.message, "a refusal");
      }
      const written: unknown = JSON.parse(write.at("12345"));
      const version = write.ownVersion ?? "12345";
      if (write.form === "json_patch") {
        assert.ok(Array.isArray(written));
        assert.deepEqual(written[0], { op: "test", path: "/metadata/resourceVersion", value: version });
      } else assert.equal(versionOf(written), version);
    },
  },
];

function versionOf(pod: unknown): unknown {
  const metadata = fieldOf(pod, "metadata");
  return fieldOf(metadata, "resourceVersion");
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;
}
