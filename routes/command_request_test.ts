import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { readCommandRequest, readKubeletCommand } from "./command_request.ts";
import { readRequestTarget } from "./request_target.ts";
import { readKubeletAddress } from "./session_address.ts";

const read = (query: string) =>
  readCommandRequest(readRequestTarget(`/api/v1/namespaces/default/pods/web/exec?${query}`), "exec");

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

Deno.test("readCommandRequest: an attach has no command, whatever the query says", () => {
  const target = readRequestTarget("/api/v1/namespaces/default/pods/web/attach?command=id&stdout=1");
  assert.deepEqual(readCommandRequest(target, "attach").command, []);
});

const LEGACY = "/proxy/nodes/node1/exec/default/web/c";
const NODE_PROXY = "/api/v1/nodes/node1/proxy/exec/default/web/c";
const KUBELET_FLAGS = [
  {
    name: "input, output and error of 1",
    path: NODE_PROXY,
    query: "input=1&output=1&error=1",
    want: "stdin,stdout,stderr",
  },
  { name: "E-3 only 1 is true", path: NODE_PROXY, query: "input=true&output=yes&tty=1", want: "tty" },
  {
    name: "the API's names mean nothing to a kubelet",
    path: NODE_PROXY,
    query: "stdin=1&stdout=1",
    want: "",
  },
  { name: "no stream is asked for", path: NODE_PROXY, query: "command=id", want: "" },
  {
    name: "the documents' names",
    path: LEGACY,
    query: "stdin=true&stdout=true&stderr=false",
    want: "stdin,stdout",
  },
  { name: "the kubelet's names where the documents' do", path: LEGACY, query: "output=1", want: "stdout" },
  {
    name: "the documents' clients name no stream and open three",
    path: LEGACY,
    query: "command=id",
    want: "stdin,stdout,stderr",
  },
];
for (const { name, path, query, want } of KUBELET_FLAGS) {
  Deno.test(`readKubeletCommand: ${name}`, () => {
    const target = readRequestTarget(`${path}?${query}`);
    const request = readKubeletCommand({ ...readKubeletAddress(target.segments)!, kind: "exec" }, target);
    const set = (["stdin", "stdout", "stderr", "tty"] as const).filter((key) => request[key]);
    assert.equal(set.join(), want);
  });
}

const RUNS = [
  { name: "E-24 two spaces hold an empty word", query: "cmd=echo%20%20hi", want: ["echo", "", "hi"] },
  { name: "the first of two counts", query: "cmd=id&cmd=whoami", want: ["id"] },
  { name: "none is one empty word", query: "command=id", want: [""] },
];
for (const { name, query, want } of RUNS) {
  Deno.test(`readKubeletCommand of run: ${name}`, () => {
    const target = readRequestTarget(`/api/v1/nodes/node1/proxy/run/default/web/c?${query}`);
    const request = readKubeletCommand({ ...readKubeletAddress(target.segments)!, kind: "exec" }, target);
    assert.deepEqual(request.command, want);
    assert.deepEqual([request.stdin, request.stdout, request.stderr, request.tty], [
      false,
      true,
      true,
      false,
    ]);
  });
}
