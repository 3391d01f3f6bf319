import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { armor, Decrypter, generateIdentity, identityToRecipient } from "age-encryption";
import { type ArchiveOptions, RecordingArchive, type RecordingFacts } from "./archive.ts";
import { MemoryStore } from "../tests/support/memory_store.ts";
import { chainInstance, readChain } from "./chain/chain_writer.ts";
import { RecordingReader } from "./format/recording_reader.ts";
import { Signer, Verifier } from "./format/signer.ts";
import { FACTS } from "./test_recording.ts";
import { RecordingVerifier } from "./format/verify.ts";

const KEYS = generateKeyPairSync("ed25519", {
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});
const END = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 };
const TERMS = { isRequired: true, streams: "content" } as const;

function facts(auditId: string): RecordingFacts {
  return { ...FACTS, auditId };
}

async function open(store = new MemoryStore(), options: Partial<ArchiveOptions> = {}) {
  const failures: string[] = [];
  const archive = await RecordingArchive.open(store, new Signer(KEYS.privateKey), {
    ...{ instance: "gateway-0", stdin: "content", windowBytes: 65536, windowMs: 1000 },
    ...{ appendTimeoutMs: 5000, sealEveryMs: 60_000, recipients: [] },
    onFailure: (message) => void failures.push(message),
    ...options,
  });
  return { store, archive, failures };
}

function chainsOf(store: MemoryStore): string[] {
  return [...store.files.keys()].filter((path) => chainInstance(path) !== undefined).sort();
}

async function chainOf(store: MemoryStore, path: string) {
  return (await readChain(store, path)).entries;
}

Deno.test("a recording is begun, kept and ended, and the chain says so", async () => {
  const { store, archive } = await open();
  const session = await archive.begin(facts("a"), TERMS);
  await session.push({ type: "opened", id: 5, stream: "stdout" });
  const result = await session.end(END);
  await session.settle(result);
  const { path, link } = result;
  await archive.close();
  assert.match(path, /^\d{4}\/\d{2}\/\d{2}\/a\.rec$/);
  const verifier = new RecordingVerifier(new Verifier([KEYS.publicKey]));
  verifier.push(store.bytes(path));
  assert.equal(verifier.end().fault, undefined);
  const [chain = ""] = chainsOf(store);
  assert.deepEqual(await chainOf(store, chain), [
    { event: "chain", instance: "gateway-0" },
    { event: "began", recording: path, auditId: "a" },
    { event: "ended", recording: path, auditId: "a", link },
  ]);
});

Deno.test("a gateway that starts again names the chain that it wrote before", async () => {
  const store = new MemoryStore();
  await (await open(store)).archive.close();
  await (await open(store, { instance: "gateway-1" })).archive.close();
  const [before = ""] = chainsOf(store).filter((path) => chainInstance(path) === "gateway-0");
  await (await open(store)).archive.close();
  const [after = ""] = chainsOf(store).filter((path) =>
    chainInstance(path) === "gateway-0" && path !== before
  );
  const [first] = await chainOf(store, after);
  const { last: line } = await readChain(store, before);
  assert.deepEqual(first, { event: "chain", instance: "gateway-0", after: { path: before, line } });
});

Deno.test("a chain that could not be appended to is followed by a new one that names its last line", async () => {
  const { store, archive } = await open();
  const [before = ""] = chainsOf(store);
  store.failing = (path) => path === before;
  await assert.rejects(archive.begin(facts("a"), TERMS), /no space left/);
  await archive.begin(facts("b"), TERMS);
  const [after = ""] = chainsOf(store).filter((path) => path !== before);
  const [first, second] = await chainOf(store, after);
  const { last: line } = await readChain(store, before);
  assert.deepEqual(first, { event: "chain", instance: "gateway-0", after: { path: before, line } });
  assert.equal(second?.event === "began" && second.auditId, "b");
});

Deno.test("a store that takes nothing is known when the archive is opened", async () => {
  const store = new MemoryStore();
  store.failing = () => true;
  await assert.rejects(open(store), /no space left/);
});

Deno.test("a recording that breaks is told to the log, to the chain and to the session", async () => {
  const { store, archive, failures } = await open();
  const session = await archive.begin(facts("a"), TERMS);
  store.failing = (path) => path.endsWith(".rec");
  await session.push({ type: "opened", id: 5, stream: "stdout" });
  const result = await session.end(END);
  await session.settle(result);
  const { path, link, failure } = result;
  assert.deepEqual([link, String(failure)], [undefined, "Error: no space left on device"]);
  assert.deepEqual(failures, ["a recording broke"]);
  const [chain = ""] = chainsOf(store);
  assert.deepEqual((await chainOf(store, chain)).at(-1), {
    event: "broke",
    recording: path,
    auditId: "a",
    reason: "no space left on device",
  });
});

Deno.test("an encrypted recording is read by its recipient and by nobody else, and verified by all", async () => {
  const identity = await generateIdentity();
  const { store, archive } = await open(undefined, { recipients: [await identityToRecipient(identity)] });
  const session = await archive.begin(facts("a"), TERMS);
  await session.push({ type: "opened", id: 5, stream: "stdout" });
  const bytes = new TextEncoder().encode("what the pod said");
  await session.push({ type: "data", id: 5, stream: "stdout", direction: "out", bytes });
  const { path } = await session.end(END);
  const file = store.bytes(path);
  assert.doesNotMatch(new TextDecoder().decode(file), /what the pod said/);
  assert.throws(() => [...new RecordingReader().push(file)], { code: "key_missing" });
  const verifier = new RecordingVerifier(new Verifier([KEYS.publicKey]));
  verifier.push(file);
  const { fault, header } = verifier.end();
  assert.equal(fault, undefined);
  const { age } = header?.encryption as { age: string };
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  const key = await decrypter.decrypt(armor.decode(age));
  const data = [...new RecordingReader(key).push(file)].flatMap((event) =>
    event.type === "data" ? [new TextDecoder().decode(event.bytes)] : []
  );
  assert.deepEqual(data, ["what the pod said"]);
});
