/** The paths of the OpenShift documents, which no API server has served since 1.10. */

import { queryOf, spdyUpgrade } from "../clients/request.ts";
import { SpdySession } from "../clients/spdy_session.ts";
import { POD } from "../pods.ts";
import type { Case } from "./case.ts";
import { V4 } from "./sessions.ts";

const PREFIXES = ["/proxy/nodes", "/proxy/minions", "/api/v1/proxy/nodes", "/api/v1/proxy/minions"];

const common = { given: "a path of the OpenShift documents", then: "404 since 1.10" };

export const LEGACY_CASES: readonly Case[] = PREFIXES.flatMap((prefix) => [
  {
    ...common,
    command: `exec by ${prefix}`,
    protocol: "SPDY v4",
    when: "a command is run by it",
    play: async (at) => {
      const query = queryOf({ command: ["echo", "in"], input: "1", output: "1", error: "1" });
      using session = await SpdySession.open(at, {
        target: `${prefix}/node1/exec/default/${POD.one}/one?${query}`,
        headers: spdyUpgrade(V4),
      });
      if (session.isOpen) await session.open("error", "stdin", "stdout", "stderr");
      return await session.seen();
    },
    directly: { answer: /^404 / },
  },
  {
    ...common,
    command: `portForward by ${prefix}`,
    protocol: "SPDY",
    when: "a port is forwarded by it",
    play: async (at) => {
      using session = await SpdySession.open(at, {
        target: `${prefix}/node1/portForward/default/ports`,
        headers: spdyUpgrade("portforward.k8s.io"),
      });
      if (session.isOpen) {
        const headers = { port: "7003", requestid: "0" };
        await session.openStream({ streamtype: "error", ...headers });
        await session.openStream({ streamtype: "data", ...headers });
        await session.until(() => session.named("data of request 0").isOver);
      }
      return await session.seen(1_000);
    },
    directly: { answer: /^404 / },
  },
]);
