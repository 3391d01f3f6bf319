import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { END, file, header, type HeaderFields, joined, padded, pax, record } from "./test_tar.ts";
import { type ManifestBounds, type ManifestFile, type TarListing, TarManifest } from "./tar_manifest.ts";

const sha256 = (content: string | Uint8Array) => createHash("sha256").update(content).digest("hex");

function listingOf(tar: Uint8Array, bounds?: ManifestBounds): TarListing {
  const manifest = new TarManifest(bounds);
  manifest.push(tar);
  return manifest.end();
}

const LONG = `${"long/".repeat(60)}näme`;
const a: ManifestFile = { path: "a", type: "file", sizeBytes: 5, mode: "644", sha256: sha256("hello") };

/** Streams as their formats say, by hand: what tools write is below. */
const streams: { name: string; tar: Uint8Array; want: readonly ManifestFile[] }[] = [
  { name: "a file", tar: file("a", "hello"), want: [a] },
  { name: "an empty archive", tar: new Uint8Array(), want: [] },
  {
    name: "a path in two parts",
    tar: file("b", "hello", { prefix: "dir/sub" }),
    want: [{ ...a, path: "dir/sub/b" }],
  },
  {
    name: "no second part where the header is GNU's",
    tar: file("b", "hello", { magic: "ustar  \0", prefix: "7777" }),
    want: [{ ...a, path: "b" }],
  },
  {
    name: "links, devices, a fifo and a directory",
    tar: joined(
      header({ path: "s", type: "2", linkTarget: "a", mode: "0000777\0" }),
      header({ path: "h", type: "1", linkTarget: "a" }),
      header({ path: "c", type: "3" }),
      header({ path: "b", type: "4" }),
      header({ path: "d/", type: "5", mode: "0041755\0" }),
      header({ path: "p", type: "6" }),
    ),
    want: [
      { path: "s", type: "symlink", sizeBytes: 0, mode: "777", linkTarget: "a" },
      { path: "h", type: "hardlink", sizeBytes: 0, mode: "644", linkTarget: "a" },
      { path: "c", type: "character-device", sizeBytes: 0, mode: "644" },
      { path: "b", type: "block-device", sizeBytes: 0, mode: "644" },
      { path: "d/", type: "directory", sizeBytes: 0, mode: "1755" },
      { path: "p", type: "fifo", sizeBytes: 0, mode: "644" },
    ],
  },
  {
    name: "a directory from before POSIX",
    tar: header({ path: "d/", type: "\0", magic: "" }),
    want: [{ path: "d/", type: "directory", sizeBytes: 0, mode: "644" }],
  },
  {
    name: "a type that nobody knows, as a file",
    tar: file("v", "hello", { type: "Q" }),
    want: [{ path: "v", type: "special", sizeBytes: 5, mode: "644" }],
  },
  {
    name: "GNU's long names",
    tar: joined(
      file("././@LongLink", `${LONG}\0`, { type: "L" }),
      file("././@LongLink", `to/${LONG}\0`, { type: "K" }),
      header({ path: "cut", linkTarget: "cut", type: "2" }),
      file("a", "hello"),
    ),
    want: [{ path: LONG, type: "symlink", sizeBytes: 0, mode: "644", linkTarget: `to/${LONG}` }, a],
  },
  {
    name: "pax records: path, link target and size, of the next entry only",
    tar: joined(
      pax({ path: LONG, size: "5", mtime: "1.5", comment: "a=b\nc" }),
      file("cut", "hello", { size: 0 }),
      pax({ linkpath: LONG }),
      header({ path: "s", type: "2", linkTarget: "cut" }),
      file("a", "hello"),
    ),
    want: [
      { ...a, path: LONG },
      { path: "s", type: "symlink", sizeBytes: 0, mode: "644", linkTarget: LONG },
      a,
    ],
  },
  {
    name: "a global record of git archive",
    tar: joined(pax({ comment: "abc" }, "g"), file("a", "hello")),
    want: [a],
  },
  {
    name: "a size in base 256",
    tar: file("a", "hello", { size: new Uint8Array([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]) }),
    want: [a],
  },
  {
    name: "a sparse file in pax",
    tar: joined(
      pax({
        "GNU.sparse.major": "1",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "1000000",
        path: "GNUSparseFile.0/s",
      }),
      file("x", "hello"),
    ),
    want: [{ path: "s", type: "file", sizeBytes: 1000000, mode: "644", isSparse: true }],
  },
  {
    name: "a sparse file of old GNU with more map than fits",
    tar: joined(
      header({
        path: "s",
        type: "S",
        size: 5,
        magic: "ustar  \0",
        patch: [[482, new Uint8Array([1])], [483, new TextEncoder().encode("00003641100\0")]],
      }),
      (() => {
        const map = new Uint8Array(1024);
        map[504] = 1;
        return map;
      })(),
      padded("hello"),
    ),
    want: [{ path: "s", type: "file", sizeBytes: 1000000, mode: "644", isSparse: true }],
  },
];
for (const { name, tar, want } of streams) {
  Deno.test(`TarManifest lists ${name}, cut anywhere`, () => {
    const whole = joined(tar, END);
    const expected = listingOf(whole);
    assert.deepEqual(expected.files, want);
    assert.deepEqual([expected.count, expected.truncated, expected.reason], [want.length, false, undefined]);
    // Blocks are all alike inside: around their edges it matters where they are cut, and elsewhere here and there.
    for (let cut = 0; cut <= whole.length; cut += cut % 512 > 4 && cut % 512 < 500 ? 7 : 1) {
      const manifest = new TarManifest();
      manifest.push(whole.subarray(0, cut));
      manifest.push(whole.subarray(cut));
      assert.deepEqual(manifest.end(), expected, `cut at byte ${cut}`);
    }
    const manifest = new TarManifest();
    for (const byte of whole) manifest.push(new Uint8Array([byte]));
    assert.deepEqual(manifest.end(), expected, "byte by byte");
  });
}

/** What an attacker, or a broken peer, sends: the manifest ends with a reason, and lists what came before. */
const hostile: { name: string; tar: Uint8Array; reason: RegExp; bounds?: ManifestBounds }[] = [
  { name: "a wrong checksum", tar: header({ checksum: "000000\0 " }), reason: /checksum is wrong/ },
  {
    name: "a checksum that is no number",
    tar: header({ checksum: "zzzzzz\0 " }),
    reason: /checksum is no number/,
  },
  { name: "text", tar: padded("hello ".repeat(100)), reason: /checksum/ },
  {
    name: "a negative size",
    tar: header({ size: new Uint8Array(12).fill(0xff) }),
    reason: /size is negative/,
  },
  {
    name: "a size beyond all numbers",
    tar: header({ size: new Uint8Array([0x80, ...new Uint8Array(11).fill(0xff)]) }),
    reason: /size is too large/,
  },
  { name: "a size that is no number", tar: header({ size: "12345x78901\0" }), reason: /size is no number/ },
  {
    name: "a pax header of 8 GB",
    tar: header({ type: "x", size: 2 ** 33 }),
    reason: /more than 262144 bytes/,
  },
  {
    name: "a long name of 8 GB",
    tar: header({ type: "L", size: 2 ** 33 }),
    reason: /more than 262144 bytes/,
  },
  {
    name: "many headers before one entry",
    tar: joined(...Array.from({ length: 5 }, () => pax({ comment: "x".repeat(300) }, "g"))),
    reason: /more than 1000 bytes/,
    bounds: { maxMetaBytes: 1000 },
  },
  {
    name: "a sparse map without end",
    tar: joined(
      header({ type: "S", magic: "ustar  \0", patch: [[482, new Uint8Array([1])]] }),
      new Uint8Array(512 * 10).fill(1),
    ),
    reason: /more than 1000 bytes/,
    bounds: { maxMetaBytes: 1000 },
  },
  { name: "a pax record without length", tar: file("p", "x=1\n", { type: "x" }), reason: /no length/ },
  {
    name: "a pax record that is too long",
    tar: file("p", "99 path=b\n", { type: "x" }),
    reason: /length is wrong/,
  },
  { name: "a pax record without key", tar: file("p", "6 abc\n", { type: "x" }), reason: /no key/ },
  { name: "a pax size that is negative", tar: pax({ size: "-5" }), reason: /size is no number/ },
  {
    name: "a symlink with content, in its header",
    tar: header({ type: "2", size: 512 }),
    reason: /content follows a symlink/,
  },
  {
    name: "a directory with content, in its pax records",
    tar: joined(pax({ size: "512" }), header({ type: "5" })),
    reason: /content follows a directory/,
  },
  {
    name: "two names for one entry",
    tar: joined(pax({ path: "b" }), file("L", "c\0", { type: "L" })),
    reason: /named twice/,
  },
  {
    name: "two pax headers for one entry",
    tar: joined(pax({ path: "b" }), pax({ path: "c" })),
    reason: /named twice/,
  },
  { name: "a name for all files", tar: pax({ path: "b" }, "g"), reason: /names all files alike/ },
  { name: "an archive behind the archive", tar: joined(END, file("hidden", "x")), reason: /behind the end/ },
  {
    name: "an entry behind one block of zeros",
    tar: joined(new Uint8Array(512), file("hidden", "x")),
    reason: /behind the end/,
  },
];
for (const { name, tar, reason, bounds } of hostile) {
  Deno.test(`TarManifest ends at ${name}, and says so`, () => {
    const listing = listingOf(joined(file("a", "hello"), tar, END), bounds);
    assert.match(listing.reason ?? "", reason);
    assert.deepEqual(listing.files, [a]);
    assert.equal(listing.count, 1);
  });
}

Deno.test("TarManifest lists a file in part where the stream ends in it, without a digest", () => {
  const listing = listingOf(file("a", "hello").subarray(0, 514));
  assert.deepEqual(listing.files, [{ path: "a", type: "file", sizeBytes: 5, mode: "644", isPartial: true }]);
  assert.deepEqual([listing.count, listing.contentBytes], [1, 2]);
  assert.match(listing.reason ?? "", /stream ended before/);
});

Deno.test("TarManifest takes one block of zeros for an end, as all readers do", () => {
  assert.equal(listingOf(joined(file("a", "hello"), new Uint8Array(512))).reason, undefined);
});

Deno.test("TarManifest lists so many files and counts on", () => {
  const tar = joined(...Array.from({ length: 7 }, (_, at) => file(`f${at}`, "x")), END);
  const listing = listingOf(tar, { maxFiles: 3 });
  assert.deepEqual(listing.files.map(({ path }) => path), ["f0", "f1", "f2"]);
  assert.deepEqual([listing.count, listing.truncated, listing.contentBytes], [7, true, 7]);
  assert.equal(listing.reason, undefined);
});

Deno.test("TarManifest holds so much of names and no more: one, and all together", () => {
  const long = listingOf(joined(pax({ path: "é".repeat(5000) }), file("a", "hello"), END), {
    maxNameBytes: 101,
  });
  assert.deepEqual(long.files, [{ ...a, path: "é".repeat(50), isCut: true }]);
  const many = joined(...Array.from({ length: 20 }, (_, at) => file(`f${at}`.padEnd(100, "x"), "")), END);
  const listing = listingOf(many, { maxNamesBytes: 1000 });
  assert.deepEqual([listing.files.length, listing.count, listing.truncated], [10, 20, true]);
});

Deno.test("TarManifest throws nothing and ends, whatever comes", () => {
  const fields: fc.Arbitrary<HeaderFields> = fc.record({
    path: fc.string({ maxLength: 120 }),
    type: fc.constantFrom(..."0123456789xgLKSVXDMN\0"),
    size: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.uint8Array({ minLength: 12, maxLength: 12 })),
    linkTarget: fc.string({ maxLength: 5 }),
    magic: fc.constantFrom("ustar\x0000", "ustar  \0", ""),
  }, { requiredKeys: [] });
  const part = fc.oneof(
    fields.map(header),
    fc.uint8Array({ maxLength: 1500 }).map(padded),
    fc.tuple(fc.constantFrom("path", "size", "linkpath", "GNU.sparse.size"), fc.string()).map((
      [key, value],
    ) => file("p", record(key, value), { type: "x" })),
    fc.constant(END),
  );
  fc.assert(fc.property(fc.array(part, { maxLength: 8 }), fc.integer({ min: 1, max: 700 }), (parts, step) => {
    const tar = joined(...parts);
    const manifest = new TarManifest();
    for (let at = 0; at < tar.length; at += step) manifest.push(tar.subarray(at, at + step));
    assert.deepEqual(manifest.end(), listingOf(tar));
  }));
});

const run = (command: string, args: readonly string[], cwd?: string) =>
  spawnSync(command, args, { ...(cwd && { cwd }), maxBuffer: 1 << 26 });
const isGnu = /GNU tar/.test(String(run("tar", ["--version"]).stdout));
const hasPython = run("python3", ["-c", "import tarfile"]).status === 0;

/** A folder with one of each kind that a user can make. */
function folder(): string {
  const root = mkdtempSync(join(tmpdir(), "postern-tar-"));
  mkdirSync(join(root, "sub", "d".repeat(90), "e".repeat(90)), { recursive: true });
  writeFileSync(join(root, "empty"), "");
  writeFileSync(join(root, "hello"), "hello\n");
  writeFileSync(join(root, "block"), "b".repeat(512));
  writeFileSync(join(root, "großes ümläut"), "ü".repeat(70_000));
  writeFileSync(join(root, "sub", "d".repeat(90), "e".repeat(90), "f".repeat(120)), "deep");
  chmodSync(join(root, "hello"), 0o4755);
  symlinkSync("hello", join(root, "symlink"));
  symlinkSync("x/".repeat(100), join(root, "long symlink"));
  linkSync(join(root, "hello"), join(root, "hello again"));
  writeFileSync(join(root, "sparse"), "start");
  truncateSync(join(root, "sparse"), 3_000_000);
  run("mkfifo", [join(root, "fifo")]);
  return root;
}

/** What `tar -tv` says: permissions, size, path and link target. */
function listedByTar(tar: Uint8Array): string[] {
  const { stdout } = spawnSync("tar", [
    "-tvf",
    "-",
    "--numeric-owner",
    "--quoting-style=literal",
    "--full-time",
  ], { input: tar });
  return String(stdout).trim().split("\n").map((line) => {
    const [, permissions, size, rest] = /^.(\S{9})\S* +\S+ +(\S+) +\S+ +\S+ +(.*)$/.exec(line) ?? [];
    return `${permissions} ${size} ${rest}`;
  });
}

function asTarLists({ path, type, sizeBytes, mode, linkTarget }: ManifestFile): string {
  const bits = Number.parseInt(mode, 8);
  const letters = [..."rwxrwxrwx"].map((letter, at) => (bits >> (8 - at)) & 1 ? letter : "-");
  if (bits & 0o4000) letters[2] = letters[2] === "x" ? "s" : "S";
  const target = type === "symlink"
    ? ` -> ${linkTarget}`
    : type === "hardlink"
    ? ` link to ${linkTarget}`
    : "";
  return `${letters.join("")} ${sizeBytes} ${path}${target}`;
}

const PYTHON = "import sys,tarfile\n" +
  "t=tarfile.open(fileobj=sys.stdout.buffer,mode='w|',format=getattr(tarfile,sys.argv[1]))\nt.add('.')\nt.close()";
const writers: {
  name: string;
  command: string;
  args: readonly string[];
  isThere: boolean;
}[] = [
  ...["gnu", "oldgnu", "posix", "pax"].map((format) => (
    { name: `GNU tar, ${format}`, command: "tar", args: ["-c", `--format=${format}`, "."], isThere: isGnu }
  )),
  ...["ustar", "v7"].map((format) => ({
    name: `GNU tar, ${format}`,
    command: "tar",
    args: ["-c", `--format=${format}`, "--exclude=long symlink", "--exclude=fff*", "--exclude=fifo", "."],
    isThere: isGnu,
  })),
  ...["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"].map((
    format,
  ) => (
    {
      name: `GNU tar, sparse, ${format}`,
      command: "tar",
      args: ["-cS", ..."--format=".concat(format).split(" "), "."],
      isThere: isGnu,
    }
  )),
  ...["GNU_FORMAT", "PAX_FORMAT"].map((format) => (
    {
      name: `Python's tarfile, ${format}`,
      command: "python3",
      args: ["-c", PYTHON, format],
      isThere: hasPython && isGnu,
    }
  )),
];
for (const { name, command, args, isThere } of writers) {
  Deno.test({
    name: `TarManifest lists what ${name} writes as tar -tv and sha256sum do`,
    ignore: !isThere,
    fn() {
      const root = folder();
      try {
        const { stdout: tar, stderr } = run(command, args, root);
        const listing = listingOf(tar);
        assert.equal(listing.reason, undefined, String(stderr));
        assert.ok(listing.count > 7);
        assert.deepEqual(listing.files.map(asTarLists), listedByTar(tar));
        for (
          const { path, sha256: digest, type, isSparse } of listing.files.filter(({ type }) =>
            type === "file"
          )
        ) {
          if (isSparse) continue;
          assert.equal(digest, sha256(Deno.readFileSync(join(root, path))), `${type} ${path}`);
        }
      } finally {
        rmSync(root, { recursive: true });
      }
    },
  });
}
