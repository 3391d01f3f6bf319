import { type AuditTarget, responseEvent } from "../audit/event.ts";
import { recordSafely } from "./evidence.ts";
import { answered, upstreamAuditId } from "./forwarding.ts";
import type { Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";

/**
 * Relays an answer byte for byte, and writes down what became of it: once, when its last byte was
 * read, or when one of the two is gone. Whoever has read the whole answer finds it written down.
 *
 * @param what the answer is called where it breaks off
 */
export async function auditedAnswer(
  journey: Journey,
  gate: Pick<Gate, "journal" | "report">,
  target: AuditTarget | undefined,
  answer: Response,
  what = "the API server's answer",
): Promise<Response> {
  const upstream = upstreamAuditId(answer);
  if (upstream !== undefined) journey.learn({ upstreamAuditId: upstream });
  let bytesOut = 0;
  let isRecorded = false;
  const record = async (error?: string) => {
    if (isRecorded) return;
    isRecorded = true;
    const { facts, auditId } = journey;
    const durationMs = Math.max(0, Date.now() - facts.receivedAt.getTime());
    const outcome = { code: answer.status, bytesOut, durationMs, ...(error !== undefined && { error }) };
    await recordSafely(gate, auditId, responseEvent(facts, target, outcome));
  };
  const hasBody = answer.body !== null && journey.method !== "HEAD";
  if (!hasBody) {
    await answer.body?.cancel();
    await record();
    return answered(answer, null);
  }
  const reader = answer.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) {
          bytesOut += value.length;
          controller.enqueue(value);
          return;
        }
      } catch (cause) {
        const isGone = journey.context.signal.aborted;
        await record(isGone ? "the client went away" : `${what} broke off`);
        controller.error(cause);
        return;
      }
      await record();
      controller.close();
    },
    async cancel(reason) {
      await reader.cancel(reason).catch(() => {}); // it is over either way
      await record("the client went away");
    },
  }, { highWaterMark: 0 });
  return answered(answer, body);
}
