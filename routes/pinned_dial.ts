import type { V1Pod } from "@kubernetes/client-node";
import { requireRunning, requireSameContainer } from "../kube/require_running.ts";
import type { Target } from "../kube/target.ts";
import type { OpenedUpstream } from "../session/upstream.ts";
import type { Gate, OpenRequest } from "./gate.ts";

/** How what was opened is held to what was checked. */
export interface PinnedDialOptions {
  /** Makes sure, after it was opened, that the pod of that name is still the one that was checked, and gives it. @throws {Refusal} */
  requireSamePod(target: Target, signal: AbortSignal): Promise<V1Pod>;
  /**
   * A command may have begun when it is open, as over WebSocket. Elsewhere it begins with its streams, and a kubelet's own words about
   * a container that does not run are heard first.
   */
  beginsAtOnce: boolean;
}

/**
 * Opens what was checked and nothing else of that name, or lets nothing pass: neither kubelets nor API servers hold a session to the UID of a
 * pod. The pod ran before it was opened, so no older one of its name was taken for it; it is there still, so no younger one was; and
 * its container is the same.
 */
export function pinnedDial(dial: Gate["dial"], options: PinnedDialOptions): Gate["dial"] {
  return (target, signal) => {
    const dialled = dial(target, signal);
    const open = async (request: OpenRequest): Promise<OpenedUpstream> => {
      if (options.beginsAtOnce) requireRunning(target);
      const opened = await dialled.open(request);
      try {
        requireRunning(target);
      } catch (thrown) {
        opened.connection.close();
        throw thrown;
      }
      const confirmed = options.requireSamePod(target, signal).then((pod) =>
        requireSameContainer(target, pod)
      );
      confirmed.catch(() => {}); // told to whoever waits for it
      return { ...opened, confirmed };
    };
    return { open, abandon: () => dialled.abandon() };
  };
}
