import assert from "node:assert/strict";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { canonicalIp, Libc, LIBC_PATHS } from "./libc.ts";
import { openSocketTuner } from "./no_delay.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const TCP_NODELAY = { level: 6, name: 1 };
const SO_KEEPALIVE = { level: 1, name: 9 };
/** TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT: 60 + 4 × 15 seconds of silence. */
const KEEPALIVE_NAMES = [4, 5, 6];

// Opened first: the tuner gives the permission up.
const libc = Libc.open();
const tuner = openSocketTuner();
const ca = await makeCa();
const leaf = await issue(ca);

const isLinux = Deno.build.os === "linux";

/** What the kernel says of every socket on a port. */
function optionsOf(port: number, isOn: (descriptor: number) => boolean = () => true) {
  assert.ok(libc);
  const found: { noDelay: boolean; keepAlive: readonly (number | undefined)[] | false }[] = [];
  for (let descriptor = 0; descriptor < 256; descriptor++) {
    if (libc.localPort(descriptor) !== port || !isOn(descriptor)) continue;
    found.push({
      noDelay: libc.getOption(descriptor, TCP_NODELAY.level, TCP_NODELAY.name) !== 0,
      keepAlive: libc.getOption(descriptor, SO_KEEPALIVE.level, SO_KEEPALIVE.name) !== 0 &&
        KEEPALIVE_NAMES.map((name) => libc.getOption(descriptor, TCP_NODELAY.level, name)),
    });
  }
  return found;
}

const ON = { noDelay: true, keepAlive: [60, 15, 4] };
const OFF = { noDelay: false, keepAlive: false };

async function connectTo(listener: Deno.TlsListener): Promise<[Deno.TlsConn, Deno.TlsConn]> {
  const { port } = listener.addr;
  const connecting = Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca.cert] });
  const ends = await Promise.all([listener.accept(), connecting]);
  await Promise.all(ends.map((end) => end.handshake()));
  return ends;
}

for (const hostname of ["127.0.0.1", "::1"]) {
  Deno.test({
    name:
      `tuneListener turns Nagle off and keepalive on for the listening socket of ${hostname}, and what it accepts inherits that`,
    ...suite,
    ignore: !isLinux,
    async fn() {
      const listener = Deno.listenTls({ hostname, port: 0, ...leaf });
      try {
        assert.deepEqual(optionsOf(listener.addr.port), [OFF]);
        assert.equal(tuner?.tuneListener(listener.addr), true);
        assert.deepEqual(optionsOf(listener.addr.port), [ON]);
        if (hostname === "::1") return;
        const ends = await connectTo(listener);
        assert.deepEqual(optionsOf(listener.addr.port), [ON, ON]);
        for (const end of ends) end.close();
      } finally {
        listener.close();
      }
    },
  });
}

Deno.test({
  name: "tuneConnection sets the options on that connection and no other to the same server",
  ...suite,
  ignore: !isLinux,
  async fn() {
    const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...leaf });
    const ours = await connectTo(listener);
    const others = await connectTo(listener);
    assert.equal(tuner?.tuneConnection(ours[1]), true);
    assert.deepEqual(optionsOf(ours[1].localAddr.port), [ON]);
    assert.deepEqual(optionsOf(others[1].localAddr.port), [OFF]);
    for (const end of [...ours, ...others]) end.close();
    listener.close();
  },
});

Deno.test({
  name: "abort ends a connection whose peer takes nothing, and no other: close alone would leave it open",
  ...suite,
  ignore: !isLinux,
  async fn() {
    const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...leaf });
    const [stalled, lazy] = await connectTo(listener);
    const [other, another] = await connectTo(listener);
    const writing = writeForever(stalled);
    await new Promise((resolve) => setTimeout(resolve, 200));
    tuner?.abort([stalled]);
    await assert.rejects(writing);
    assert.equal(optionsOf(lazy.localAddr.port).length, 1);
    await other.write(new Uint8Array(1));
    assert.equal(await another.read(new Uint8Array(1)), 1);
    for (const end of [stalled, lazy, other, another]) end.close();
    listener.close();
  },
});

Deno.test({
  name: "abortUnanswered leaves alone who reads nothing, for as long as that acknowledges it",
  ...suite,
  ignore: !isLinux,
  async fn() {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    using pager = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    using writer = await listener.accept();
    const bytes = 32 << 20;
    const writing = (async () => {
      for (let left = new Uint8Array(bytes); left.length > 0;) left = left.subarray(await writer.write(left));
    })();
    await new Promise((resolve) => setTimeout(resolve, 1500)); // the kernel asks whether there is room by now
    assert.equal(tuner?.abortUnanswered(0), 0);
    const into = new Uint8Array(1 << 20);
    for (let count = 0; count < bytes;) count += await pager.read(into) ?? assert.fail("it was ended");
    await writing;
  },
});

for (
  const [ip, spelling] of [["::ffff:127.0.0.1", "[::ffff:7f00:1]"], ["fe80:0::1%eth0", "[fe80::1]"], [
    "10.0.0.1",
    "10.0.0.1",
  ]] as const
) {
  Deno.test(`canonicalIp spells ${ip} in the one way`, suite, () => assert.equal(canonicalIp(ip), spelling));
}

Deno.test({
  name: "tuneListener says so where there is no such listening socket",
  ...suite,
  ignore: !isLinux,
  fn() {
    assert.equal(tuner?.tuneListener({ transport: "tcp", hostname: "127.0.0.1", port: 1 }), false);
  },
});

Deno.test("openSocketTuner gives the permission up: nothing can load a library after it", suite, () => {
  assert.notEqual(Deno.permissions.querySync({ name: "ffi" }).state, "granted");
  assert.equal(Libc.open(), undefined);
  for (const path of LIBC_PATHS) {
    assert.throws(() => Deno.dlopen(path, {}), Deno.errors.NotCapable);
  }
});

async function writeForever(connection: Deno.TlsConn): Promise<void> {
  const chunk = new Uint8Array(65536);
  for (;;) await connection.write(chunk);
}

Deno.test({
  name: "libc opens with FFI permitted for its paths alone, as the gateway is started",
  ...suite,
  ignore: !isLinux,
  async fn() {
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    const module = new URL("libc.ts", import.meta.url).href;
    await Deno.writeTextFile(
      file,
      `import { Libc } from "${module}"; Deno.exit(Libc.open() === undefined ? 1 : 0);`,
    );
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-config", "--no-check", `--allow-ffi=${LIBC_PATHS.join()}`, file],
      stderr: "inherit",
    }).output();
    await Deno.remove(file);
    assert.equal(code, 0);
  },
});
