import { findHelm, render } from "./helm.ts";

/**
 * `deno task manifests`: the chart rendered for those who use no Helm, one file for each way in which sessions are opened.
 * What Helm would generate at installation is given there: two Secrets, which deploy/manifests/README.md says how to make.
 */

const FOLDER = new URL("../manifests/", import.meta.url);

const HEAD =
  `# Made from deploy/helm/postern by \`deno task manifests\`; change it there. README.md beside it says how to use it.
apiVersion: v1
kind: Namespace
metadata:
  name: postern-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/enforce-version: latest
`;

const COMMON = [
  "--no-hooks",
  "--set=tls.source=secret",
  "--set=tls.secretName=postern-tls",
  "--set=recordingKey.secretName=postern-recording",
  "--set=evidence.volume.keep=false", // an annotation that means something to Helm alone
];

/** By file name, what is said to Helm. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  "kubelet.yaml": ["--set=config.upstream.mode=kubelet"],
  "apiserver.yaml": ["--set=config.upstream.mode=apiserver"],
  "apiserver-gateway.yaml": [
    "--set=config.upstream.mode=apiserver",
    "--set=config.upstream.apiserver.identity=gateway",
  ],
};

/** The files in deploy/manifests that are made from the chart, and what should be in them. */
export async function manifests(helm: string): Promise<{ url: URL; text: string }[]> {
  return await Promise.all(
    Object.entries(VARIANTS).map(async ([file, values]) => ({
      url: new URL(file, FOLDER),
      text: plain(await render(helm, [...COMMON, ...values])),
    })),
  );
}

/** Without what tells of Helm: whoever applies the objects manages them. */
function plain(rendered: string): string {
  const lines = rendered.split("\n").filter((line) =>
    !/^\s*(# Source: |helm\.sh\/chart: |app\.kubernetes\.io\/managed-by: )/.test(line)
  );
  return `${HEAD}${lines.join("\n").trimEnd()}\n`;
}

if (import.meta.main) {
  await Deno.mkdir(FOLDER, { recursive: true });
  for (const { url, text } of await manifests(await findHelm())) await Deno.writeTextFile(url, text);
}
