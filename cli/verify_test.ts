import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import fc from "fast-check";
import { BLOCK, BlockReader, encodeBlock, firstLink, MAGIC } from "../recording/format/block.ts";
import { ChainWriter } from "../recording/chain/chain_writer.ts";
import { decodeDocument } from "../recording/format/document.ts";
import { Signer } from "../recording/format/signer.ts";
import { FolderStore } from "../recording/sinks/folder.ts";
import { makeRecording, opened, PRIVATE_KEY, PUBLIC_KEY, said } from "../recording/test_recording.ts";
import { postern } from "./postern.ts";

async function run(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const code = await postern(args, { out: (text) => out += text, error: (text) => error += text });
  return { code, out, error };
}

/** A folder for one test, with the public key in it. */
async function inFolder(test: (folder: string, key: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  const key = join(folder, "public.pem");
  try {
    await Deno.writeTextFile(key, PUBLIC_KEY);
    await test(folder, key);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const EVENTS = [
  ...opened("stdin", "stdout"),
  said(10, "stdin", "id\r"),
  said(20, "stdout", "uid=0(root)\r\n".repeat(40)),
];
const WHOLE = await makeRecording({ events: EVENTS });

Deno.test("verify says of a whole recording how much of it there is", () =>
  inFolder(async (folder, key) => {
    const file = join(folder, "a.rec");
    await Deno.writeFile(file, WHOLE);
    const { code, out } = await run("verify", file, "--key", key);
    assert.equal(code, 0, out);
    assert.match(out, /^\S+\/a\.rec: ok: \d+ blocks, \d+ signatures?\n$/);
    assert.match((await run("verify", file)).error, /no --key was given/);
  }));

for (const below of ["", "2026/11/21"]) {
  Deno.test(`attack: verify of a ${below || "file"} is not content with another session's recording, whole and signed`, () =>
    inFolder(async (folder, key) => {
      const [own, other] = [crypto.randomUUID(), crypto.randomUUID()];
      const file = join(folder, below, `${own}.rec`);
      await Deno.mkdir(join(folder, below), { recursive: true });
      const verified = async () => await run("verify", below === "" ? file : folder, "--key", key);
      await Deno.writeFile(file, await makeRecording({ auditId: own, events: EVENTS }));
      assert.match((await verified()).out, /^\S+\.rec: ok: /);
      await Deno.writeFile(file, await makeRecording({ auditId: other, events: EVENTS }));
      const { code, out } = await verified();
      assert.equal(code, 1);
      assert.match(
        out,
        new RegExp(`block 1, byte 20: session_wrong: it is the recording of another session: ${other}\n`),
      );
    }));
}

Deno.test("verify finds one flipped bit anywhere, and says where", () =>
  inFolder(async (folder, key) => {
    const file = join(folder, "a.rec");
    await fc.assert(
      fc.asyncProperty(fc.nat(WHOLE.length * 8 - 1), async (bit) => {
        const bytes = WHOLE.slice();
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        await Deno.writeFile(file, bytes);
        const { code, out } = await run("verify", file, "--key", key, "--output", "json");
        const { ok, fault } = JSON.parse(out);
        assert.deepEqual([code, ok], [1, false]);
        assert.ok(fault.at.offset <= bit >> 3 && fault.at.block > 0, out);
      }),
    );
  }));

const OTHER = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString();

const broken: { name: string; bytes: Uint8Array; keyPem?: string; says: RegExp }[] = [
  { name: "is cut", bytes: WHOLE.slice(0, -10), says: /block \d+, byte \d+: tail_missing: / },
  {
    name: "has no end",
    bytes: await makeRecording({ events: EVENTS, isEnded: false }),
    says: /block \d+, byte \d+: tail_missing: the recording ends before its end\n$/,
  },
  { name: "goes on behind its end", bytes: new Uint8Array([...WHOLE, 7]), says: /order_wrong: / },
  { name: "was signed by somebody else", bytes: WHOLE, keyPem: OTHER, says: /key_unknown: / },
  { name: "is none", bytes: new TextEncoder().encode("hello"), says: /block 1, byte 0: no_recording: / },
  { name: "is empty", bytes: new Uint8Array(), says: /block 1, byte 0: tail_missing: / },
];
for (const { name, bytes, keyPem = PUBLIC_KEY, says } of broken) {
  Deno.test(`verify tells of a recording that ${name}`, () =>
    inFolder(async (folder, key) => {
      await Deno.writeTextFile(key, keyPem);
      await Deno.writeFile(join(folder, "a.rec"), bytes);
      const { code, out } = await run("verify", join(folder, "a.rec"), "--key", key);
      assert.equal(code, 1);
      assert.match(out, says);
    }));
}

Deno.test("verify goes on behind the first file that is wrong", () =>
  inFolder(async (folder, key) => {
    await Deno.writeFile(join(folder, "a.rec"), WHOLE.slice(0, 90));
    await Deno.writeFile(join(folder, "b.rec"), WHOLE);
    const { code, out } = await run("verify", join(folder, "a.rec"), join(folder, "b.rec"), "--key", key);
    assert.equal(code, 1);
    assert.match(out, /a\.rec: block .*\n.*b\.rec: ok: .*\n$/);
  }));

Deno.test("a file's name executes nothing in the terminal of who verifies it", () =>
  inFolder(async (folder, key) => {
    const file = join(folder, "\x1b]0;gotcha\x07\u202etxt.rec");
    await Deno.writeFile(file, WHOLE);
    for (const format of ["text", "json"]) {
      const { out } = await run("verify", file, "--key", key, "--output", format);
      assert.doesNotMatch(out.trimEnd(), /[\p{Cc}\p{Cf}]/u);
    }
  }));

Deno.test("a hostile key id in a seal executes nothing in the terminal of who verifies it", () =>
  inFolder(async (folder, key) => {
    const file = join(folder, "a.rec");
    // What a forger writes who also makes the links anew.
    await Deno.writeFile(file, forge(WHOLE, "\u009b31m\u202e"));
    const { code, out } = await run("verify", file, "--key", key);
    assert.equal(code, 1);
    assert.match(out, /key_unknown: .*u\{9b\}31m/);
    assert.doesNotMatch(out.trimEnd(), /[\p{Cc}\p{Cf}]/u);
  }));

/** The recording with seals by a key of that id, and links that are right. */
function forge(recording: Uint8Array, keyId: string): Uint8Array {
  const parts = [MAGIC];
  let last = firstLink();
  for (const { kind, flags, payload } of new BlockReader().push(recording)) {
    const seal = kind === BLOCK.SEAL ? { ...decodeDocument(payload), key: keyId } : undefined;
    const changed = seal === undefined ? payload : new TextEncoder().encode(JSON.stringify(seal));
    const { bytes, link } = encodeBlock(kind, flags, changed, last);
    parts.push(bytes);
    last = link;
  }
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

const DAY = "2026/11/21";
const NOW_MS = Date.UTC(2026, 10, 21, 12);

/** A store in which a gateway recorded a and b, was started anew, and recorded d. */
async function makeStore(folder: string): Promise<void> {
  const store = new FolderStore(folder);
  let nowMs = NOW_MS;
  const options = { store, signer: new Signer(PRIVATE_KEY), instance: "gw-0", now: () => nowMs++ };
  const record = async (chain: ChainWriter, name: string) => {
    const recording = `${DAY}/${name}.rec`;
    const about = { recording, auditId: name };
    await chain.add({ event: "began", ...about });
    const bytes = await makeRecording({ auditId: name, events: EVENTS });
    const file = await store.create(recording);
    await file.append(bytes);
    await file.close();
    await chain.add({ event: "ended", ...about, link: bytes.slice(-32).toHex() });
  };
  const first = await ChainWriter.open(options);
  for (const name of ["a", "b"]) await record(first, name);
  await first.close();
  nowMs += 60_000;
  const second = await ChainWriter.open(options);
  await record(second, "d");
  await second.close();
}

/** The names of the store's chains, in their order. */
async function chainsOf(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(join(folder, DAY))) if (name.endsWith(".chain")) names.push(name);
  return names.sort();
}

const stores: {
  name: string;
  change: (day: string, chains: string[]) => Promise<void>;
  says: RegExp | undefined;
}[] = [
  { name: "as it was written", change: () => Promise.resolve(), says: undefined },
  {
    name: "without one of its recordings",
    change: (day) => Deno.remove(join(day, "b.rec")),
    says: /b\.rec: recording_missing: named by \S+\.chain, line 4, and not there\n/,
  },
  {
    name: "with a recording that no chain names",
    change: (day) => Deno.copyFile(join(day, "a.rec"), join(day, "x.rec")),
    says: /x\.rec: recording_unnamed: /,
  },
  {
    name: "with another recording, whole and signed, in the place of one",
    change: (day) => Deno.copyFile(join(day, "a.rec"), join(day, "b.rec")),
    says: /b\.rec: recording_replaced: /,
  },
  {
    name: "with a recording that was cut after it had ended",
    change: (day) => Deno.truncate(join(day, "a.rec"), 700),
    says: /a\.rec: recording_cut: /,
  },
  {
    name: "without a chain that another follows",
    change: (day, [first = ""]) => Deno.remove(join(day, first)),
    says:
      /chain: chain_missing: [\s\S]*a\.rec: recording_unnamed|a\.rec: recording_unnamed[\s\S]*chain: chain_missing/,
  },
  {
    name: "with a chain that lost its last lines, and the recordings they named",
    change: async (day, [first = ""]) => {
      const lines = (await Deno.readTextFile(join(day, first))).split("\n");
      await Deno.writeTextFile(join(day, first), `${lines.slice(0, 3).join("\n")}\n`);
      await Deno.remove(join(day, "b.rec"));
    },
    says: /\.chain: chain_cut: /,
  },
  {
    name: "with a chain that lost a line in its middle",
    change: async (day, [first = ""]) => {
      const lines = (await Deno.readTextFile(join(day, first))).split("\n");
      await Deno.writeTextFile(join(day, first), lines.toSpliced(2, 1).join("\n"));
    },
    says: /\.chain: line 3: gap: /,
  },
  {
    name: "without any chain",
    change: async (day, chains) => {
      for (const chain of chains) await Deno.remove(join(day, chain));
    },
    says: /: chain_missing: no chain lies here/,
  },
  {
    name: "without anything",
    change: async (day) => {
      await Deno.remove(day, { recursive: true });
      await Deno.mkdir(day);
    },
    says: /: nothing_there: /,
  },
];
for (const { name, change, says } of stores) {
  for (const below of ["", DAY]) {
    Deno.test(`verify of a store's folder ${below || "."}, ${name}`, () =>
      inFolder(async (folder, key) => {
        const root = join(folder, "recordings");
        await makeStore(root);
        await change(join(root, DAY), await chainsOf(root));
        const { code, out } = await run("verify", join(root, below), "--key", key);
        assert.equal(code, says === undefined ? 0 : 1, out);
        assert.match(out, says ?? /^(\S+: ok: .*\n){5}$/);
      }));
  }
}

for (const below of ["", DAY]) {
  Deno.test(`verify of ${below || "."} misses nothing that a chain says was deleted, however late`, () =>
    inFolder(async (folder, key) => {
      await makeStore(folder);
      const [store, signer] = [new FolderStore(folder), new Signer(PRIVATE_KEY)];
      const now = () => NOW_MS + 90 * 86_400_000;
      const chain = await ChainWriter.open({ store, signer, instance: "gw-1", now });
      const [first = ""] = await chainsOf(folder);
      for (const name of ["a.rec", "b.rec", first]) {
        await chain.add({ event: "deleted", recording: `${DAY}/${name}`, reason: "older than 90 days" });
        await Deno.remove(join(folder, DAY, name));
      }
      await chain.close();
      const { code, out } = await run("verify", join(folder, below), "--key", key);
      assert.equal(code, 0, out);
    }));
}

Deno.test("verify tells of a recording that is there though a chain calls it deleted", () =>
  inFolder(async (folder, key) => {
    await makeStore(folder);
    const [store, signer] = [new FolderStore(folder), new Signer(PRIVATE_KEY)];
    const chain = await ChainWriter.open({ store, signer, instance: "gw-1", now: () => NOW_MS });
    await chain.add({ event: "deleted", recording: `${DAY}/a.rec`, reason: "older than 90 days" });
    await chain.close();
    const { code, out } = await run("verify", folder, "--key", key);
    assert.equal(code, 1);
    assert.match(out, /a\.rec: recording_undeleted: a chain says that it was deleted, and it is there\n/);
  }));

Deno.test("a mark or a hold beside a recording is no chain", () =>
  inFolder(async (folder, key) => {
    await makeStore(folder);
    await Deno.writeTextFile(join(folder, DAY, "a-lost.chain"), "the end was written by another gateway\n");
    await Deno.writeTextFile(join(folder, DAY, "a.rec.hold"), "{}");
    assert.equal((await run("verify", folder, "--key", key)).code, 0);
  }));

Deno.test("verify says why a recording has no end, where its chain does", () =>
  inFolder(async (folder, key) => {
    await makeStore(folder);
    const store = new FolderStore(folder);
    const signer = new Signer(PRIVATE_KEY);
    const chain = await ChainWriter.open({ store, signer, instance: "gw-0", now: () => NOW_MS + 90_000 });
    const about = { recording: `${DAY}/c.rec`, auditId: "c" };
    await chain.add({ event: "began", ...about });
    await chain.add({ event: "broke", ...about, reason: "disk\x1b[2J full" });
    await chain.close();
    await Deno.writeFile(join(folder, DAY, "c.rec"), await makeRecording({ events: EVENTS, isEnded: false }));
    const { code, out } = await run("verify", folder, "--key", key);
    assert.equal(code, 1);
    assert.match(out, /c\.rec: recording_broke: its gateway says why: disk\\u\{1b\}\[2J full\n/);
  }));

Deno.test("a chain that names files outside of the store makes verify look at none", () =>
  inFolder(async (folder, key) => {
    await makeStore(folder);
    const store = new FolderStore(folder);
    const signer = new Signer(PRIVATE_KEY);
    const chain = await ChainWriter.open({ store, signer, instance: "gw-0", now: () => NOW_MS + 90_000 });
    await chain.add({ event: "began", recording: "../../../etc/passwd", auditId: "x" });
    await chain.close();
    assert.equal((await run("verify", folder, "--key", key)).code, 0);
  }));

for (
  const [args, says] of [
    [["verify"], /expected FILE\|DIR…, got nothing/],
    [["verify", "a", "--output", "xml"], /unknown output format "xml"/],
  ] as const
) {
  Deno.test(`postern ${args.join(" ")} is called wrongly`, async () => {
    const { code, error } = await run(...args);
    assert.equal(code, 2);
    assert.match(error, says);
  });
}

Deno.test("verify refuses a key that is none, and says nothing of what is in its file", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "bad.pem"), "secret stuff");
    const { code, error } = await run("verify", join(folder, "a.rec"), "--key", join(folder, "bad.pem"));
    assert.equal(code, 1);
    assert.match(error, /bad\.pem is no Ed25519 public key/);
    assert.doesNotMatch(error, /secret stuff/);
  }));
