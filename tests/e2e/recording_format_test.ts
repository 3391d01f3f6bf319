import assert from "node:assert/strict";
import { join } from "node:path";
import { postern } from "../../cli/postern.ts";
import { makeRecording } from "../../recording/test_recording.ts";
import { RECORDINGS } from "../recording/recordings.ts";
import { ROOT, runningCluster } from "./support/cluster.ts";

/** Written from docs/recording-format.md, for Python's standard library. */
const READER = join(ROOT, "tests", "recording", "read_recording.py");

/** asciinema 2.4's own: what its player is given of a cast. */
const CAST_PARSER = `
import json, sys
from asciinema import asciicast
with asciicast.open_from_url(sys.argv[1]) as cast:
    header = {"columns": cast.v2_header["width"], "rows": cast.v2_header["height"]}
    print(json.dumps({**header, "events": list(cast.events())}))
`;

async function python(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const { paths } = await runningCluster();
  const { code, stdout, stderr } = await new Deno.Command(paths.python, { args }).output();
  return { code, out: new TextDecoder().decode(stdout), error: new TextDecoder().decode(stderr) };
}

async function inFolder(test: (file: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(join(folder, "a.rec"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function exported(file: string, format: string): Promise<string> {
  const target = `${file}.${format}`;
  const output = { out: () => {}, error: (text: string) => assert.fail(text) };
  assert.equal(await postern(["export", file, "--format", format, "--output", target], output), 0);
  return target;
}

const lines = (text: string) => text.trimEnd().split("\n").map((line): unknown => JSON.parse(line));

for (const { name, recording, isCompressed } of RECORDINGS) {
  Deno.test(`a Python reader written from the document, given ${name}`, () =>
    inFolder(async (file) => {
      await Deno.writeFile(file, await makeRecording(recording));
      const { code, out, error } = await python(READER, file);
      if (isCompressed) {
        assert.match(error, /is compressed/);
      } else {
        assert.equal(code, 0, error);
        assert.deepEqual(lines(out), lines(await Deno.readTextFile(await exported(file, "json"))));
      }
    }));
}

Deno.test("a Python reader written from the document finds a flipped bit", () =>
  inFolder(async (file) => {
    const bytes = await makeRecording(RECORDINGS[0]!.recording);
    bytes[bytes.length >> 1]! ^= 4;
    await Deno.writeFile(file, bytes);
    const { code, error } = await python(READER, file);
    assert.notEqual(code, 0);
    assert.match(error, /is not what was written/);
  }));

Deno.test("asciinema's own parser reads a cast as it was meant, with its size the right way round", () =>
  inFolder(async (file) => {
    await Deno.writeFile(file, await makeRecording(RECORDINGS[0]!.recording));
    const { code, out, error } = await python("-c", CAST_PARSER, await exported(file, "asciicast"));
    assert.equal(code, 0, error);
    assert.deepEqual(JSON.parse(out), {
      columns: 132,
      rows: 43,
      events: [
        [0.2, "o", "\x1b[?1049h\x1b[2J☃"],
        [90.00025, "i", ":q\r"],
        [3600, "o", "\x1b[?1049lÿ"],
      ],
    });
  }));
