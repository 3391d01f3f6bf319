import { flag, oneOf, section, wholeNumber } from "../values.ts";

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
    description: "How long a session may go without stream data in either direction. Pings do not count: " +
      "kubectl sends one every 5 seconds for as long as it runs. The default, 4 hours, is the container runtime's, " +
      "which counts pings too.",
  }),
  timeLimitSeconds: wholeNumber({
    from: 0,
    to: 2147483,
    fallback: 0,
    description: "How long a session may last at all, in use or not; 0: as long as it likes.",
  }),
  pingSeconds: wholeNumber({
    from: 0,
    to: 86400,
    fallback: 30,
    description: "After so long without stream data, client and upstream are pinged, and again and again, " +
      "so that load balancers keep the connections; 0: never.",
  }),
  silenceTimeoutSeconds: wholeNumber({
    from: 0,
    to: 604800,
    fallback: 120,
    description:
      "How long a side may say nothing at all after it was pinged, before it counts as vanished; 0: for ever. " +
      "Only a side that has answered before is given up, and no client that may have output to read yet: " +
      "it could be paging it.",
  }),
  recheck: oneOf(["on", "off"], {
    fallback: "on",
    description:
      "Whether live sessions are asked about again: by TokenReview, whether their credential is still good, and by " +
      "SubjectAccessReview, all that was asked when they were opened. One that may be no more is ended, and its client told why. " +
      "`off`: a session that is open stays open, whatever is taken from its user.",
  }),
  recheckSeconds: wholeNumber({
    from: 1,
    to: 3600,
    fallback: 60,
    description:
      "How long a session may outlive what it was allowed by. Within it, the API server is asked about a session " +
      "once or twice, and four times at most what is the same question about many.",
  }),
  recheckGraceSeconds: wholeNumber({
    from: 0,
    to: 86400,
    fallback: 300,
    description:
      "How long a session goes on of which the API server does not say whether it may, because it cannot be " +
      "reached or fails; then it ends. An event tells when that begins and when it is over.",
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
