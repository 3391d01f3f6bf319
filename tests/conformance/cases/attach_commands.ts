/** Attach by every client that has it. */

import type { AttachRequest, Client } from "../clients/client.ts";
import type { Column } from "../columns.ts";
import type { Claims, Row } from "../matrix.ts";
import { attachPod, ONCE_CONTAINERS, onceContainer } from "../pods.ts";

interface Command {
  name: string;
  request(at: Column, word: string): AttachRequest;
  directly?: Claims;
  isFor?: (client: Client) => boolean;
}

const isKubectl = ({ name }: Client) => name.startsWith("kubectl");

const commands: readonly Command[] = [
  {
    name: "a line and its answer",
    request: (at, word) => ({ pod: attachPod(at), container: "reader", line: word, until: `got ${word}` }),
  },
  {
    name: "output alone",
    request: () => ({ pod: "attach", container: "ticker", until: "tick" }),
  },
  {
    name: "an init container that runs",
    request: (_at, word) => ({ pod: "attach-init", container: "setup", line: word, until: `got ${word}` }),
  },
  {
    name: "a terminal",
    request: (at, word) => ({
      pod: attachPod(at),
      container: "terminal",
      line: `echo $((40 + 2))-${word}`,
      until: `42-${word}`,
      tty: true,
    }),
    isFor: isKubectl,
  },
  {
    name: "a container that is not there",
    request: (at) => ({ pod: attachPod(at), container: "nosuch" }),
    isFor: isKubectl,
  },
];

/** The rows of one client. What is shown there is shown to all who are attached: each looks for a word of its own. */
export function attachRows(client: Client): Row[] {
  const { attach } = client;
  if (attach === undefined) return [];
  const word = `${client.name}-${client.protocol}`.replaceAll(/[^A-Za-z0-9]+/g, "-");
  return commands.filter(({ isFor }) => isFor?.(client) ?? true).map(({ name, request, directly }) => ({
    client: client.name,
    command: `attach: ${name}`,
    protocol: client.protocol,
    observe: (at) => attach(at, request(at, word)),
    ...(directly && { directly }),
  }));
}

/** For each client a container that has its stdin once: it ends when its first client has ended it. */
export function onceRows(clients: readonly Client[]): Row[] {
  return clients.slice(0, ONCE_CONTAINERS).flatMap((client, index): Row[] => {
    const { attach } = client;
    return attach === undefined ? [] : [{
      client: client.name,
      command: "attach: stdin once",
      protocol: client.protocol,
      observe: (at) =>
        attach(at, {
          pod: attachPod(at),
          container: onceContainer(index),
          line: "last words",
          until: "got last words",
          endsStdin: true,
        }),
      directly: { answer: /got last words/ },
      isOnce: true,
    }];
  });
}
