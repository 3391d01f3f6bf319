import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { type Manifest, ManifestTap } from "./manifest_tap.ts";
import { END, file, joined, padded } from "./test_tar.ts";

const TAR = joined(file("a", "hello"), file("b", "x".repeat(3000)), END);
const FILES = ["a", "b"];

const data = (stream: string, bytes: Uint8Array) =>
  ({ type: "data", stream, direction: stream === "stdin" ? "in" : "out", bytes }) as const;

async function manifestsOf(
  { argv, tty = false, stream, bytes, step = bytes.length || 1 }: {
    argv?: readonly string[];
    tty?: boolean;
    stream: string;
    bytes: Uint8Array;
    step?: number;
  },
): Promise<readonly Manifest[]> {
  const tap = new ManifestTap({ ...(argv && { argv }), tty });
  await tap.push({ type: "opened" });
  for (let at = 0; at < bytes.length; at += step) {
    // The view is the session's, which uses it again.
    const view = Uint8Array.from(bytes.subarray(at, at + step));
    await tap.push(data(stream, view));
    view.fill(0xff);
  }
  await tap.push({ type: "half_closed" });
  return await tap.end();
}

const brief = (manifest: Manifest | undefined) =>
  manifest?.kind === "tar"
    ? { ...manifest, files: manifest.files.map(({ path }) => path), contentBytes: 0, count: 0 }
    : manifest;
const whole = { kind: "tar", files: FILES, truncated: false, contentBytes: 0, count: 0 };

const sessions: { name: string; session: Parameters<typeof manifestsOf>[0]; want: unknown[] }[] = [
  {
    name: "an upload of kubectl cp",
    session: { argv: ["tar", "-xmf", "-", "-C", "/"], stream: "stdin", bytes: TAR },
    want: [{ ...whole, direction: "in", foundBy: "command" }],
  },
  {
    name: "a download of kubectl cp",
    session: { argv: ["tar", "cf", "-", "a", "b"], stream: "stdout", bytes: TAR },
    want: [{ ...whole, direction: "out", foundBy: "command" }],
  },
  {
    name: "a download of a command that does not say so",
    session: { argv: ["cat", "backup"], stream: "stdout", bytes: TAR },
    want: [{ ...whole, direction: "out", foundBy: "content" }],
  },
  {
    name: "an upload to the process that is attached to",
    session: { stream: "stdin", bytes: TAR },
    want: [{ ...whole, direction: "in", foundBy: "content" }],
  },
  {
    name: "gzip, whatever the flags say",
    session: { argv: ["tar", "cf", "-", "."], stream: "stdout", bytes: gzipSync(TAR) },
    want: [{ ...whole, direction: "out", foundBy: "command", compression: "gzip" }],
  },
  {
    name: "no gzip, whatever the flags say",
    session: { argv: ["tar", "czf", "-", "."], stream: "stdout", bytes: TAR },
    want: [{ ...whole, direction: "out", foundBy: "command" }],
  },
  {
    name: "an archive of another compression, as one that was not read",
    session: {
      argv: ["tar", "cJf", "-", "."],
      stream: "stdout",
      bytes: joined(new Uint8Array([0xfd, 0x37, 0x7a, 0x58]), padded("?")),
    },
    want: [{
      ...whole,
      ...{
        direction: "out",
        foundBy: "command",
        files: [],
        reason: "compressed by xz, which is not looked into",
      },
    }],
  },
  {
    name: "gzip that breaks off",
    session: { argv: ["tar", "x"], stream: "stdin", bytes: gzipSync(TAR).subarray(0, 30) },
    want: [{
      ...whole,
      ...{ direction: "in", foundBy: "command", compression: "gzip", files: [] },
      reason: "what is said to be gzip cannot be inflated",
    }],
  },
  {
    name: "a tar that said nothing",
    session: { argv: ["tar", "cf", "-", "missing"], stream: "stdout", bytes: new Uint8Array() },
    want: [{
      ...whole,
      ...{
        direction: "out",
        foundBy: "command",
        files: [],
        reason: "the stream ended before the archive did",
      },
    }],
  },
  {
    name: "a download that was taken up again",
    session: { argv: ["sh", "-c", "tar cf - a | tail -c+600"], stream: "stdout", bytes: TAR.subarray(599) },
    want: [{
      ...whole,
      ...{
        direction: "out",
        foundBy: "command",
        files: [],
        reason: "the archive is continued from its byte 600",
      },
    }],
  },
  {
    name: "rsync: what its command line says",
    session: { argv: ["rsync", "--server", "-re.x", ".", "/srv"], stream: "stdin", bytes: TAR },
    want: [{ kind: "rsync", direction: "in", paths: ["/srv"], options: ["-re.x"] }],
  },
  {
    name: "nothing of a shell",
    session: { argv: ["sh"], stream: "stdout", bytes: padded("$ ls\n") },
    want: [],
  },
  {
    name: "nothing of short output",
    session: { argv: ["id"], stream: "stdout", bytes: TAR.subarray(0, 511) },
    want: [],
  },
  {
    name: "nothing of a terminal, which changes bytes",
    session: { argv: ["tar", "c"], tty: true, stream: "stdout", bytes: TAR },
    want: [],
  },
  { name: "nothing of stderr", session: { argv: ["x"], stream: "stderr", bytes: TAR }, want: [] },
];
for (const { name, session, want } of sessions) {
  Deno.test({
    name: `ManifestTap tells ${name}, cut anywhere`,
    sanitizeOps: true,
    sanitizeResources: true,
    async fn() {
      for (const step of [session.bytes.length || 1, 1, 511, 512, 513]) {
        const manifests = await manifestsOf({ ...session, step });
        assert.deepEqual(manifests.map(brief), want, `in pieces of ${step}`);
      }
    },
  });
}

Deno.test("ManifestTap stops at a gzip bomb, and lets the session go on", async () => {
  const bomb = gzipSync(
    joined(file("a", "hello"), file("bomb", "", { size: 200_000_000 }), new Uint8Array(200_000_000)),
  );
  const [manifest] = await manifestsOf({ argv: ["tar", "xz"], stream: "stdin", bytes: bomb, step: 4096 });
  assert.ok(manifest?.kind === "tar");
  assert.match(manifest.reason ?? "", /inflated to more than 200 times/);
  assert.ok(manifest.contentBytes < 110_000_000, `${manifest.contentBytes} bytes`);
  assert.deepEqual(manifest.files.map(({ path, isPartial }) => ({ path, isPartial })), [
    { path: "a", isPartial: undefined },
    { path: "bomb", isPartial: true },
  ]);
});

Deno.test("ManifestTap digests what is large, through gzip too", async () => {
  const content = randomBytes(3_000_000);
  const tar = joined(file("big", "", { size: content.length }), padded(content), END);
  for (const bytes of [tar, gzipSync(tar)]) {
    const [manifest] = await manifestsOf({ argv: ["tar", "x"], stream: "stdin", bytes, step: 32768 });
    assert.ok(manifest?.kind === "tar");
    assert.equal(manifest.files[0]?.sha256, createHash("sha256").update(content).digest("hex"));
  }
});
