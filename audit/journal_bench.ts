import { decisionEvent } from "./event.ts";
import { SinkJournal } from "./journal.ts";
import { FileSink } from "./sinks/file.ts";

/**
 * Appends per second, each waiting for its own: `deno run -A audit/journal_bench.ts [FOLDER]`.
 * FOLDER decides which disk is measured.
 */
async function measure(folder: string, fsync: boolean, callers: number, seconds: number) {
  const sink = new FileSink({ path: `${folder}/audit.log`, maxBytes: 104857600, maxFiles: 2, fsync });
  const journal = new SinkJournal([sink]);
  const latencies: number[] = [];
  const facts = {
    auditId: crypto.randomUUID(),
    receivedAt: new Date(),
    sourceIps: ["192.0.2.7"],
    userAgent: "kubectl/v1.32.0 (linux/amd64) kubernetes/70d3cc9",
    requestUri: "/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&command=id&stdout=true",
    verb: "create",
    user: { username: "alice", uid: "u-1", groups: ["dev", "system:authenticated"] },
    objectRef: { resource: "pods", namespace: "default", name: "web", apiVersion: "v1", subresource: "exec" },
    argv: ["sh", "-c", "id"],
  };
  const decision = { allowed: true, rule: "privileged-container", reason: "not privileged" };
  const start = performance.now();
  const until = start + seconds * 1000;
  await Promise.all(Array.from({ length: callers }, async () => {
    while (performance.now() < until) {
      const begun = performance.now();
      await journal.append([decisionEvent(facts, undefined, decision)]);
      latencies.push(performance.now() - begun);
    }
  }));
  const elapsedSeconds = (performance.now() - start) / 1000;
  await journal.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(2);
  return `fsync ${fsync}, ${callers} callers: ${Math.round(latencies.length / elapsedSeconds)} appends/s, ` +
    `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`;
}

if (import.meta.main) {
  const folder = await Deno.makeTempDir({ dir: Deno.args[0] });
  try {
    for (const fsync of [true, false]) {
      for (const callers of [1, 100]) {
        const line = await measure(folder, fsync, callers, 2);
        await Deno.stdout.write(new TextEncoder().encode(line));
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
