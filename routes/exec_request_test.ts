import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { readCommandRequest } from "./exec_request.ts";
import { readRequestTarget } from "./request_target.ts";

const read = (query: string) =>
  readCommandRequest(readRequestTarget(`/api/v1/namespaces/default/pods/web/exec?${query}`));

const FLAGS = [
  { name: "E-1 an empty value is true", query: "stdin=", want: "stdin" },
  { name: "E-2 0 and FALSE are false, no is true", query: "stdin=0&stdout=FALSE&stderr=no", want: "stderr" },
  { name: "the first of two values counts", query: "tty=false&tty=true&stdout=1", want: "stdout" },
  { name: "absent is false", query: "command=id", want: "" },
];
for (const { name, query, want } of FLAGS) {
  Deno.test(`readCommandRequest: ${name}`, () => {
    const request = read(query);
    const set = (["stdin", "stdout", "stderr", "tty"] as const).filter((key) => request[key]);
    assert.equal(set.join(), want);
  });
}

Deno.test("readCommandRequest keeps the command's words and their order, the empty one too", () => {
  assert.deepEqual(read("command=sh&stdin=1&command=-c&command=&command=a+b").command, [
    "sh",
    "-c",
    "",
    "a b",
  ]);
});

Deno.test("readCommandRequest takes the first container, and an empty one for none", () => {
  assert.equal(read("container=a&container=b").container, "a");
  assert.equal(read("container=").container, undefined);
});

Deno.test("readCommandRequest names the pod of the path, whatever the query says", () => {
  const request = read("namespace=kube-system&pod=other&name=other");
  assert.deepEqual([request.namespace, request.pod], ["default", "web"]);
});

Deno.test("readCommandRequest refuses dryRun", () => {
  assert.throws(
    () => read("dryRun=All"),
    (thrown) => thrown instanceof Refusal && thrown.message === "dryRun is not supported",
  );
});
