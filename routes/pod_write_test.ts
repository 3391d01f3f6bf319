import assert from "node:assert/strict";
import fc from "fast-check";
import { Refusal, type StatusReason } from "../kube/status.ts";
import { type PodWrite, readPodWrite } from "./pod_write.ts";

const JSON_PATCH = "application/json-patch+json";
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";
const APPLY = "application/apply-patch+yaml";

function read(method: string, contentType: string | null, body: unknown): PodWrite {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return readPodWrite(method, contentType, new TextEncoder().encode(text));
}

const held: { name: string; method?: string; type: string | null; body: unknown; want: unknown }[] = [
  {
    name: "a JSON patch by a test before all else",
    type: JSON_PATCH,
    body: [{ op: "copy", from: "/metadata/annotations/a", path: "/spec/ephemeralContainers/0/image" }],
    want: [
      { op: "test", path: "/metadata/resourceVersion", value: "7" },
      { op: "copy", from: "/metadata/annotations/a", path: "/spec/ephemeralContainers/0/image" },
    ],
  },
  {
    name: "attack: a JSON patch that takes the version away afterwards",
    type: JSON_PATCH,
    body: [{ op: "remove", path: "/metadata/resourceVersion" }],
    want: [
      { op: "test", path: "/metadata/resourceVersion", value: "7" },
      { op: "remove", path: "/metadata/resourceVersion" },
    ],
  },
  {
    name: "a merge patch",
    type: MERGE,
    body: { spec: {} },
    want: { spec: {}, metadata: { resourceVersion: "7" } },
  },
  {
    name: "a strategic merge patch, its directives kept",
    type: `${STRATEGIC}; charset=utf-8`,
    body: { "$setElementOrder/containers": [], metadata: { name: "web" } },
    want: { "$setElementOrder/containers": [], metadata: { name: "web", resourceVersion: "7" } },
  },
  {
    name: "an apply in YAML, written as JSON",
    type: APPLY,
    body: "metadata: {name: web}\nspec:\n  ephemeralContainers: []\n",
    want: { metadata: { name: "web", resourceVersion: "7" }, spec: { ephemeralContainers: [] } },
  },
  {
    name: "an apply in JSON",
    type: APPLY,
    body: { metadata: { name: "web" } },
    want: { metadata: { name: "web", resourceVersion: "7" } },
  },
  {
    name: "a PUT",
    method: "PUT",
    type: "application/json",
    body: { metadata: { name: "web" } },
    want: { metadata: { name: "web", resourceVersion: "7" } },
  },
  {
    name: "a PUT that does not say what it is",
    method: "PUT",
    type: null,
    body: { metadata: {} },
    want: { metadata: { resourceVersion: "7" } },
  },
  // No version is none to the API server, however it is spelled.
  ...[null, "", "0"].map((resourceVersion) => ({
    name: `attack: a version of ${JSON.stringify(resourceVersion)}, which would hold the write to nothing`,
    type: MERGE,
    body: { metadata: { resourceVersion } },
    want: { metadata: { resourceVersion: "7" } },
  })),
  {
    name: "attack: a version given twice",
    type: MERGE,
    body: '{"metadata":{"resourceVersion":"7","resourceVersion":""}}',
    want: { metadata: { resourceVersion: "7" } },
  },
];
for (const { name, method = "PATCH", type, body, want } of held) {
  Deno.test(`readPodWrite holds to its version ${name}`, () => {
    assert.deepEqual(JSON.parse(read(method, type, body).at("7")), want);
  });
}

Deno.test("readPodWrite keeps the version that a client holds its write to", () => {
  const write = read("PATCH", MERGE, { metadata: { resourceVersion: "5" } });
  assert.equal(write.ownVersion, "5");
  assert.deepEqual(JSON.parse(write.at("7")), { metadata: { resourceVersion: "5" } });
});

Deno.test("readPodWrite leaves a body alone where there is no version to hold it to", () => {
  assert.deepEqual(JSON.parse(read("PATCH", MERGE, { spec: {} }).at(undefined)), { spec: {} });
  assert.deepEqual(JSON.parse(read("PATCH", JSON_PATCH, []).at(undefined)), []);
});

const types: { name: string; method: string; given: string; want: string }[] = [
  { name: "YAML becomes JSON", method: "PUT", given: "application/yaml", want: "application/json" },
  { name: "an apply stays one", method: "PATCH", given: APPLY, want: APPLY },
  { name: "parameters are dropped", method: "PATCH", given: `${MERGE};charset=utf-8`, want: MERGE },
];
for (const { name, method, given, want } of types) {
  Deno.test(`readPodWrite says what it is sent as: ${name}`, () => {
    assert.equal(read(method, given, {}).contentType, want);
  });
}

const refused: {
  name: string;
  method?: string;
  type: string | null;
  body?: unknown;
  reason: StatusReason;
}[] = [
  {
    name: "protobuf",
    method: "PUT",
    type: "application/vnd.kubernetes.protobuf",
    reason: "UnsupportedMediaType",
  },
  { name: "CBOR", type: "application/apply-patch+cbor", reason: "UnsupportedMediaType" },
  { name: "a patch without type", type: null, reason: "UnsupportedMediaType" },
  { name: "a patch's type in a PUT", method: "PUT", type: MERGE, reason: "UnsupportedMediaType" },
  { name: "two types", type: `${MERGE}, ${JSON_PATCH}`, reason: "UnsupportedMediaType" },
  { name: "a type that every object has", type: "constructor", reason: "UnsupportedMediaType" },
  { name: "a merge patch that is a list", type: MERGE, body: [], reason: "BadRequest" },
  { name: "a JSON patch that is an object", type: JSON_PATCH, body: {}, reason: "BadRequest" },
  { name: "null", type: MERGE, body: null, reason: "BadRequest" },
  { name: "metadata of null", type: MERGE, body: { metadata: null }, reason: "BadRequest" },
  { name: "metadata that is a list", type: MERGE, body: { metadata: [] }, reason: "BadRequest" },
  {
    name: "a version that is a number",
    type: MERGE,
    body: { metadata: { resourceVersion: 7 } },
    reason: "BadRequest",
  },
  {
    name: "a version with a sign",
    type: MERGE,
    body: { metadata: { resourceVersion: "+0" } },
    reason: "BadRequest",
  },
  {
    name: "attack: a zero that is not spelled 0",
    type: MERGE,
    body: { metadata: { resourceVersion: "00" } },
    reason: "BadRequest",
  },
  { name: "what is no JSON", type: MERGE, body: "{", reason: "BadRequest" },
  { name: "JSON with something behind it", type: MERGE, body: "{} {}", reason: "BadRequest" },
  { name: "what is no YAML", type: APPLY, body: "a: [", reason: "BadRequest" },
  { name: "two YAML documents", type: APPLY, body: "a: 1\n---\nb: 2\n", reason: "BadRequest" },
  {
    name: "a bomb of YAML aliases",
    type: APPLY,
    body: `a: &a [1,1,1,1,1,1,1,1,1]\n${
      "bcdefgh".split("").map((key, index) => {
        const of = "abcdefgh"[index];
        return `${key}: &${key} [${Array(9).fill(`*${of}`).join(",")}]`;
      }).join("\n")
    }`,
    reason: "BadRequest",
  },
  {
    name: "more YAML than is worth reading",
    type: APPLY,
    body: `a: ${"x".repeat(64 * 1024)}`,
    reason: "RequestEntityTooLarge",
  },
];
for (const { name, method = "PATCH", type, body = "{}", reason } of refused) {
  Deno.test(`readPodWrite refuses ${name}`, () => {
    assert.throws(
      () => read(method, type, body),
      (error) => error instanceof Refusal && error.reason === reason,
    );
  });
}

Deno.test("readPodWrite refuses what is no UTF-8", () => {
  assert.throws(() => readPodWrite("PATCH", MERGE, Uint8Array.of(0x22, 0xff, 0x22)), /no UTF-8/);
});

Deno.test("whatever an object holds, only its version is other than it was", () => {
  const values = fc.dictionary(fc.string(), fc.jsonValue());
  fc.assert(fc.property(values, values, (body, metadata) => {
    const given = JSON.parse(JSON.stringify({ ...body, metadata: { ...metadata, resourceVersion: "" } }));
    const sent = JSON.parse(read("PATCH", MERGE, given).at("7"));
    assert.equal(sent.metadata.resourceVersion, "7");
    assert.deepEqual({ ...sent, metadata: { ...sent.metadata, resourceVersion: "" } }, given);
  }));
});
