import { deepEqual, equal, throws } from "node:assert/strict";
import { createHash } from "node:crypto";
import { type Entry, tar } from "./tar.ts";

const text = (value: string) => new TextEncoder().encode(value);
const ENTRIES: Entry[] = [
  { type: "directory", path: "bin", mode: 0o755 },
  { type: "file", path: "bin/hello", mode: 0o755, bytes: text("hello\n") },
  { type: "symlink", path: "bin/hi", target: "hello" },
];

Deno.test("tar writes what another writer of ustar writes", () => {
  // Python 3.11 tarfile, USTAR_FORMAT, the same three members with mtime 0, without the padding to 10,240 bytes.
  const want = "a39ca7251952d90de007f4b3662f5c60c1ea65e96100ab3b1b1ee5fd23ef2d09";
  equal(createHash("sha256").update(tar(ENTRIES)).digest("hex"), want);
});

Deno.test("tar gives the same bytes in whatever order the entries come", () => {
  deepEqual(tar(ENTRIES.toReversed()), tar(ENTRIES));
});

Deno.test("tar refuses a path that does not fit its field rather than cutting it", () => {
  const path = "p".repeat(101);
  throws(() => tar([{ type: "file", path, mode: 0o644, bytes: text("") }]), RangeError);
});

for (const length of [0, 1, 511, 512, 513]) {
  Deno.test(`tar pads a file of ${length} bytes to whole blocks`, () => {
    const archive = tar([{ type: "file", path: "f", mode: 0o644, bytes: new Uint8Array(length).fill(7) }]);
    equal(archive.length, 512 + Math.ceil(length / 512) * 512 + 1024);
    equal(archive.filter((byte) => byte === 7).length, length);
  });
}
