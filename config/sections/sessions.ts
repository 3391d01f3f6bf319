import { flag, section, wholeNumber } from "../values.ts";

/** What one session may take. */
export const sessions = section({
  streamCreationTimeoutSeconds: wholeNumber({
    from: 1,
    to: 300,
    fallback: 30,
    description: "How long a client may take to open the streams that its request announced. " +
      "The default is the kubelet's.",
  }),
  idleTimeoutSeconds: wholeNumber({
    from: 1,
    to: 604800,
    fallback: 14400,
    description: "How long a session may go without a frame in either direction. " +
      "The default, 4 hours, is the container runtime's.",
  }),
  maxSessions: wholeNumber({
    from: 1,
    to: 1000000,
    fallback: 1000,
    description: "Sessions open at once in this process; a further one is refused with 429.",
  }),
  defaultContainerAnnotation: flag({
    fallback: false,
    description:
      "Where a request names no container, honour `kubectl.kubernetes.io/default-container` of the pod. " +
      "The API server does not; kubectl does so itself.",
  }),
}).prefault({}).meta({ description: "What one session may take." });
