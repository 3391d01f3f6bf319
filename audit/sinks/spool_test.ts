import assert from "node:assert/strict";
import fc from "fast-check";
import { Spool, type SpoolOptions } from "./spool.ts";

/** A test with a folder of its own, removed afterwards. */
function spoolTest(name: string, body: (folder: string) => Promise<void>): void {
  Deno.test({ name, sanitizeOps: true, sanitizeResources: true, fn: () => inFolder(body) });
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function open(directory: string, more: Partial<SpoolOptions> = {}): Promise<Spool> {
  return Spool.open({ directory, maxBytes: 1 << 20, ...more });
}

function lines(...texts: string[]): Uint8Array {
  return new TextEncoder().encode(texts.map((text) => `${text}\n`).join(""));
}

/** Sends everything that is there. */
async function drain(spool: Spool, maxLines = 100, maxBytes = 1 << 20): Promise<string[][]> {
  const batches: string[][] = [];
  for (;;) {
    const batch = await spool.peek(maxLines, maxBytes);
    if (batch === undefined) return batches;
    batches.push(batch.lines);
    await spool.advance(batch);
  }
}

async function names(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
}

spoolTest("Spool gives back what was appended, in order, within the bounds of a batch", async (folder) => {
  using spool = await open(folder);
  await spool.append(lines("a", "b", "c"));
  await spool.append(lines("d".repeat(20), "e"));
  const first = await spool.peek(2, 100);
  assert.deepEqual(first?.lines, ["a", "b"]);
  assert.deepEqual(await spool.peek(2, 100), first, "the same until it is advanced");
  assert.deepEqual(await drain(spool, 100, 10), [["a", "b", "c"], ["d".repeat(20)], ["e"]]);
  assert.equal(spool.pendingBytes, 0);
});

spoolTest("Spool: a line longer than a batch may be goes alone", async (folder) => {
  using spool = await open(folder);
  await spool.append(lines("x".repeat(5000), "y"));
  assert.deepEqual(await drain(spool, 100, 16), [["x".repeat(5000)], ["y"]]);
});

spoolTest("Spool keeps what was not sent for the next process, and only that", async (folder) => {
  {
    using spool = await open(folder);
    await spool.append(lines("a", "b", "c"));
    const batch = await spool.peek(2, 100);
    await spool.advance(batch!);
    await spool.append(lines("d"));
  }
  using spool = await open(folder);
  assert.deepEqual((await drain(spool)).flat(), ["c", "d"]);
});

spoolTest(
  "Spool deletes what was sent, so that a long life takes no more room than what waits",
  async (folder) => {
    using spool = await open(folder, { maxBytes: 4096 });
    for (let number = 0; number < 60; number++) {
      await spool.append(lines(`${number} ${"x".repeat(100)}`));
      await drain(spool);
    }
    assert.ok((await names(folder)).filter((name) => name.endsWith(".jsonl")).length <= 1);
  },
);

spoolTest("Spool that is full refuses, and takes again what there is room for", async (folder) => {
  using spool = await open(folder, { maxBytes: 4096 });
  const line = "x".repeat(255);
  for (let number = 0; number < 16; number++) await spool.append(lines(line));
  await assert.rejects(spool.append(lines(line)), /the spool is full: it holds 4096 bytes of at most 4096/);
  await spool.advance((await spool.peek(8, 1 << 20))!);
  await spool.append(lines("now"));
  assert.equal((await drain(spool)).flat().at(-1), "now");
});

spoolTest(
  "Spool counts what was set aside, so that a receiver that takes nothing stops us at last",
  async (folder) => {
    {
      using spool = await open(folder, { maxBytes: 600 });
      await spool.append(lines("x".repeat(300)));
      await spool.reject((await spool.peek(1, 1000))!);
      assert.deepEqual([spool.pendingBytes, spool.rejectedBytes], [0, 301]);
    }
    using spool = await open(folder, { maxBytes: 600 });
    assert.equal(spool.rejectedBytes, 301, "the next process counts it too");
    await assert.rejects(spool.append(lines("x".repeat(300))), /full/);
    const [name] = await names(`${folder}/rejected`);
    assert.equal(await Deno.readTextFile(`${folder}/rejected/${name}`), `${"x".repeat(300)}\n`);
  },
);

spoolTest("Spool is one process's: a second is refused, and not once the first is gone", async (folder) => {
  {
    using _spool = await open(folder);
    await assert.rejects(open(folder), /in use by another process/);
  }
  using _spool = await open(folder);
});

spoolTest("Spool is for its owner alone", async (folder) => {
  const directory = `${folder}/spool`;
  using spool = await open(directory);
  await spool.append(lines("a"));
  assert.equal(((await Deno.stat(directory)).mode ?? 0) & 0o777, 0o700);
  for (const name of (await names(directory)).filter((name) => name !== "rejected")) {
    assert.equal(((await Deno.stat(`${directory}/${name}`)).mode ?? 0) & 0o777, 0o600, name);
  }
});

spoolTest("Spool says so when somebody else took its lines away", async (folder) => {
  using spool = await open(folder);
  await spool.append(lines("a", "b"));
  const [name] = (await names(folder)).filter((name) => name.endsWith(".jsonl"));
  await Deno.truncate(`${folder}/${name}`, 2);
  await spool.advance((await spool.peek(1, 100))!);
  await assert.rejects(spool.peek(1, 100), /somebody else changed it/);
});

for (const how of ["moved", "deleted"]) {
  spoolTest(`Spool writes no line into nowhere when its folder was ${how}`, async (folder) => {
    const directory = `${folder}/spool`;
    using spool = await open(directory);
    await spool.append(lines("a"));
    if (how === "moved") await Deno.rename(directory, `${folder}/away`);
    else await Deno.remove(directory, { recursive: true });
    await assert.rejects(spool.append(lines("b")), /is gone: somebody else took it away/);
    await assert.rejects(spool.append(lines("b")), Deno.errors.NotFound);
    if (how === "deleted") return;
    await Deno.rename(`${folder}/away`, directory);
    await spool.append(lines("c"));
    assert.deepEqual((await drain(spool)).flat(), ["a", "c"]);
  });
}

/** A real file system of 64 KiB, where this machine lets us have one. */
async function tryMount(folder: string): Promise<boolean> {
  const mount = new Deno.Command("mount", {
    args: ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
    stderr: "null",
  });
  return (await mount.output()).success;
}

Deno.test({
  name: "Spool that fills the disk works itself free: all that was acknowledged is sent, and more is taken",
  ignore: Deno.uid() !== 0,
  sanitizeOps: true,
  sanitizeResources: true,
  fn: () =>
    inFolder(async (folder) => {
      const disk = `${folder}/disk`;
      await Deno.mkdir(disk);
      if (!await tryMount(disk)) return; // root in a container that may not mount
      try {
        using spool = await open(disk);
        const acknowledged: string[] = [];
        for (let number = 0, failed = 0; failed < 3; number++) {
          const line = `${number} ${"x".repeat(3000)}`;
          await spool.append(lines(line)).then(() => acknowledged.push(line), () => failed++);
        }
        assert.ok(acknowledged.length > 5);
        const sent: string[] = [];
        for (;;) {
          const batch = await spool.peek(1, 1 << 20);
          if (batch === undefined) break;
          sent.push(...batch.lines);
          await spool.advance(batch).catch((error) => assert.match(String(error), /No space left/));
        }
        assert.deepEqual(sent, acknowledged);
        await spool.append(lines("room"));
        assert.deepEqual((await drain(spool)).flat(), ["room"]);
      } finally {
        await new Deno.Command("umount", { args: [disk] }).output();
      }
    }),
});

for (
  const cursor of ["", "{", "null", '{"segment":0,"offset":0}', '{"segment":2,"offset":1e9}', "\0\0\0\0"]
) {
  spoolTest(
    `Spool sends again what is there where its cursor is ${JSON.stringify(cursor)}`,
    async (folder) => {
      {
        using spool = await open(folder);
        await spool.append(lines("a", "b"));
        await spool.advance((await spool.peek(1, 100))!);
      }
      await Deno.writeTextFile(`${folder}/cursor.json`, cursor);
      using spool = await open(folder);
      assert.deepEqual((await drain(spool)).flat(), ["a", "b"]);
    },
  );
}

const suite = { sanitizeOps: true, sanitizeResources: true };

Deno.test(
  "Spool, cut anywhere by a crash: whole lines are sent, acknowledged ones all, half ones never",
  suite,
  async () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 }).map((each) => JSON.stringify(each));
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { minLength: 1, maxLength: 20 }),
        fc.array(text, { minLength: 1, maxLength: 20 }),
        fc.nat(),
        async (acknowledged, torn, at) => {
          await inFolder(async (folder) => {
            {
              using spool = await open(folder);
              await spool.append(lines(...acknowledged));
            }
            // What the next append had written of its lines when the power went.
            const [name] = (await names(folder)).filter((name) => name.endsWith(".jsonl"));
            const bytes = lines(...torn);
            const cut = bytes.subarray(0, at % (bytes.length + 1));
            await Deno.writeFile(`${folder}/${name}`, cut, { append: true });

            using spool = await open(folder);
            await spool.append(lines("after"));
            const sent = (await drain(spool)).flat();
            const whole = new TextDecoder().decode(cut).split("\n").slice(0, -1);
            assert.deepEqual(sent, [...acknowledged, ...whole, "after"]);
          });
        },
      ),
      { numRuns: 40 },
    );
  },
);

/** What may happen to a spool. */
const operation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant("append" as const), count: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant("send" as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("reject" as const), count: fc.constant(1) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("restart" as const), count: fc.constant(0) }) },
  // The answer came, and the process died before the cursor was written.
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("die" as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
);

Deno.test(
  "Spool, whatever happens: nothing acknowledged is left out or out of order, and little is sent twice",
  suite,
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 40 }), async (operations) => {
        await inFolder(async (folder) => {
          // Small segments, so that there are many.
          const options = { maxBytes: 1600 };
          let spool = await open(folder, options);
          let next = 0;
          const acknowledged: number[] = [];
          const received: number[] = [];
          let deaths = 0;
          for (const { type, count } of operations) {
            if (type === "append") {
              const numbers = Array.from({ length: count }, () => next++);
              await spool.append(lines(...numbers.map((number) => `${number}`.padStart(20, "0")))).then(
                () => acknowledged.push(...numbers),
                (error) => assert.match(String(error), /full/),
              );
              continue;
            }
            const batch = type === "restart" ? undefined : await spool.peek(count, 1 << 20);
            received.push(...batch?.lines.map(Number) ?? []);
            if (batch && type === "send") await spool.advance(batch);
            if (batch && type === "reject") await spool.reject(batch);
            if (type === "restart" || type === "die") {
              spool[Symbol.dispose]();
              spool = await open(folder, options);
              if (batch) deaths += batch.lines.length;
            }
          }
          received.push(...(await drain(spool)).flat().map(Number));
          spool[Symbol.dispose]();
          const firsts = [...new Set(received)];
          assert.deepEqual(firsts, acknowledged);
          assert.ok(received.length - firsts.length <= deaths, "only what a death left is sent twice");
        });
      }),
      { numRuns: 40 },
    );
  },
);

spoolTest("Spool: writer and sender at once lose and double nothing", async (folder) => {
  using spool = await open(folder, { maxBytes: 65536 });
  const want = Array.from({ length: 100 }, (_, number) => `${number} ${"x".repeat(number * 3)}`);
  const received: string[] = [];
  const sending = (async () => {
    while (received.length < want.length) {
      const batch = await spool.peek(7, 4096);
      if (batch === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      received.push(...batch.lines);
      await spool.advance(batch);
    }
  })();
  for (const line of want) await spool.append(lines(line));
  await sending;
  assert.deepEqual(received, want);
});
