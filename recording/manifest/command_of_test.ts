import assert from "node:assert/strict";
import { cpuUsage } from "node:process";
import fc from "fast-check";
import { commandOf, type Transfer } from "./command_of.ts";

const IN: Transfer = { kind: "tar", direction: "in" };
const OUT: Transfer = { kind: "tar", direction: "out" };

const commands: { argv: readonly string[]; want: Transfer | undefined; client?: string }[] = [
  { client: "kubectl cp to a pod", argv: ["tar", "-xmf", "-", "-C", "/srv"], want: IN },
  { client: "kubectl cp to a pod, old", argv: ["tar", "xf", "-", "-C", "/srv"], want: IN },
  {
    client: "kubectl cp --no-preserve",
    argv: ["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"],
    want: IN,
  },
  { client: "kubectl cp from a pod", argv: ["tar", "cf", "-", "/srv/data"], want: OUT },
  { client: "kubectl cp --retries", argv: ["sh", "-c", "tar cf - /srv/data | tail -c+1"], want: OUT },
  {
    client: "kubectl cp --retries, again",
    argv: ["sh", "-c", "tar cf - /srv/data | tail -c+1048577"],
    want: { ...OUT, startsAtByte: 1048577 },
  },
  { client: "oc rsync to a pod", argv: ["tar", "-C", "/srv", "-ox"], want: IN },
  { client: "oc rsync from a pod", argv: ["tar", "-C", "/srv", "-c", "data", "--exclude=x"], want: OUT },
  { argv: ["/bin/tar", "czf", "-", "."], want: OUT },
  { argv: ["busybox", "tar", "-xzf-"], want: IN },
  { argv: ["env", "LANG=C", "nice", "-n", "5", "tar", "--create", "--file=-", "."], want: OUT },
  { argv: ["timeout", "30s", "tar", "--extract", "--file", "-"], want: IN },
  { argv: ["tar", "cbf", "20", "-", "."], want: OUT },
  { argv: ["tar", "tvf", "-"], want: IN },
  { argv: ["bash", "-lc", "cd '/a b' && exec tar -cf - -C \"x y\" ."], want: OUT },
  { argv: ["sh", "-c", "tar c . | gzip -9"], want: OUT },
  { argv: ["sh", "-c", "gunzip | tar x -C /"], want: IN },
  { argv: ["tar", "cf", "/tmp/x.tar", "."], want: undefined },
  { argv: ["tar", "-xf", "x.tar"], want: undefined },
  { argv: ["tar", "--version"], want: undefined },
  { argv: ["sh", "-c", "tar cf - . | sha256sum"], want: undefined },
  { argv: ["sh", "-c", "curl https://example.com/x.tar | tar x"], want: undefined },
  { argv: ["sh"], want: undefined },
  { argv: ["cat", "x.tar"], want: undefined },
  { argv: [], want: undefined },
  {
    client: "oc rsync to a pod, by rsync",
    argv: ["rsync", "--server", "-vlogDtprze.iLsfxCIvu", "--delete", ".", "/srv"],
    want: {
      kind: "rsync",
      facts: {
        direction: "in",
        paths: ["/srv"],
        options: ["-vlogDtprze.iLsfxCIvu", "--delete"],
        deletes: true,
      },
    },
  },
  {
    argv: ["rsync", "--server", "--sender", "-nlr", ".", "/a", "/b"],
    want: {
      kind: "rsync",
      facts: { direction: "out", paths: ["/a", "/b"], options: ["--sender", "-nlr"], isDryRun: true },
    },
  },
  {
    argv: ["rsync", "--server", "-slre.iLsfxCIvu"],
    want: {
      kind: "rsync",
      facts: { direction: "in", arePathsHidden: true, paths: [], options: ["-slre.iLsfxCIvu"] },
    },
  },
  {
    argv: ["rsync", "--server", "--daemon", "."],
    want: {
      kind: "rsync",
      facts: { direction: "unknown", isDaemon: true, paths: [], options: ["--daemon"] },
    },
  },
  { argv: ["rsync", "-a", "/a/", "host:/b"], want: undefined },
];
for (const { argv, want, client } of commands) {
  Deno.test(`commandOf: ${client === undefined ? "" : `${client}: `}${argv.join(" ")}`, () => {
    assert.deepEqual(commandOf(argv), want);
  });
}

Deno.test("commandOf states so much of a long rsync, and that it is more", () => {
  const transfer = commandOf(["rsync", "--server", ".", ..."x".repeat(40).split(""), "y".repeat(1000)]);
  assert.ok(transfer?.kind === "rsync");
  assert.deepEqual([transfer.facts.paths.length, transfer.facts.isCut], [32, true]);
});

Deno.test("commandOf throws for no command, and is quick with long ones", () => {
  fc.assert(fc.property(fc.array(fc.string()), fc.string(), (words, script) => {
    commandOf(["tar", ...words]);
    commandOf(["rsync", "--server", ...words]);
    commandOf(["sh", "-c", `tar ${script}`]);
  }));
  const before = cpuUsage();
  for (const piece of ["a", "'", '"a', "\\", "| tar c ", "tar x;", " "]) {
    commandOf(["sh", "-c", `tar c ${piece.repeat(100_000 / piece.length)}`]);
  }
  const { user, system } = cpuUsage(before);
  assert.ok(user + system < 2_000_000, `${(user + system) / 1000} ms`);
});
