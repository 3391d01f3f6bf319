import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import type { Subject } from "./doctor/bypass.ts";
import { examine } from "./doctor/examine.ts";
import { type CheckName, CHECKS, type Finding } from "./doctor/finding.ts";
import { openScene } from "./doctor/scene.ts";
import { visible } from "./visible.ts";

/** `postern doctor`: what is wrong with a live installation, and how to mend it. */
export const doctor: Command = {
  words: ["doctor"],
  usage: "[--config FILE] [--kubeconfig FILE] [OPTION…]",
  summary: "check a live installation: what is wrong, how to mend it, and who can go around it",
  help: `Options:
  -c, --config FILE         the gateway's configuration; without it, the defaults
      --kubeconfig FILE     ask with these credentials instead of the gateway's: an administrator's, who may read RBAC.
                            The gateway's own files are not looked at then, and kubelets are shown no credentials
      --context NAME        the context of that kubeconfig
      --service-account NAMESPACE/NAME
                            who the gateway is, with --kubeconfig
      --node NAME           look at this node's kubelet, where nodes may not be listed; may be given more than once
      --token-file FILE     a user's token: whether the gateway would know them
      --accept KIND:NAME    this User, Group or ServiceAccount (NAMESPACE/NAME) may go around the gateway; may be given more than
                            once
      --skip CHECK          leave a check out; may be given more than once:
                            ${CHECKS.slice(0, 6).join(", ")},
                            ${CHECKS.slice(6).join(", ")}
  -o, --output FORMAT       text (default) or json

Nothing is changed. To a sink, nothing that stays is written.
Exit codes: 0 nothing is wrong (what could not be found out is told), 1 something is, 2 called in a way that has no meaning.`,
  async run(args, output) {
    const { values } = parseArguments(args, {
      config: { type: "string", short: "c" },
      kubeconfig: { type: "string" },
      context: { type: "string" },
      "service-account": { type: "string" },
      node: { type: "string", multiple: true },
      "token-file": { type: "string" },
      accept: { type: "string", multiple: true },
      skip: { type: "string", multiple: true },
      output: { type: "string", short: "o" },
    });
    const { output: format = "text", context, kubeconfig } = values;
    if (format !== "text" && format !== "json") {
      throw new UsageError(`expected text or json, got ${JSON.stringify(format)}`);
    }
    if (context !== undefined && kubeconfig === undefined) {
      throw new UsageError("expected --kubeconfig with --context");
    }
    const skipped = new Set((values.skip ?? []).map(readCheck));
    const scene = await openScene({
      config: values.config,
      kubeconfig,
      context,
      serviceAccount: values["service-account"] === undefined
        ? undefined
        : readServiceAccount(values["service-account"]),
      nodes: values.node ?? [],
      accepted: (values.accept ?? []).map(readSubject),
      tokenFile: values["token-file"],
    });
    using _client = scene.client;
    const findings = await examine(scene, skipped);
    output.out(format === "json" ? toJson(findings) : toText(findings));
    return isWell(findings) ? 0 : 1;
  },
};

function isWell(findings: readonly Finding[]): boolean {
  return findings.every(({ status }) => status !== "wrong");
}

function toJson(findings: readonly Finding[]): string {
  const report = {
    apiVersion: "postern.dev/v1alpha1",
    kind: "DoctorReport",
    ok: isWell(findings),
    findings,
  };
  // Escaped beyond what JSON wants, so that names from the cluster move no cursor.
  const text = JSON.stringify(report, null, 2);
  return `${text.replaceAll(/[\u007f-\u009f\p{Cf}\u2028\u2029]/gu, escaped)}\n`;
}

function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`,
  ).join("");
}

const SIGN = { ok: "ok     ", note: "note   ", wrong: "WRONG  ", unknown: "unknown" } as const;

function toText(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ check, status, message, remedy }) => [
    `${SIGN[status]}  ${check}: ${line(message)}`,
    ...(remedy === undefined ? [] : [`         ${status === "wrong" ? "mend it" : "hint"}: ${line(remedy)}`]),
  ]);
  const count = (status: Finding["status"]) => findings.filter((finding) => finding.status === status).length;
  const summary = `${count("wrong")} wrong, ${count("unknown")} unknown, ${count("note")} to note, ${
    count("ok")
  } ok`;
  return `${lines.join("\n")}\n\n${summary}\n`;
}

/** Quotes and backslashes of our own sentences stay as they are: nothing here is a string that could be left. */
function line(text: string): string {
  return visible(text).replaceAll('\\"', '"').replaceAll("\\\\", "\\");
}

function readCheck(word: string): CheckName {
  const check = CHECKS.find((name) => name === word);
  if (check === undefined) {
    throw new UsageError(`expected one of ${CHECKS.join(", ")}, got ${JSON.stringify(word)}`);
  }
  return check;
}

function readServiceAccount(text: string): { namespace: string; name: string } {
  const [namespace = "", name = "", ...more] = text.split("/");
  if (namespace === "" || name === "" || more.length > 0) {
    throw new UsageError(`expected NAMESPACE/NAME, got ${JSON.stringify(text)}`);
  }
  return { namespace, name };
}

function readSubject(text: string): Subject {
  const [, kind, name = ""] = /^(User|Group|ServiceAccount):(.+)$/.exec(text) ?? [];
  if (kind === "User" || kind === "Group") return { kind, name };
  if (kind === "ServiceAccount") return { kind, ...readServiceAccount(name) };
  throw new UsageError(
    `expected User:NAME, Group:NAME or ServiceAccount:NAMESPACE/NAME, got ${JSON.stringify(text)}`,
  );
}
