import assert from "node:assert/strict";
import {
  CHANNEL_PROTOCOLS,
  type ChannelProtocol,
  expectedStreams,
  negotiateChannelProtocol,
  negotiateStreamProtocol,
  STREAM_PROTOCOLS,
} from "./protocols.ts";

const ACCEPTED = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"] as const;

const CHOICES: { name: string; offers: string[]; want: string }[] = [
  { name: "E-13 of one line", offers: ["v9, v3.channel.k8s.io"], want: "v3.channel.k8s.io" },
  {
    name: "E-14 of two lines, in the client's order",
    offers: ["v2.channel.k8s.io", "v4.channel.k8s.io"],
    want: "v2.channel.k8s.io",
  },
  {
    name: "v4 of a client that prefers v5",
    offers: ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"],
    want: "v4.channel.k8s.io",
  },
  { name: "v1", offers: [",, channel.k8s.io"], want: "channel.k8s.io" },
];

for (const { name, offers, want } of CHOICES) {
  Deno.test(`negotiateStreamProtocol chooses ${name}`, () => {
    assert.deepEqual(negotiateStreamProtocol(offers), { ok: true, protocol: want });
  });
}

Deno.test("negotiateStreamProtocol refuses unknown protocols with the list of ours (E-15)", () => {
  assert.deepEqual(negotiateStreamProtocol(["X, toString"]), {
    ok: false,
    status: 403,
    message:
      "unable to upgrade: unable to negotiate protocol: client supports [X toString], server accepts " +
      "[v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]",
    accepted: ACCEPTED,
  });
});

for (const offers of [[], [""], [" , "]]) {
  Deno.test(`negotiateStreamProtocol refuses the offers ${JSON.stringify(offers)} (E-16)`, () => {
    assert.deepEqual(negotiateStreamProtocol(offers), {
      ok: false,
      status: 400,
      message: "unable to upgrade: X-Stream-Protocol-Version is required",
      accepted: [],
    });
  });
}

const KUBELET: ChannelProtocol[] = [
  "",
  "channel.k8s.io",
  "base64.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
];
const CHANNEL_CHOICES: { name: string; offered: string[]; want: ChannelProtocol | undefined }[] = [
  { name: "E-75 none as the empty one", offered: [], want: "" },
  {
    name: "E-92 v4 where v5 is not served",
    offered: ["v4.channel.k8s.io", "v5.channel.k8s.io"],
    want: "v4.channel.k8s.io",
  },
  { name: "E-93 nothing for v3", offered: ["v3.channel.k8s.io"], want: undefined },
  { name: "nothing for a name of JavaScript's", offered: ["constructor"], want: undefined },
  {
    name: "the client's order",
    offered: ["v4.base64.channel.k8s.io", "v4.channel.k8s.io"],
    want: "v4.base64.channel.k8s.io",
  },
];

for (const { name, offered, want } of CHANNEL_CHOICES) {
  Deno.test(`negotiateChannelProtocol chooses ${name}`, () => {
    assert.equal(negotiateChannelProtocol(offered, KUBELET), want);
  });
}

const EXPECTED: { name: string; flags: string; protocol: keyof typeof STREAM_PROTOCOLS; want: string }[] = [
  {
    name: "all without a tty",
    flags: "stdin stdout stderr",
    protocol: "v4.channel.k8s.io",
    want: "error stdin stdout stderr",
  },
  {
    name: "E-55 a tty, which has no stderr",
    flags: "stdin stdout stderr tty",
    protocol: "v4.channel.k8s.io",
    want: "error stdin stdout resize",
  },
  { name: "a tty of v3", flags: "stdout tty", protocol: "v3.channel.k8s.io", want: "error stdout resize" },
  {
    name: "a tty of v2, which cannot be resized",
    flags: "stdout tty",
    protocol: "v2.channel.k8s.io",
    want: "error stdout",
  },
  { name: "stderr alone", flags: "stderr", protocol: "channel.k8s.io", want: "error stderr" },
];

for (const { name, flags, protocol, want } of EXPECTED) {
  Deno.test(`expectedStreams of ${name}`, () => {
    const has = (flag: string) => flags.split(" ").includes(flag);
    const requested = { stdin: has("stdin"), stdout: has("stdout"), stderr: has("stderr"), tty: has("tty") };
    assert.equal(expectedStreams(requested, STREAM_PROTOCOLS[protocol]).join(" "), want);
  });
}

Deno.test("only v5 can end stdin over WebSocket (E-76, E-77)", () => {
  const able = Object.entries(CHANNEL_PROTOCOLS).filter(([, traits]) => traits.halfClose).map(([name]) =>
    name
  );
  assert.deepEqual(able, ["v5.channel.k8s.io"]);
});
