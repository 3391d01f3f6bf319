import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { chooseContainer } from "./container.ts";
import { Refusal } from "./status.ts";

const names = (list: string[]) => list.map((name) => ({ name }));

function pod(regular: string[], init: string[] = [], ephemeral: string[] = []): V1Pod {
  return {
    metadata: { name: "p", annotations: { "kubectl.kubernetes.io/default-container": "b" } },
    spec: { containers: names(regular), initContainers: names(init), ephemeralContainers: names(ephemeral) },
  };
}

const CHOSEN = [
  { name: "the only one", pod: pod(["a"]), wanted: undefined, want: "regular a" },
  {
    name: "E-7 the only regular one beside an init container",
    pod: pod(["a"], ["i"]),
    wanted: undefined,
    want: "regular a",
  },
  { name: "E-8 an ephemeral one by name", pod: pod(["a", "b"], [], ["e"]), wanted: "e", want: "ephemeral e" },
  { name: "an init container by name", pod: pod(["a"], ["i"]), wanted: "i", want: "init i" },
];
for (const { name, pod, wanted, want } of CHOSEN) {
  Deno.test(`chooseContainer takes ${name}`, () => {
    const container = chooseContainer(pod, wanted);
    assert.equal(`${container.kind} ${container.name}`, want);
  });
}

const REFUSED = [
  {
    name: "E-6 two containers and none named, whatever the annotation says",
    pod: pod(["a", "b"], ["i"], ["e"]),
    wanted: undefined,
    message: "a container name must be specified for pod p, choose one of: [i a b e]",
  },
  {
    name: "E-9 a name that is not there",
    pod: pod(["a"]),
    wanted: "x",
    message: "container x is not valid for pod p",
  },
  {
    name: "a pod without any",
    pod: pod([]),
    wanted: undefined,
    message: "a container name must be specified for pod p",
  },
];
for (const { name, pod, wanted, message } of REFUSED) {
  Deno.test(`chooseContainer refuses ${name}`, () => {
    assert.throws(
      () => chooseContainer(pod, wanted),
      (thrown) => thrown instanceof Refusal && thrown.reason === "BadRequest" && thrown.message === message,
    );
  });
}

Deno.test("chooseContainer takes the annotation's where it is told to, and only where none is named", () => {
  assert.equal(chooseContainer(pod(["a", "b"]), undefined, true).name, "b");
  assert.equal(chooseContainer(pod(["a", "b"]), "a", true).name, "a");
});
