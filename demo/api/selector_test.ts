import assert from "node:assert/strict";
import { Refusal } from "../../kube/status.ts";
import { fieldSelector, labelSelector } from "./selector.ts";

const POD = {
  metadata: { name: "web", labels: { app: "web", "example.org/tier": "front" } },
  spec: { nodeName: "demo-node" },
  status: { phase: "Running" },
};

const FIELDS = [
  { selector: "", selects: true },
  { selector: "metadata.name=web", selects: true },
  { selector: "metadata.name==web", selects: true },
  { selector: "metadata.name=shell", selects: false },
  { selector: "spec.nodeName=demo-node,status.phase!=Failed,status.phase!=Succeeded", selects: true },
  { selector: "spec.nodeName=demo-node,status.phase!=Running", selects: false },
  { selector: "status.nominatedNodeName=", selects: true },
];
for (const { selector, selects } of FIELDS) {
  Deno.test(`the fields ${JSON.stringify(selector)} ${selects ? "select" : "do not select"} the pod`, () => {
    assert.equal(fieldSelector(selector)(POD), selects);
  });
}

const LABELS = [
  { selector: "", selects: true },
  { selector: "app=web", selects: true },
  { selector: "app == web, example.org/tier=front", selects: true },
  { selector: "app!=web", selects: false },
  { selector: "missing!=x", selects: true },
  { selector: "app", selects: true },
  { selector: "!app", selects: false },
  { selector: "!missing", selects: true },
  { selector: "constructor", selects: false },
  { selector: "app in (web, db)", selects: true },
  { selector: "app in (db),example.org/tier=front", selects: false },
  { selector: "app notin (db)", selects: true },
  { selector: "missing notin (a,b)", selects: true },
];
for (const { selector, selects } of LABELS) {
  Deno.test(`the labels ${JSON.stringify(selector)} ${selects ? "select" : "do not select"} the pod`, () => {
    assert.equal(labelSelector(selector)(POD), selects);
  });
}

for (const parse of [fieldSelector, labelSelector]) {
  Deno.test(`${parse.name} refuses what it cannot read, instead of selecting too much`, () => {
    for (const selector of ["a b c", "=x", "a in b"]) {
      assert.throws(
        () => parse(selector),
        (error) => error instanceof Refusal && error.reason === "BadRequest",
      );
    }
  });
}
