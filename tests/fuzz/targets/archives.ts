import assert from "node:assert/strict";
import { readPaxRecords } from "../../../recording/manifest/pax_records.ts";
import { TarFault } from "../../../recording/manifest/tar_header.ts";
import { TarManifest } from "../../../recording/manifest/tar_manifest.ts";
import { END, file, header, joined, padded, pax, record } from "../../../recording/manifest/test_tar.ts";
import { orRefuses, sameHoweverCut } from "../oracle.ts";
import type { Target } from "../target.ts";

const BOUNDS = { maxFiles: 8, maxNameBytes: 64, maxNamesBytes: 256, maxMetaBytes: 2048 };
const TYPES = ["0", "1", "2", "3", "5", "7", "x", "g", "L", "K", "S", "M", "\0", "Z"];
const PATHS = ["a", "../../etc/passwd", "/abs", "d/", "\x1b[2J", "é", "x".repeat(100)];

export const ARCHIVE_TARGETS: readonly Target[] = [
  {
    name: "tar-manifest",
    promise: "however cut the same list, within its bounds, and never a throw",
    seeds: [
      joined(file("a", "hello"), file("b/c", ""), END),
      joined(pax({ path: "long", size: "3" }), file("a", "abc"), END),
      joined(file("././@LongLink", "n".repeat(150), { type: "L" }), file("a", "x"), END),
      joined(header({ type: "2", linkTarget: "/etc" }), END),
    ],
    words: [
      "ustar\x0000",
      "ustar  \0",
      "00000000005\0",
      "\x80\0\0\0",
      record("path", "x"),
      record("size", "99"),
      END.slice(0, 512),
    ],
    maxBytes: 16 * 1024,
    generate: (random) =>
      joined(
        ...Array.from({ length: 1 + random.below(4) }, () => {
          const [path, type] = [random.pick(PATHS), random.pick(TYPES)];
          if (random.oneIn(5)) {
            return pax({
              [random.pick(["path", "size", "linkpath", "GNU.sparse.name"])]: random.pick(PATHS),
            });
          }
          const content = random.bytes(random.pick([0, 1, 511, 512, 513]));
          const magic = random.pick(["ustar\x0000", "ustar  \0", ""]);
          return joined(
            header({ path, type, magic, size: content.length, linkTarget: random.pick(PATHS) }),
            padded(content),
          );
        }),
        random.oneIn(3) ? new Uint8Array() : END,
      ),
    check(input) {
      const listing = sameHoweverCut(input, (chunks) => {
        const manifest = new TarManifest(BOUNDS);
        for (const chunk of chunks) manifest.push(chunk);
        return manifest.end();
      });
      assert.ok(listing.files.length <= BOUNDS.maxFiles + 1);
      assert.ok(listing.contentBytes <= input.length);
      assert.ok(listing.count <= input.length / 512);
      for (const { path, linkTarget = "", mode } of listing.files) {
        assert.ok(new TextEncoder().encode(path).length <= BOUNDS.maxNameBytes);
        assert.ok(new TextEncoder().encode(linkTarget).length <= BOUNDS.maxNameBytes);
        assert.match(mode, /^[0-7]{3,4}$/);
      }
    },
  },
  {
    name: "pax-records",
    promise: "records are refused, or say sizes that can be counted",
    seeds: [record("path", "a"), record("size", "5") + record("GNU.sparse.realsize", "9"), ""],
    words: ["11 path=a\n", "99999999999 ", "=", "\n", "size=", "GNU.sparse.name=", "9007199254740993"],
    check(input) {
      const records = orRefuses(() => readPaxRecords(input), TarFault);
      for (const bytes of [records?.sizeBytes, records?.realSizeBytes]) {
        if (bytes !== undefined) assert.ok(Number.isSafeInteger(bytes) && bytes >= 0);
      }
    },
  },
];
