import assert from "node:assert/strict";
import { flagsOf, type Permissions, readGrant, surrenders, union } from "./permissions.ts";

Deno.test("readGrant reads what a task grants, and what it says beside that", () => {
  const grant = readGrant(
    "deno run --no-prompt --unstable-net --allow-net --allow-env=A,B --allow-ffi=/x main.ts",
  );
  assert.deepEqual(grant, {
    permissions: { net: "all", env: ["A", "B"], ffi: ["/x"] },
    otherFlags: ["--unstable-net"],
  });
});

const refused = [
  ["everything", "deno run -A main.ts"],
  ["everything, said at length", "deno run --allow-all main.ts"],
  ["a denial, which an image would forget", "deno run --allow-net --deny-net=10.0.0.1 main.ts"],
  ["a kind that is not known", "deno run --allow-hrtime main.ts"],
  ["another program", "deno task start"],
] as const;

for (const [what, command] of refused) {
  Deno.test(`readGrant refuses ${what}`, () => {
    assert.throws(() => readGrant(command), RangeError);
  });
}

Deno.test("union grants what the one or the other needs", () => {
  const both = union({ net: "all", sys: ["hostname"] }, {
    net: ["a"],
    sys: ["uid", "hostname"],
    read: ["/x"],
  });
  assert.deepEqual(both, { net: "all", sys: ["hostname", "uid"], read: ["/x"] });
});

Deno.test("surrenders names what is granted and not needed, one by one", () => {
  const granted: Permissions = { read: "all", run: "all", env: ["A", "B"], ffi: ["/x"] };
  assert.deepEqual(surrenders(granted, { read: "all", env: ["B"] }), [
    { name: "env", variable: "A" },
    { name: "ffi", path: "/x" },
    { name: "run" },
  ]);
});

Deno.test("surrenders refuses to take back all but a part, which the platform cannot", () => {
  assert.throws(() => surrenders({ net: "all" }, { net: ["a"] }), RangeError);
});

Deno.test("what is surrendered is gone, and what is not is there", async () => {
  const granted: Permissions = {
    read: "all",
    env: ["A", "B"],
    sys: ["hostname", "uid", "userInfo"],
    ffi: ["/x", "/y"],
  };
  const needed: Permissions = { read: "all", env: ["B"], sys: ["hostname"], ffi: ["/y"] };
  const asked = surrenders(granted, {});
  const program = `
    for (const surrender of ${
    JSON.stringify(surrenders(granted, needed))
  }) Deno.permissions.revokeSync(surrender);
    const states = ${JSON.stringify(asked)}.map((asked) => Deno.permissions.querySync(asked).state);
    console.log(JSON.stringify(states));`;
  const file = await Deno.makeTempFile({ suffix: ".js" });
  try {
    await Deno.writeTextFile(file, program);
    const args = ["run", "--no-prompt", "--no-config", ...flagsOf(granted), file];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    assert.equal(new TextDecoder().decode(stderr), "");
    const states: unknown[] = JSON.parse(new TextDecoder().decode(stdout));
    const kept = asked.filter((_, index) => states[index] === "granted");
    assert.deepEqual(kept, [
      { name: "read" },
      { name: "env", variable: "B" },
      { name: "sys", kind: "hostname" },
      { name: "ffi", path: "/y" },
    ]);
  } finally {
    await Deno.remove(file);
  }
});
