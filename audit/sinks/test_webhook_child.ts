/** A process with a webhook sink, to be killed by webhook_test.ts: writes events and says which were acknowledged. */

import { WebhookSink } from "./webhook.ts";

const [url = "", directory = "", first = "0"] = Deno.args;
const sink = new WebhookSink({
  url,
  timeoutSeconds: 30,
  batch: { maxEvents: 10, maxBytes: 4096, maxWaitSeconds: 0 },
  retry: { initialBackoffSeconds: 0.005, maxBackoffSeconds: 0.02 },
  spool: { directory, maxBytes: 1 << 20 },
});
const encoder = new TextEncoder();
for (let number = Number(first);; number++) {
  await sink.write(encoder.encode(`${JSON.stringify({ auditID: `${number}` })}\n`));
  await Deno.stdout.write(encoder.encode(`${number}\n`));
}
