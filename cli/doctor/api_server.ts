import { ApiError, ApiUnreachable, type KubeClient } from "../../kube/client.ts";
import { causeOf, isDistrust } from "./cause.ts";
import { type Judgement, note, ok, wrong } from "./finding.ts";

/** What asking the API server for its version came to. */
export type ApiServerFacts =
  | { server: string; version: string }
  /** `code` is the HTTP status of a refusal; absent where there was no answer. */
  | { server: string; failure: string; code?: number };

/** Whether the API server is reached, trusted, and knows who asks. */
export function judgeApiServer(facts: ApiServerFacts): Judgement {
  const { server } = facts;
  if ("version" in facts) return ok(`the API server ${server} is reached and trusted`);
  const { failure, code } = facts;
  if (code === 401) {
    return wrong(
      `the API server ${server} does not know the gateway's credentials`,
      "renew the token or the client certificate that `kubernetes.kubeconfig` names (in a pod: the service account must exist)",
    );
  }
  if (code !== undefined) {
    return wrong(
      `the API server ${server} refuses the gateway: ${failure}`,
      "look at the API server's own log for why",
    );
  }
  if (isDistrust(failure)) {
    return wrong(
      `the API server ${server} is not trusted: ${failure}`,
      "give the kubeconfig the authority that signed its certificate (certificate-authority), and the name or address that the " +
        "certificate is for (server)",
    );
  }
  return wrong(
    `the API server ${server} cannot be reached: ${failure}`,
    "check the address, DNS, and what lies between: a NetworkPolicy must let the gateway out to it",
  );
}

/** Asks as the gateway. */
export async function gatherApiServer(client: KubeClient, server: string): Promise<ApiServerFacts> {
  try {
    const { gitVersion } = await client.get<{ gitVersion?: string }>("/version");
    return { server, version: gitVersion ?? "unknown" };
  } catch (thrown) {
    if (thrown instanceof ApiError) return { server, failure: causeOf(thrown), code: thrown.code };
    const failure = thrown instanceof ApiUnreachable && thrown.cause !== undefined
      ? causeOf(thrown.cause)
      : causeOf(thrown);
    return { server, failure };
  }
}

/** What runs here and there. */
export interface VersionFacts {
  postern: string;
  deno: string;
  /** What it was made and tested with. */
  denoExpected: string;
  /** Absent where it does not say. */
  kubernetes: string | undefined;
}

/** Oldest API server whose reviews and kubelets are as the gateway knows them. */
const OLDEST_MINOR = 24;

/** Whether what runs is what was tested. */
export function judgeVersion({ postern, deno, denoExpected, kubernetes }: VersionFacts): Judgement[] {
  const found: Judgement[] = [
    deno === denoExpected ? ok(`postern ${postern} on Deno ${deno}`) : wrong(
      `postern ${postern} runs on Deno ${deno}, and was made for ${denoExpected}`,
      `run it with Deno ${denoExpected}: the project's image has it, and so has \`npm ci\``,
    ),
  ];
  if (kubernetes === undefined) return found;
  const [, minor] = /^v1\.(\d+)\./.exec(kubernetes) ?? [];
  const isOld = minor !== undefined && Number(minor) < OLDEST_MINOR;
  found.push(
    isOld
      ? note(`the API server is Kubernetes ${kubernetes}, which is older than what is tested`)
      : ok(`the API server is Kubernetes ${kubernetes}`),
  );
  return found;
}
