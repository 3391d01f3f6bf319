import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CommandEnd,
  execFailureDocument,
  exitCodeDocument,
  failureDocument,
  internalErrorDocument,
  MAX_STATUS_DOCUMENT_BYTES,
  parseStatusDocument,
  successDocument,
  toTextStatus,
} from "./status_document.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

// The bytes that containerd, the kubelet and the API server of Kubernetes 1.34 write.
const DOCUMENTS: { name: string; document: Uint8Array; want: string }[] = [
  { name: "E-59 success", document: successDocument(), want: '{"metadata":{},"status":"Success"}' },
  {
    name: "exit 3 of containerd",
    document: exitCodeDocument(3, "error executing command [sh -c exit 3], exit code 3"),
    want:
      '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
  },
  {
    name: "E-96 exit 3 via v5",
    document: exitCodeDocument(3),
    want:
      '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
  },
  {
    name: "E-72 a start failure whose text is escaped as Go does",
    document: execFailureDocument('<&>\u2028\u2029\u0000\u001f\t"\\/é😀'),
    want: String
      .raw`{"metadata":{},"status":"Failure","message":"Internal error occurred: error executing command in container: \u003c\u0026\u003e\u2028\u2029\u0000\u001f\t\"\\/é😀","reason":"InternalError","details":{"causes":[{"message":"error executing command in container: \u003c\u0026\u003e\u2028\u2029\u0000\u001f\t\"\\/é😀"}]},"code":500}`,
  },
  {
    name: "an attach failure",
    document: internalErrorDocument("error attaching to container: E"),
    want:
      '{"metadata":{},"status":"Failure","message":"Internal error occurred: error attaching to container: E","reason":"InternalError","details":{"causes":[{"message":"error attaching to container: E"}]},"code":500}',
  },
  {
    name: "a refusal",
    document: failureDocument({
      code: 403,
      details: { kind: "pods", name: "web" },
      reason: "Forbidden",
      message: "no",
    }),
    want:
      '{"metadata":{},"status":"Failure","message":"no","reason":"Forbidden","details":{"name":"web","kind":"pods"},"code":403}',
  },
  {
    name: "a lone surrogate as U+FFFD",
    document: failureDocument({ message: "\ud800" }),
    want: '{"metadata":{},"status":"Failure","message":"\ufffd"}',
  },
];

for (const { name, document, want } of DOCUMENTS) {
  Deno.test(`writes ${name}`, () => assert.equal(text(document), want));
}

const exit = (cause: string) =>
  `{"status":"Failure","reason":"NonZeroExitCode","message":"m","details":{"causes":[{"reason":"Other","message":"1"},{"reason":"ExitCode","message":${
    JSON.stringify(cause)
  }}]}}`;
const exited = (exitCode: number): CommandEnd => ({
  type: "exit",
  exitCode,
  text: `command terminated with exit code ${exitCode}`,
  message: "m",
});
const malformed = (what: string): CommandEnd => ({
  type: "malformed",
  message: `error stream protocol error: ${what}`,
});

// The rules and texts of client-go's errorDecoderV4, and what Go's encoding/json takes for the document.
const ENDS: { name: string; document: string; want: CommandEnd }[] = [
  { name: "success", document: '{"metadata":{},"status":"Success"}', want: { type: "success" } },
  { name: "E-66 nothing at all, as a success", document: "", want: { type: "success" } },
  { name: "E-60 exit 137", document: exit("137"), want: exited(137) },
  { name: "exit 255", document: exit("255"), want: exited(255) },
  { name: "exit 007", document: exit("007"), want: exited(7) },
  { name: "E-60 exit 256", document: exit("256"), want: malformed('invalid exit code value "256"') },
  { name: "exit -1", document: exit("-1"), want: malformed('invalid exit code value "-1"') },
  { name: "exit +1", document: exit("+1"), want: malformed('invalid exit code value "+1"') },
  { name: "an empty exit code", document: exit(""), want: malformed('invalid exit code value ""') },
  {
    name: "an exit without details",
    document: '{"status":"Failure","reason":"NonZeroExitCode","details":{},"details":null}',
    want: malformed("details must be set"),
  },
  {
    name: "an exit without a cause",
    document: '{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[null]}}',
    want: malformed("no ExitCode cause given"),
  },
  {
    name: "another failure",
    document: '{"status":"Failure","message":"boom","reason":"InternalError","code":500}',
    want: { type: "failure", message: "boom", reason: "InternalError", code: 500 },
  },
  {
    name: "a failure that only has a message",
    document: '{"status":"Failure","Status":null,"message":"boom"}',
    want: { type: "failure", message: "boom" },
  },
  { name: "E-67 an empty document", document: "{}", want: malformed("unknown error") },
  { name: "null", document: "null", want: malformed("unknown error") },
  { name: "keys in any case", document: '{"STATUS":"Success"}', want: { type: "success" } },
  { name: "keys that Unicode folds", document: '{"\u017ftatus":"Success"}', want: { type: "success" } },
  {
    name: "text that is no JSON",
    document: "hello",
    want: malformed("invalid character 'h' looking for beginning of value in \"hello\""),
  },
  {
    name: "half a document",
    document: '{"status":"Success"',
    want: malformed('unexpected end of JSON input in "{\\"status\\":\\"Success\\""'),
  },
  {
    name: "two documents, of which one says success",
    document: '{"status":"Success"} x',
    want: malformed('invalid character \'x\' after top-level value in "{\\"status\\":\\"Success\\"} x"'),
  },
  {
    name: "a success with a code that is none",
    document: '{"status":"Success","code":1.0}',
    want: malformed(
      'json: cannot unmarshal number into Go value of type int32 in "{\\"status\\":\\"Success\\",\\"code\\":1.0}"',
    ),
  },
];

for (const { name, document, want } of ENDS) {
  Deno.test(`parseStatusDocument reads ${name}`, () =>
    assert.deepEqual(parseStatusDocument(utf8(document)), want));
}

const REJECTED = [
  ...["[]", "1", '{"status":1}', '{"details":[]}', '{"details":{"causes":{}}}', '{"code":2147483648}', "tru"],
  ...[
    '{"a":\'}',
    '{"a" 1}',
    "{a:1}",
    '{"a":1 2}',
    "[1 2]",
    '{"a":01}',
    '{"a":"\t"}',
    '{"a":"\\x"}',
    "+Infinity",
  ],
  ...["\ufeff{}", '{"a":1,}', "[1,]", "[".repeat(60_000), `{"status":"Success","a":${"[".repeat(2000)}`],
];
for (const document of REJECTED) {
  Deno.test(`parseStatusDocument takes ${JSON.stringify(document.slice(0, 40))} for malformed, as Go does`, () => {
    assert.equal(parseStatusDocument(utf8(document)).type, "malformed");
  });
}

Deno.test("parseStatusDocument does not read beyond its bound", () => {
  const document = `{"status":"Success"}${" ".repeat(MAX_STATUS_DOCUMENT_BYTES)}`;
  assert.deepEqual(parseStatusDocument(utf8(document)), malformed("status document is too long"));
});

Deno.test("parseStatusDocument never throws, and reads back what was written", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 255 }), (message, code) => {
    parseStatusDocument(utf8(message));
    const failure = parseStatusDocument(failureDocument({ message }));
    assert.deepEqual(failure, { type: "failure", message: message.toWellFormed() });
    assert.deepEqual(parseStatusDocument(exitCodeDocument(code, message)), {
      type: "exit",
      exitCode: code,
      text: `command terminated with exit code ${code}`,
      message: `command terminated with non-zero exit code: ${message.toWellFormed()}`,
    });
  }));
});

Deno.test("parseStatusDocument reads any JSON as JSON.parse does", () => {
  fc.assert(fc.property(fc.json(), (json) => {
    const { type } = parseStatusDocument(utf8(`{"status":"Success","x":${json}}`));
    assert.equal(type, "success", json);
  }));
});

Deno.test("toTextStatus is empty on success and the document's message otherwise (E-59)", () => {
  assert.equal(text(toTextStatus({ type: "success" })), "");
  const end = parseStatusDocument(exitCodeDocument(3, "E"));
  assert.equal(text(toTextStatus(end)), "command terminated with non-zero exit code: E");
});
