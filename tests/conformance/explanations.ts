import type { Explanation } from "./matrix.ts";

/** What is not there. */
const NOTHING = /^$/;

/** What a client is told whose frame a Go peer would fall silent at. */
const NAMED_FRAME = {
  "stream 1 error":
    /^accepted; \{[^]*the client broke the protocol in its frame \d+: [^]*"code":500\}; ended$/,
  end: /^closed with GOAWAY 1$/,
};

/** Every difference that is meant, with what the gateway shows instead. */
export const EXPLANATIONS: readonly Explanation[] = [
  {
    rows: /\| exec: a privileged container, by alice \|/,
    kind: "policy",
    why: "Containers that are privileged are for cluster-admins: that is what the gateway is for.",
    shows: { "exit code": /^1$/, stdout: NOTHING, stderr: /only cluster-admins/ },
  },
  {
    rows:
      /(client-go|Python kubernetes) \| exec: by (bob, who may not|alice, who may only create) \| WebSocket/,
    kind: "policy",
    why: "A session is asked about as `create` whatever its HTTP method, as by API servers from 1.35 on: " +
      "a GET that opens a WebSocket must not get by with `get`, nor need it.",
    shows: {
      "exit code": /^0$/,
      stdout: /^hello\n$/,
      stderr: /^$|bob.* cannot create resource/,
      error: /bob.* cannot create resource/,
    },
  },
  {
    rows: /\| (exec|portForward) by \/.*proxy\//,
    kind: "legacy",
    why:
      "The paths of the OpenShift documents, which API servers have not served since 1.10, lead to sessions here.",
    shows: {
      answer: /^101 /,
      "stream 1 error": /Success/,
      "stream 3 stdin": /^accepted; ; (reset 5|ended)$/,
      "stream 5 stdout": /^accepted; in\n; FIN$/,
      "stream 7 stderr": /^accepted; ; FIN$/,
      "stream 1 error of request 0": /^accepted; ; FIN$/,
      "stream 3 data of request 0": /^accepted; 7003\n; FIN$/,
      end: /^(closed with GOAWAY|stays open)$/,
    },
  },
  {
    rows: /^E-10 \|/,
    kind: "care",
    why: "The Status lacks an empty `details`, which no client reads.",
    shows: { answer: /^405 Method Not Allowed\n[^]*"reason":"MethodNotAllowed","code":405}$/ },
  },
  {
    rows: /^E-10b \|/,
    kind: "care",
    why:
      "The gateway answers for itself, as the API server does: 400 with a Status in place of the kubelet's 500 in plain text.",
    shows: { answer: /^400 [^]*"message":"Upgrade request required"/ },
  },
  {
    rows: /^E-15 \|/,
    kind: "care",
    why: "The kubelet writes its sentence twice, by mistake.",
    shows: {
      answer:
        /^403 [^]*v4\.channel\.k8s\.io, v3[^]*\n\nunable to upgrade: unable to negotiate protocol: [^\n]*$/,
    },
  },
  {
    rows: /^E-24a \|/,
    kind: "care",
    why: "The gateway answers for itself: the same code, with a Status in place of plain text.",
    shows: { answer: /^405 [^]*"reason":"MethodNotAllowed"/ },
  },
  {
    rows: /exec that upgrades to foo/,
    kind: "care",
    why:
      "The kubelet's answer goes on with all headers that reached it, the addresses of the proxies among them.",
    shows: { answer: /^400 [^]*\n\nunable to upgrade: missing upgrade headers in request$/ },
  },
  {
    rows: /exec with a key of 3 bytes/,
    kind: "strict",
    why: "A key is 16 bytes (RFC 6455, 4.2.1). No client sends another.",
    shows: { answer: /^400 Bad Request\n\nmismatch challenge\/response$/ },
  },
  {
    rows: /exec without a credential/,
    kind: "policy",
    why: "Nobody is let in without a credential, whatever the API server lets `system:anonymous` do.",
    shows: { answer: /^401 [^]*www-authenticate: Bearer/ },
  },
  {
    rows: /exec with a bad token|^E-28 \||^E-29 \|/,
    kind: "care",
    why: "A 401 says which credential is meant (RFC 9110, 11.6.1); the API server's does not.",
    shows: {
      answer:
        /^401 Unauthorized\ncontent-type: application\/json\nwww-authenticate: Bearer realm="postern"\n[^]*"reason":"Unauthorized","code":401}$/,
    },
  },
  {
    rows:
      /^E-(34a?|53) \||exec: (NOOP|a control frame of type 99|DATA on stream 0|RST_STREAM with status 0|WINDOW_UPDATE of 4 bytes) \|/,
    kind: "hang",
    why:
      "A Go peer stops reading without a word, and its client is told of no failure: kubectl ends with 0. The gateway names " +
      "the frame on the error stream, and says GOAWAY.",
    shows: NAMED_FRAME,
  },
  {
    rows: /^E-(38|39) \|/,
    kind: "hang",
    why:
      "A Go peer stops reading and leaves the connection open for hours. The gateway names the frame, and ends it.",
    shows: {
      ...NAMED_FRAME,
      "stream 3 stdin": /^not answered; ; ended$/,
      "stream 3 ?": /^not answered; ; ended$/,
      "stream 5 stdout": /^not answered; ; ended$/,
    },
  },
  {
    rows: /^E-56 \|/,
    kind: "hang",
    why:
      "The kubelet never reads the late stream from its queue, and the connection stays as long as its client. The gateway ends " +
      "it when the command has ended.",
    shows: { "stream 9 stderr": /^not answered; ; ended$/, end: /^closed with GOAWAY$/ },
  },
  {
    rows: /^E-57 \|/,
    kind: "hang",
    why:
      "The kubelet gives up after 30 s without telling its client, whose pings keep the connection. The gateway says so, and ends it. " +
      "(Here after 5 s, as `sessions.streamCreationTimeoutSeconds` says.)",
    shows: {
      "stream 1 error": /timed out waiting for the client's streams/,
      "stream 3 stdin": /ended$/,
      "stream 5 stdout": /ended$/,
      end: /^closed with GOAWAY$/,
    },
  },
  {
    rows: /^E-6[12] \|/,
    kind: "hang",
    why:
      "A size that cannot be read, or one that nobody reads, blocks the whole session in Go's server. Here it is dropped, and keys " +
      "still arrive.",
    shows: { "channel 1": /got typed/, "channel 3": /Success/, end: /^Close 1000$/ },
  },
  {
    rows: /^E-65 \|/,
    kind: "care",
    why: "What the kubelet writes on a stream that it has reset is no stream's any more: it goes no further.",
    shows: { "stream 1 error": /^accepted; ; reset 5$/, odd: NOTHING },
  },
  {
    rows: /^E-78 \||^E-84 \||^E-85 \|/,
    kind: "care",
    why: "A client that broke the protocol is told how, before the Close.",
    shows: {
      "channel 3": /the client broke the protocol in its frame 1/,
      end: /^Close 100[029]$/,
      odd: NOTHING,
    },
  },
  {
    rows: /^E-114 \|/,
    kind: "care",
    why: "A client that broke the protocol is told how, on the error stream of each connection that it ends.",
    shows: {
      "stream 1 error of request 0": /the client broke the protocol: text message in a tunnel/,
      "stream 3 data of request 0": /^accepted; ; reset 5$/,
      end: /^Close 1002$/,
    },
  },
  {
    rows: /^E-83 \|/,
    kind: "care",
    why: "Fragments are one message (RFC 6455, 5.4): Go's server loses a byte of stdin for each.",
    shows: { "channel 1": /got one.two/ },
  },
  {
    rows: /exec: (a reserved bit|an unknown opcode|a ping of 126 bytes|a ping in fragments) \|/,
    kind: "strict",
    why:
      "RFC 6455 (5.2, 5.5) has such frames fail the connection: what two readers could take differently is refused.",
    shows: {
      "channel 1": /^ready\n$/,
      "channel 3": /the client broke the protocol in its frame 1/,
      pongs: NOTHING,
      end: /^Close 1002$/,
    },
  },
  {
    rows: /exec: HEADERS \|/,
    kind: "hang",
    why:
      "HEADERS that nobody reads block their stream in a Go peer for good. They mean nothing here, and go no further.",
    shows: {
      "stream 1 error": /Success/,
      "stream 3 stdin": /^accepted; ; reset 5$/,
      "stream 5 stdout": /^accepted; behind\n; FIN$/,
      "stream 7 stderr": /^accepted; end\n; FIN$/,
      end: /^closed with GOAWAY$/,
    },
  },
  {
    rows: /exec with a semicolon in the query/,
    kind: "strict",
    why:
      "Go drops what has a semicolon, others take it for a separator: the command that was checked might not be the one that runs.",
    shows: {
      answer: /^400 [^]*the query has a semicolon/,
      "stream 1 error": NOTHING,
      "stream 3 stdout": NOTHING,
      end: NOTHING,
    },
  },
  {
    rows: /a kubelet that (is lost in the middle of an output|ends without a status) \|/,
    kind: "hang",
    why:
      "A session that was cut is a success to Go clients, and so to the API server's v5: half an output, and exit code 0. The gateway " +
      "tells a failure.",
    shows: {
      "exit code": /^1$/,
      stderr: /the upstream ended the session without an exit status/,
      "stream 1 error":
        /"message":"the upstream ended the session without an exit status","reason":"InternalError","code":500/,
      "channel 3":
        /"message":"the upstream ended the session without an exit status","reason":"InternalError","code":500/,
      end: /^closed with GOAWAY$/,
    },
  },
  {
    rows: /a kubelet that switches without naming a protocol \|/,
    kind: "strict",
    why:
      "Who does not say which protocol it speaks is not spoken to: what is checked might not be what is understood. Kubelets have " +
      "named it since before 1.20.",
    shows: {
      "exit code": /^1$/,
      answer: /^500 [^]*it chose a protocol that was not offered/,
      stderr: /it chose a protocol that was not offered/,
      "stream 1 error": NOTHING,
      "stream 3 stdin": NOTHING,
      "stream 5 stdout": NOTHING,
      "channel 3": /it chose a protocol that was not offered/,
      end: NOTHING,
    },
  },
  {
    rows: /a kubelet that (redirects|answers 200) \| WebSocket/,
    kind: "care",
    why:
      "The same failure in the words that the API server has for SPDY: over v5 it has others, with the redirect's address or what the " +
      "kubelet said.",
    shows: {
      stderr:
        /^error: (Internal error occurred: unable to upgrade connection: )?invalid upgrade response: status code (200|302)\n$/,
      "channel 3": /invalid upgrade response: status code (200|302)/,
    },
  },
  {
    rows: /^E-19 \|/,
    kind: "care",
    why:
      "The address by which the node is known stands there in place of the one that it resolved to; over v5 the API server adds the " +
      "kubelet's URL with the whole command.",
    shows: {
      answer:
        /^101 [^]*websocket|^500 [^]*error dialing backend: dial tcp (node1|127\.0\.0\.1):9: connect: connection refused/,
      "channel 3": /error dialing backend: dial tcp (node1|127\.0\.0\.1):9: connect: connection refused/,
    },
  },
  {
    rows: /^E-22 \|/,
    kind: "care",
    why:
      "What a client says of whom it asks for goes no further. The client's own address stands in the gateway's audit event.",
    shows: { "x-forwarded-for": /^(none|127\.0\.0\.1)$/ },
  },
  {
    rows: /Python kubernetes \| exec: a terminal without stdin \|/,
    kind: "care",
    why:
      "Over WebSocket v4 kubelet and runtime lose what a terminal without stdin shows. They do not over SPDY, which the gateway " +
      "speaks to them, and the API server for clients of v5.",
    shows: { stdout: /^out\r\nerr\r\n$/ },
  },
  {
    rows:
      /\| (exec: |exec with )a (completed pod|container that waits) \||\| portforward of a completed pod \|/,
    columns: ["apiserver mode"],
    kind: "policy",
    why:
      "A kubelet looks for a pod's name, and may find an older pod that still ends. Through the API server a command begins with " +
      "the upgrade, so what is not known to run is not asked for.",
    shows: {
      answer: /^409 [^]*(is not known to run yet: please try again|has ended: nothing in it runs any more)/,
      stderr: /(is not known to run yet: please try again|has ended: nothing in it runs any more)\n$/,
      error:
        /409 Conflict [^]*(is not known to run yet: please try again|has ended: nothing in it runs any more)/,
      status: /(is not known to run yet: please try again|has ended: nothing in it runs any more)/,
    },
  },
];
