/** What the introduction names. */
export interface IntroductionOptions {
  /** The gateway's URL. */
  server: string;
  /** Paths, as someone in the current folder would type them. */
  kubeconfig: string;
  auditLog: string;
  recordings: string;
  recordingsKey: string;
  index: string;
  hasKubectl: boolean;
}

/** What someone who never saw Postern needs to try it. */
export function introduction(
  { server, kubeconfig, auditLog, recordings, recordingsKey, index, hasKubectl }: IntroductionOptions,
): string {
  const postern = "node_modules/deno/deno task -q postern";
  const kubectl = `kubectl --kubeconfig ${quote(kubeconfig)}`;
  const lines = [
    "",
    `Postern is listening on ${server}, in front of an embedded cluster of one node.`,
    "",
    "Paste into another terminal, in this folder:",
    "",
    `  ${kubectl} get pods`,
    `  ${kubectl} --context alice exec -it shell -- sh`,
    `  ${kubectl} --context alice exec privileged -- id    # refused, and says why`,
    `  ${kubectl} --context root  exec privileged -- id    # a cluster-admin may`,
    `  ${kubectl} --context bob   exec shell -- id         # may only read`,
    "",
    `  ${kubectl} --context alice cp README.md shell:read.me`,
    `  ${kubectl} --context alice attach -it tty              # a shell that runs already`,
    `  ${kubectl} --context alice port-forward svc/web 8080:80    # then: curl localhost:8080`,
    `  ${kubectl} --context alice attach web                  # who asks for pages`,
    `  ${kubectl} --context alice debug -it shell --image=busybox --target=shell --profile=general`,
    `  ${kubectl} --context alice debug privileged --image=busybox --target=privileged    # refused`,
    `  ${kubectl} --context alice run -it --rm tmp --image=busybox --restart=Never`,
    "",
    `Everything is written down in ${auditLog}:`,
    "",
    `  tail -f ${quote(auditLog)}`,
    "",
    `Every session is recorded below ${recordings}:`,
    "",
    `  ${postern} sessions list --sqlite ${quote(index)}`,
    `  ${postern} verify ${quote(recordings)} --key ${quote(recordingsKey)}`,
    `  ${postern} replay ${quote(recordings)}/YEAR/MONTH/DAY/ID.rec`,
    "",
  ];
  if (!hasKubectl) {
    lines.push(
      "There is no kubectl on this machine: install it from your system's packages or kubernetes.io/docs/tasks/tools.",
      "",
    );
  }
  lines.push(
    "Whatever its image is called, a container's commands run on this machine, as you, in a folder of its own.",
    "Ctrl-C ends everything.",
  );
  return lines.join("\n");
}

/** A path that a shell reads as one word. */
function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
