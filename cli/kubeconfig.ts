import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import {
  KubeconfigFault,
  type KubeconfigFile,
  makeEntry,
  mergeInto,
  readKubeconfigFile,
  standalone,
} from "./kubeconfig/merge.ts";
import { replaceFile, whileLocked } from "./kubeconfig/replace_file.ts";
import { visible } from "./visible.ts";

/** Largest kubeconfig that is read. */
const MAX_BYTES = 8 * 1024 * 1024;

/** `postern kubeconfig`: the user's own kubeconfig, with a context that leads through the gateway. */
export const kubeconfigCommand: Command = {
  words: ["kubeconfig"],
  usage: "--server URL [--ca-file FILE] [--kubeconfig FILE] [--context NAME] [--name NAME] [--write [--use]]",
  summary: "make a kubeconfig context that leads through the gateway, with the credentials you have",
  help: `Options:
      --server URL          the gateway, such as https://postern.example.com
      --ca-file FILE        who vouches for the gateway's certificate, in PEM; without it, whom this machine trusts
      --tls-server-name NAME
                            the name in that certificate, where it is not that of the URL
      --kubeconfig FILE     the kubeconfig you have; without it, those that KUBECONFIG names, otherwise ~/.kube/config
      --context NAME        whose user and namespace are taken; without it, the current one
      --name NAME           what the new cluster and context are called; without it, the context's name with -postern behind it
      --write               put them into that kubeconfig (the first, of several); all else in it stays, and it gets mode 0600
      --use                 with --write: make the new context the current one
      --include-credentials without --write: print the credentials, too

Without --write, a kubeconfig is printed that names your credentials and does not hold them. Use it beside the one that does:
  postern kubeconfig --server https://postern.example.com > postern.yaml
  KUBECONFIG=~/.kube/config:postern.yaml kubectl --context NAME-postern get pods

A token passes the gateway, from wherever it comes: written down, from a file, from an exec plugin. A client certificate does not.`,
  async run(args, output) {
    const { values } = parseArguments(args, {
      server: { type: "string" },
      "ca-file": { type: "string" },
      "tls-server-name": { type: "string" },
      kubeconfig: { type: "string" },
      context: { type: "string" },
      name: { type: "string" },
      write: { type: "boolean" },
      use: { type: "boolean" },
      "include-credentials": { type: "boolean" },
    });
    const { write = false, use = false, "include-credentials": withCredentials = false } = values;
    if (values.server === undefined) throw new UsageError("expected --server URL, got nothing");
    if (use && !write) throw new UsageError("expected --write with --use");
    if (write && withCredentials) {
      throw new UsageError(
        "expected one of --write and --include-credentials: what is written has them already",
      );
    }
    const { context, name, "ca-file": caFile, "tls-server-name": tlsServerName } = values;
    if (tlsServerName !== undefined && !/^[A-Za-z0-9._:-]{1,253}$/.test(tlsServerName)) {
      throw new UsageError("expected --tls-server-name NAME to be a host's name or address");
    }
    const request = {
      server: readServer(values.server),
      ...(caFile !== undefined && { ca: await readAuthority(caFile) }),
      ...(tlsServerName !== undefined && { tlsServerName }),
      ...(context !== undefined && { context }),
      ...(name !== undefined && { name }),
    };
    const paths = await pathsOf(values.kubeconfig);
    const make = async () => {
      const files = await readAll(paths);
      const entry = makeEntry(files, request);
      for (const advice of entry.advice) output.error(`${visibleSentence(advice)}\n`);
      return { files, entry };
    };
    if (!write) {
      const { entry } = await make();
      output.out(stringify(standalone(entry, { withCredentials }), { lineWidth: 0 }));
      return 0;
    }
    const [target] = paths;
    if (target === undefined) throw new KubeconfigFault("there is no kubeconfig to write to");
    await whileLocked(target, async () => {
      const { files, entry } = await make();
      const file = files.find(({ path }) => path === target) ?? readKubeconfigFile(target, "");
      await replaceFile(target, mergeInto(file, entry, { isCurrent: use }));
      const hint = use ? "it is the current one" : `kubectl --context ${entry.name} …`;
      output.out(
        `${visibleSentence(`${target}: context ${entry.name} leads through ${request.server}; ${hint}`)}\n`,
      );
    });
    return 0;
  },
};

function visibleSentence(sentence: string): string {
  return visible(sentence).replaceAll('\\"', '"');
}

function readServer(text: string): string {
  const url = URL.parse(text);
  const isPlain = url?.protocol === "https:" && url.pathname === "/" && !url.search && !url.hash &&
    !url.username &&
    !url.password;
  if (!url || !isPlain) throw new UsageError("expected --server https://HOST[:PORT]");
  return url.origin;
}

async function readAuthority(file: string): Promise<string> {
  const text = await readBounded(file);
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length === 0) throw new Error("none");
    for (const block of blocks) new X509Certificate(block);
  } catch {
    throw new KubeconfigFault(`${file}: holds no certificate in PEM`);
  }
  // What else is in the file, a key for instance, goes nowhere.
  return `${blocks.join("\n")}\n`;
}

/** Where the user's kubeconfig is, as kubectl looks for it. What a link leads to is what is read and written. */
async function pathsOf(named: string | undefined): Promise<string[]> {
  const listed = named !== undefined
    ? [named]
    : (Deno.env.get("KUBECONFIG") ?? "").split(":").filter((path) => path !== "");
  if (listed.length === 0) {
    const home = Deno.env.get("HOME");
    if (!home) throw new UsageError("expected --kubeconfig FILE: neither KUBECONFIG nor HOME is set");
    listed.push(join(home, ".kube", "config"));
  }
  const paths = await Promise.all(listed.map((path) => Deno.realPath(path).catch(() => path)));
  return [...new Set(paths)];
}

/** One that is named by hand must be there; of several, as kubectl has it, those that are. */
async function readAll(paths: readonly string[]): Promise<KubeconfigFile[]> {
  const files: KubeconfigFile[] = [];
  for (const path of paths) {
    try {
      files.push(readKubeconfigFile(path, await readBounded(path)));
    } catch (thrown) {
      if (!(thrown instanceof Deno.errors.NotFound) || paths.length === 1) throw thrown;
    }
  }
  return files;
}

async function readBounded(path: string): Promise<string> {
  const { size, isFile } = await Deno.stat(path);
  if (isFile && size > MAX_BYTES) throw new KubeconfigFault(`${path}: is larger than ${MAX_BYTES} bytes`);
  return await Deno.readTextFile(path);
}
