import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { encodePortMessages, readApiPorts, readKubeletPorts } from "./ports.ts";

interface Case {
  values: string[];
  ports?: number[];
  /** A Status of the API server; otherwise the kubelet's text. */
  isStatus?: boolean;
  message?: string;
}

const RANGE = Array.from({ length: 129 }, (_, index) => index + 1);

// As a Kubernetes 1.34.4 API server answered each of them.
const API: Case[] = [
  { values: ["80"], ports: [80] },
  { values: ["80", "443"], ports: [80, 443] },
  { values: ["80,443", "80"], ports: [80, 443, 80] },
  { values: ["0080"], ports: [80] },
  { values: ["65535"], ports: [65535] },
  { values: RANGE.slice(0, 128).map(String), ports: RANGE.slice(0, 128) },
  { values: [], message: 'query parameter "port" is required' },
  {
    values: [""],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "": invalid syntax',
  },
  {
    values: ["8080,"],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "": invalid syntax',
  },
  {
    values: ["abc"],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "abc": invalid syntax',
  },
  {
    values: ["-1"],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "-1": invalid syntax',
  },
  {
    values: ["+80"],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "+80": invalid syntax',
  },
  {
    values: ["8080 "],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "8080 ": invalid syntax',
  },
  {
    values: ["65536"],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "65536": value out of range',
  },
  { values: ["0"], message: 'port "0" must be > 0' },
  { values: ["80", "0,1"], message: 'port "80,0,1" must be > 0' },
  {
    values: ["0", "x"],
    isStatus: true,
    message: 'cannot convert to []int32: strconv.ParseUint: parsing "x": invalid syntax',
  },
];
// And as its kubelet did, asked by itself.
const KUBELET: Case[] = [
  { values: ["80"], ports: [80] },
  { values: ["80,443", "8080"], ports: [80, 443, 8080] },
  { values: [], message: 'query parameter "port" is required' },
  { values: ["80", ""], message: 'query parameter "port" cannot be empty' },
  {
    values: ["abc"],
    message: 'unable to parse "abc" as a port: strconv.ParseUint: parsing "abc": invalid syntax',
  },
  {
    values: ["80,x"],
    message: 'unable to parse "80,x" as a port: strconv.ParseUint: parsing "x": invalid syntax',
  },
  { values: ["80,0"], message: 'port "80,0" must be > 0' },
];
for (const [read, cases] of [[readApiPorts, API], [readKubeletPorts, KUBELET]] as const) {
  for (const { values, ports, isStatus = false, message } of cases) {
    const name = JSON.stringify(values).slice(0, 60);
    Deno.test(`${read.name} ${message === undefined ? "reads" : "refuses"} ${name}`, () => {
      assert.deepEqual(
        read(values),
        message === undefined ? { ok: true, ports } : { ok: false, isStatus, message },
      );
    });
  }
  Deno.test(`${read.name} refuses more ports than channels have numbers`, () => {
    const said = read([RANGE.join(",")]);
    assert.equal(!said.ok && said.message, "at most 128 ports can be forwarded over one WebSocket");
  });
}

// Read from a Kubernetes 1.34.4 API server.
const FIRST = [
  { protocol: "v4.channel.k8s.io", ports: [80, 443], want: "8203005000 8203015000 820302bb01 820303bb01" },
  { protocol: "", ports: [8080], want: "820300901f 820301901f" },
  { protocol: "v4.base64.channel.k8s.io", ports: [8080], want: "8105306b42383d 8105316b42383d" },
] as const;
for (const { protocol, ports, want } of FIRST) {
  Deno.test(`E-108 encodePortMessages says ports ${ports.join(" and ")} in ${protocol || "(none)"}`, () => {
    const frames = encodePortMessages(protocol, ports).map((frame) => Buffer.from(frame).toString("hex"));
    assert.equal(frames.join(" "), want);
  });
}
