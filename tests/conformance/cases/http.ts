/** Edge cases of the requests that open sessions: E-1 to E-30 of the protocols' reference. */

import {
  askOnce,
  podTarget,
  queryOf,
  type Request,
  spdyUpgrade,
  webSocketUpgrade,
} from "../clients/request.ts";
import { SpdySession } from "../clients/spdy_session.ts";
import { WebSocketSession } from "../clients/websocket_session.ts";
import { found } from "./exec_commands.ts";
import { type Column, kubeletOf } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { KINDS, POD } from "../pods.ts";
import type { Case } from "./case.ts";

const SPDY = "SPDY v4";
const V4 = "v4.channel.k8s.io";
const V5 = "v5.channel.k8s.io";

const exec = (query: Parameters<typeof podTarget>[2], pod: string = POD.one) => podTarget(pod, "exec", query);
/** A kubelet's path by way of the node proxy; directly at the kubelet, where the API server would change what comes. */
function kubeletPath(at: Column, path: string): [at: Column, target: string] {
  return at.name === "API server" ? [kubeletOf(at), path] : [at, `/api/v1/nodes/node1/proxy${path}`];
}

/** Opens a session by SPDY and these streams, plays, and tells all. */
async function spdy(
  at: Column,
  request: Request,
  streams: readonly string[],
  play: (session: SpdySession) => Promise<unknown> = () => Promise.resolve(),
): Promise<Seen> {
  using session = await SpdySession.open(at, { headers: spdyUpgrade(V4), ...request });
  if (session.isOpen) {
    await session.open(...streams);
    await play(session);
  }
  return await session.seen();
}

async function webSocket(at: Column, request: Request): Promise<Seen> {
  using session = await WebSocketSession.open(at, { headers: webSocketUpgrade(V4), ...request });
  return await session.seen();
}

/** Cases whose answer is all there is. */
const answers: readonly (Omit<Case, "play"> & { request: Request })[] = [
  {
    number: "E-4",
    command: "exec",
    protocol: SPDY,
    given: "a request without any stream's flag",
    when: "it comes as a POST that upgrades",
    then: "400 in the kubelet's plain text",
    request: { method: "POST", target: exec({ command: "true" }), headers: spdyUpgrade(V4) },
    directly: {
      answer: /^400 Bad Request\n[^]*text\/plain[^]*you must specify at least 1 of stdin, stdout, stderr/,
    },
  },
  {
    number: "E-6",
    command: "exec",
    protocol: SPDY,
    given: "a pod of two containers with an annotation that names one",
    when: "no container is asked for",
    then: "400 that names both",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }, "web"),
      headers: spdyUpgrade(V4),
    },
    directly: { answer: /^400 [^]*choose one of: \[web sidecar\]/ },
  },
  {
    number: "E-9",
    command: "exec",
    protocol: SPDY,
    given: "a pod of one container",
    when: "another is asked for",
    then: "400 that it is not valid",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1", container: "x" }),
      headers: spdyUpgrade(V4),
    },
    directly: { answer: /^400 [^]*container x is not valid for pod/ },
  },
  ...["PUT", "DELETE", "PATCH"].map((method) => ({
    number: "E-10" as const,
    command: `exec by ${method}`,
    protocol: "HTTP",
    given: "a pod's exec, which is created or got",
    when: `the method is ${method}`,
    then: "405 with a Status",
    request: { method, target: exec({ command: "true", stdout: "1" }) },
    directly: { answer: /^405 Method Not Allowed\n[^]*MethodNotAllowed/ },
  })),
  ...(["exec", "attach", "portforward"] as const).flatMap((subresource) =>
    ["GET", "POST"].map((method) => ({
      number: "E-10a" as const,
      command: `${subresource} by ${method}`,
      protocol: "HTTP",
      given: "a request that asks for no upgrade",
      when: `it is a plain ${method}`,
      then: "400 with a Status",
      request: {
        method,
        target: podTarget(
          POD.one,
          subresource,
          subresource === "exec" ? { command: "true", stdout: "1" } : { stdout: "1" },
        ),
      },
      directly: { answer: /^400 Bad Request\n[^]*Upgrade request required/ },
    }))
  ),
  {
    number: "E-15",
    command: "exec",
    protocol: "SPDY",
    given: "a client that knows none of our protocols",
    when: "it offers v9 alone",
    then: "403, a line for each that is served, and the sentence",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }),
      headers: spdyUpgrade("v9.channel.k8s.io"),
    },
    directly: {
      answer: /^403 Forbidden\n[^]*-versions: v4[^,]*, v3[^,]*, v2[^,]*, channel[^]*unable to negotiate/,
    },
  },
  {
    number: "E-15a",
    command: "portforward",
    protocol: "SPDY",
    given: "a client that knows another protocol for ports",
    when: "it offers v9 alone",
    then: "403 and the one that is served",
    request: {
      method: "POST",
      target: podTarget("ports", "portforward"),
      headers: spdyUpgrade("v9.portforward.k8s.io"),
    },
    directly: { answer: /^403 / },
  },
  {
    number: "E-16",
    command: "exec",
    protocol: "SPDY",
    given: "a client that names no protocol",
    when: "it asks for SPDY/3.1",
    then: "400 that the version is required",
    request: { method: "POST", target: exec({ command: "true", stdout: "1" }), headers: spdyUpgrade() },
    directly: { answer: /^400 [^]*X-Stream-Protocol-Version is required/ },
  },
  {
    command: "portforward without a protocol",
    protocol: "SPDY",
    given: "a client that names no protocol",
    when: "it asks for a port-forward by SPDY/3.1",
    then: "500 of what the kubelet made of an empty 200",
    request: { method: "POST", target: podTarget("ports", "portforward"), headers: spdyUpgrade() },
  },
  {
    command: "exec that upgrades to foo",
    protocol: "HTTP",
    given: "a client that speaks something else",
    when: "it asks to upgrade to foo",
    then: "400 that upgrade headers are missing",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }),
      headers: ["Connection: Upgrade", "Upgrade: foo", `X-Stream-Protocol-Version: ${V4}`],
    },
    directly: { answer: /^400 [^]*missing upgrade headers/ },
  },
  {
    number: "E-26",
    command: "exec",
    protocol: "WebSocket",
    given: "a WebSocket, which is got",
    when: "it is POSTed",
    then: "405 as Go's WebSocket server writes it: bare, with `bad method`",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }),
      headers: webSocketUpgrade(V4),
    },
    directly: { answer: /^405 Method Not Allowed\n+bad method/ },
  },
  {
    number: "E-27",
    command: "exec",
    protocol: "WebSocket",
    given: "protocols in two header lines",
    when: "the first holds none that is served",
    then: "403, for only the first line is read",
    request: {
      target: exec({ command: "true", stdout: "1" }),
      headers: [...webSocketUpgrade("foo"), `Sec-WebSocket-Protocol: ${V4}`],
    },
    directly: { answer: /^403 Forbidden$/ },
  },
  {
    number: "E-93",
    command: "exec",
    protocol: "WebSocket",
    given: "a protocol that is served over SPDY alone",
    when: "v3 is offered over WebSocket",
    then: "403, bare",
    request: {
      target: exec({ command: "true", stdout: "1" }),
      headers: webSocketUpgrade("v3.channel.k8s.io"),
    },
    directly: { answer: /^403 Forbidden$/ },
  },
  ...[
    { what: "version 12", drop: /Version/, add: "Sec-WebSocket-Version: 12" },
    { what: "no version", drop: /Version/ },
    { what: "no key", drop: /Key/ },
    { what: "a key of 3 bytes", drop: /Key/, add: "Sec-WebSocket-Key: YWJj" },
  ].map(({ what, drop, add }) => ({
    command: `exec with ${what}`,
    protocol: "WebSocket",
    given: "a WebSocket's handshake",
    when: `it has ${what}`,
    then: "what Go's WebSocket server makes of it",
    request: {
      target: exec({ command: "true", stdout: "1" }),
      headers: [
        ...webSocketUpgrade(V4).filter((line) => !drop.test(line)),
        ...(add === undefined ? [] : [add]),
      ],
    },
  })),
  ...[
    { what: "a pod that is not there", pod: "nosuch", query: { command: "true", stdout: "1" } },
    { what: "a completed pod", pod: "done", query: { command: "true", stdout: "1" } },
    {
      what: "a container that waits",
      pod: "init",
      query: { command: "true", stdout: "1", container: "main" },
    },
    { what: "dryRun", pod: POD.one, query: { command: "true", stdout: "1", dryRun: "All" } },
  ].map(({ what, pod, query }) => ({
    command: `exec with ${what}`,
    protocol: SPDY,
    given: "a request that cannot be met",
    when: `it is about ${what}`,
    then: "the API server's own words",
    request: { method: "POST", target: exec(query, pod), headers: spdyUpgrade(V4) },
    directly: { answer: /^[45]00 |^404 / },
  })),
  {
    command: "exec by bob",
    protocol: SPDY,
    given: "a user without rights to sessions",
    when: "bob asks for one",
    then: "403 with a Status",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }),
      headers: spdyUpgrade(V4),
      user: "bob",
    },
    directly: { answer: /^403 [^]*cannot create resource/ },
  },
  {
    command: "exec of a pod that is not there",
    protocol: SPDY,
    given: "a user without rights to sessions",
    when: "bob asks for a pod that is not there",
    then: "403 all the same",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }, "nosuch"),
      headers: spdyUpgrade(V4),
      user: "bob",
    },
    directly: { answer: /^403 / },
  },
  {
    command: "exec without a credential",
    protocol: SPDY,
    given: "nobody",
    when: "a request without any credential comes",
    then: "401, or 403 where the API server lets `system:anonymous` in",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }),
      headers: spdyUpgrade(V4),
      user: null,
    },
    directly: { answer: /^40[13] / },
  },
  {
    command: "exec with a bad token",
    protocol: SPDY,
    given: "a stranger",
    when: "a token comes that was never issued",
    then: "401 with a Status",
    request: {
      method: "POST",
      target: exec({ command: "true", stdout: "1" }),
      headers: [...spdyUpgrade(V4), "Authorization: Bearer not.a.token"],
      user: null,
    },
    directly: { answer: /^401 / },
  },
  {
    command: "portforward without ports",
    number: "E-109",
    protocol: "WebSocket v4",
    given: "a port-forward over channels, whose ports stand in the request",
    when: "it names none",
    then: "400 in the kubelet's plain text",
    request: { target: podTarget("ports", "portforward"), headers: webSocketUpgrade(V4) },
    directly: { answer: /^400 [^]*query parameter "port" is required/ },
  },
  ...["abc", "0", "65536", ""].map((ports) => ({
    command: `portforward of ports=${ports}`,
    protocol: "WebSocket v4",
    given: "a port-forward over channels",
    when: `its port is "${ports}"`,
    then: "the words of whoever reads it first",
    request: { target: podTarget("ports", "portforward", { ports }), headers: webSocketUpgrade(V4) },
  })),
];

const sessions: readonly Case[] = [
  {
    number: "E-1",
    command: "exec",
    protocol: SPDY,
    given: "the API's rule for flags: present and not false is true",
    when: "`stdin=` stands in the query without a value",
    then: "the command has a stdin",
    play: (at) =>
      spdy(
        at,
        { target: exec("command=cat&stdin=&stdout=1") },
        ["error", "stdin", "stdout"],
        async (session) => {
          await session.data(3, "fed\n", true);
          await session.shows("error", "status");
        },
      ),
    directly: { "stream 5 stdout": /fed/ },
  },
  {
    number: "E-2",
    command: "exec",
    protocol: SPDY,
    given: "the API's rule for flags",
    when: "the query says `stdin=0&stdout=FALSE&stderr=no`",
    then: "stderr alone is on",
    play: (at) =>
      spdy(
        at,
        {
          target: exec(
            "command=sh&command=-c&command=echo%20out%3B%20echo%20err%20%3E%262&stdin=0&stdout=FALSE&stderr=no",
          ),
        },
        ["error", "stderr"],
      ),
    directly: { "stream 3 stderr": /err/, "stream 1 error": /Success/ },
  },
  {
    number: "E-3",
    command: "node proxy exec",
    protocol: SPDY,
    given: "the kubelet's rule for flags: 1 alone is true",
    when: "its path is asked with `output=true`",
    then: "400, for no stream is on",
    play: (at) => {
      const [kubelet, target] = kubeletPath(at, `/exec/default/${POD.one}/one?command=id&output=true`);
      return askOnce(kubelet, { method: "POST", target, headers: spdyUpgrade(V4) });
    },
    directly: { answer: /^400 [^]*you must specify at least 1 of/ },
  },
  {
    number: "E-5",
    command: "exec",
    protocol: "WebSocket v5",
    given: "a request without any stream's flag",
    when: "it comes as a WebSocket with v5",
    then: "101, an empty message on channel 3, a Status there, Close 1000",
    play: (at) => webSocket(at, { target: exec({ command: "true" }), headers: webSocketUpgrade(V5) }),
    directly: { "first message": /^03$/, "channel 3": /you must specify at least 1 of/, end: /^Close 1000$/ },
  },
  {
    number: "E-7",
    command: "exec",
    protocol: SPDY,
    given: "a pod of one regular, one init and one ephemeral container",
    when: "no container is asked for",
    then: "the regular one is meant",
    play: (at) =>
      spdy(at, { target: exec({ command: ["cat", "/proc/1/cmdline"], stdout: "1" }, POD.kinds) }, [
        "error",
        "stdout",
      ]),
    directly: { answer: /^101/, "stream 3 stdout": /sleep/ },
  },
  {
    number: "E-8",
    command: "exec",
    protocol: SPDY,
    given: "the same pod",
    when: "the ephemeral container is asked for",
    then: "the session opens there",
    play: (at) =>
      spdy(
        at,
        { target: exec({ command: ["echo", "in"], stdout: "1", container: KINDS.ephemeral }, POD.kinds) },
        ["error", "stdout"],
      ),
    directly: { answer: /^101/, "stream 3 stdout": /in/ },
  },
  ...[
    {
      number: "E-11" as const,
      what: "Connection: keep-alive, Upgrade",
      lines: ["Connection: keep-alive, Upgrade", "Upgrade: SPDY/3.1"],
    },
    { what: "upgrade headers in other cases", lines: ["CONNECTION: uPGRADE", "UPGRADE: spdy/3.1"] },
    { what: "SPDY/3.1 among others", lines: ["Connection: Upgrade", "Upgrade: h2c, SPDY/3.1"] },
  ].map(({ what, lines, ...rest }): Case => ({
    ...rest,
    command: `exec with ${what}`,
    protocol: SPDY,
    given: "the loose reading that API servers have of upgrade headers",
    when: `a client sends ${what}`,
    then: "the session opens",
    play: (at) =>
      spdy(
        at,
        {
          target: exec({ command: ["echo", "in"], stdout: "1" }),
          headers: [...lines, `X-Stream-Protocol-Version: ${V4}`],
        },
        ["error", "stdout"],
      ),
    directly: { answer: /^101/, "stream 3 stdout": /in/ },
  })),
  {
    number: "E-12",
    command: "exec",
    protocol: "WebSocket v4",
    given: "an upgrade to a WebSocket",
    when: "it is written `WebSocket`",
    then: "it is one",
    play: (at) =>
      webSocket(at, {
        target: exec({ command: ["echo", "in"], stdout: "1" }),
        headers: webSocketUpgrade(V4).map((line) => line.replace("Upgrade: websocket", "Upgrade: WebSocket")),
      }),
    directly: { answer: /^101/, "channel 1": /in/ },
  },
  ...[
    { number: "E-13" as const, lines: ["v9.channel.k8s.io, v3.channel.k8s.io"], chosen: /v3/ },
    { number: "E-14" as const, lines: ["v2.channel.k8s.io", V4], chosen: /v2/ },
  ].map(({ number, lines, chosen }): Case => ({
    number,
    command: "exec",
    protocol: "SPDY",
    given: "the client's order of protocols counts",
    when: `it offers ${lines.join(", then ")}`,
    then: "the first that is served is chosen",
    play: (at) =>
      spdy(
        at,
        { target: exec({ command: ["echo", "in"], stdout: "1" }), headers: spdyUpgrade(...lines) },
        ["error", "stdout"],
      ),
    directly: { answer: chosen, "stream 3 stdout": /in/ },
  })),
  {
    number: "E-20",
    command: "node proxy exec",
    protocol: SPDY,
    given: "a kubelet's path; the API server's node proxy would lose its query",
    when: "an exec comes by it",
    then: "what the kubelet itself does: the session opens",
    play: (at) => {
      const query = queryOf({ command: ["echo", "in"], output: "1" });
      const [kubelet, target] = kubeletPath(at, `/exec/default/${POD.one}/one?${query}`);
      return spdy(kubelet, { target }, ["error", "stdout"]);
    },
    directly: { answer: /^101/, "stream 3 stdout": /in/ },
  },
  {
    number: "E-10b",
    command: "node proxy exec by GET",
    protocol: "HTTP",
    given: "a kubelet's exec",
    when: "a plain GET comes",
    then: "500 in plain text",
    play: (at) => {
      const [kubelet, target] = kubeletPath(at, `/exec/default/${POD.one}/one?command=true&output=1`);
      return askOnce(kubelet, { target });
    },
    directly: { answer: /^500 [^]*Upgrade request required/ },
  },
  {
    number: "E-21",
    command: "node proxy portForward",
    protocol: "SPDY",
    given: "a port-forward, whose ports stand in its streams",
    when: "it comes by the node proxy",
    then: "bytes flow",
    play: (at) => forwardGreeting(...kubeletPath(at, "/portForward/default/ports")),
    directly: { answer: /^101/, "stream 3 data of request 0": /7003/ },
  },
  {
    number: "E-24",
    command: "node proxy run",
    protocol: "HTTP",
    given: "a kubelet's run, which cuts its command at each space",
    when: "two spaces stand in it",
    then: "an empty word stands between",
    play: (at) => {
      const [kubelet, target] = kubeletPath(at, `/run/default/${POD.one}/one?cmd=printf%20[%25s]%20%20hi`);
      return askOnce(kubelet, { method: "POST", target });
    },
    directly: { answer: /^200 [^]*\[\]\[hi\]/ },
  },
  {
    number: "E-24a",
    command: "node proxy run",
    protocol: "HTTP",
    given: "a kubelet's run, which is POSTed",
    when: "it is got",
    then: "405 in plain text",
    play: (at) => {
      const [kubelet, target] = kubeletPath(at, `/run/default/${POD.one}/one?cmd=true`);
      return askOnce(kubelet, { target });
    },
    directly: { answer: /^405 / },
  },
  {
    number: "E-24b",
    command: "node proxy run",
    protocol: "HTTP",
    given: "a kubelet's run",
    when: "its command fails",
    then: "500 in the runtime's words",
    play: (at) => {
      const [kubelet, target] = kubeletPath(at, `/run/default/${POD.one}/one?cmd=ls%20/nosuch`);
      return askOnce(kubelet, { method: "POST", target });
    },
    directly: { answer: /^500 / },
  },
  {
    command: "exec with a semicolon in the query",
    protocol: SPDY,
    given: "two readings of a semicolon: a separator, or a character",
    when: "one stands in a parameter",
    then: "Go drops the parameter",
    play: (at) => spdy(at, { target: exec("command=echo&command=a;b&stdout=1") }, ["error", "stdout"]),
    directly: { "stream 3 stdout": /^accepted; \n/ },
  },
  {
    number: "E-28",
    command: "exec",
    protocol: "WebSocket v4",
    given: "a token as a subprotocol",
    when: "it stands there alone",
    then: "401",
    play: (at) => asSubprotocol(at, [bearer(at)]),
    directly: { answer: /^401 / },
  },
  {
    number: "E-28a",
    command: "exec",
    protocol: "WebSocket v4",
    given: "a token as a subprotocol",
    when: "v4 stands beside it",
    then: "101 that names v4 alone",
    play: (at) => asSubprotocol(at, [bearer(at), V4]),
    directly: { answer: /^101 [^]*sec-websocket-protocol: v4\.channel\.k8s\.io$/m, "channel 1": /in/ },
  },
  {
    number: "E-29",
    command: "exec",
    protocol: "WebSocket v4",
    given: "tokens as subprotocols",
    when: "there are two",
    then: "401",
    play: (at) => asSubprotocol(at, [bearer(at), bearer(at), V4]),
    directly: { answer: /^401 / },
  },
  {
    number: "E-30",
    command: "attach",
    protocol: SPDY,
    given: "a container with a terminal",
    when: "an attach asks for stderr and for no terminal",
    then: "the runtime says that both cannot be",
    play: (at) =>
      spdy(
        at,
        { target: podTarget("tty", "attach", { stdout: "1", stderr: "1" }) },
        ["error", "stdout", "stderr"],
      ),
    directly: { answer: /^500 [^]*tty and stderr cannot both be true/ },
  },
  {
    number: "E-51",
    command: "exec",
    protocol: SPDY,
    given: "clients that lose what comes with the 101",
    when: "a client sends nothing after it for a while",
    then: "nothing comes",
    play: async (at) => {
      using session = await SpdySession.open(at, {
        target: exec({ command: ["echo", "in"], stdout: "1" }),
        headers: spdyUpgrade(V4),
      });
      await session.until(() => false, 700);
      return session.seenSoFar();
    },
    directly: { answer: /^101/, end: /stays open/ },
  },
  {
    number: "E-97",
    command: "exec",
    protocol: "WebSocket v5",
    given: "a command that takes its time",
    when: "its client goes without a word",
    then: "it runs to its end",
    play: async (at) => {
      const file = `/tmp/left-${at.word}`;
      using session = await WebSocketSession.open(at, {
        target: exec({ command: ["sh", "-c", `echo started; sleep 1; echo done > ${file}`], stdout: "1" }),
        headers: webSocketUpgrade(V5),
      });
      await session.shows(1, "started");
      session.wire.close();
      const wait = `for i in 1 2 3 4 5 6 7 8; do [ -e ${file} ] && break; sleep 0.5; done; cat ${file}`;
      return { effect: await found(at, ["sh", "-c", wait]) };
    },
    directly: { effect: /^done\n$/ },
  },
];

export const HTTP_CASES: readonly Case[] = [
  ...answers.map(({ request, ...rest }): Case => ({ ...rest, play: (at) => askOnce(at, request) })),
  ...sessions,
];

async function forwardGreeting(at: Column, target: string): Promise<Seen> {
  using session = await SpdySession.open(at, { target, headers: spdyUpgrade("portforward.k8s.io") });
  if (session.isOpen) {
    const headers = { port: "7003", requestid: "0" };
    await session.openStream({ streamtype: "error", ...headers });
    await session.openStream({ streamtype: "data", ...headers });
    await session.until(() => session.named("data of request 0").isOver);
  }
  return await session.seen();
}

async function asSubprotocol(at: Column, protocols: readonly string[]): Promise<Seen> {
  const target = exec({ command: ["echo", "in"], stdout: "1" });
  return await webSocket(at, { target, headers: webSocketUpgrade(...protocols), user: null });
}

function bearer(at: Column): string {
  const token = new TextEncoder().encode(at.tokens.get("root"));
  const base64url = token.toBase64({ alphabet: "base64url", omitPadding: true });
  return `base64url.bearer.authorization.k8s.io.${base64url}`;
}
