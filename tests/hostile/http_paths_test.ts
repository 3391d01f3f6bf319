/** What is authorized is what is opened, however a path is spelt. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ALICE, HostileScene, requestText, SPDY } from "./support/hostile_scene.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

/** Ways to spell a character of a path. */
const SPELLINGS: readonly ((character: string) => string)[] = [
  (character) => character,
  (character) => character,
  (character) => character,
  (character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  (character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`,
];

/** What hostile clients put into paths. */
const TRICKS = [
  ...[
    "/",
    "//",
    "/./",
    "/../",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";x=1",
    "%3b",
    "%",
    "%zz",
    "%00",
    "%0d%0a",
    "%2e%2e",
    "..",
  ],
  ...[
    "%252f",
    "%25",
    "%c0%af",
    "%e0%80%af",
    "%ef%bc%8f",
    "%u002f",
    "%E2%80%AE",
    "%7f",
    "?",
    "%3f",
    "#",
    "%23",
    ":",
    "@",
  ],
  ...["+", "%20", "*", "{}", "%ed%a0%80", "\u00e9", "EXEC", "exec", "pods", "proxy"],
] as const;

const FORMS: readonly ((pod: string) => string)[] = [
  (pod) => `/api/v1/namespaces/default/pods/${pod}/exec`,
  (pod) => `/api/v1/namespaces/default/pods/${pod}/attach`,
  (pod) => `/api/v1/namespaces/default/pods/${pod}/portforward`,
  (pod) => `/api/v1/nodes/node/proxy/exec/default/${pod}/main`,
  (pod) => `/proxy/nodes/node/exec/default/${pod}/main`,
  (pod) => `/api/v1/proxy/minions/node/portForward/default/${pod}`,
];

interface Spelt {
  /** Which of {@linkcode FORMS}. */
  form: number;
  /** For each character, which of {@linkcode SPELLINGS}. */
  spellings: number[];
  /** What is put in before the character at `at`. */
  trick: string | null;
  at: number;
}

/** A session's path, some of its characters spelt otherwise, perhaps with a trick in it. */
const target: fc.Arbitrary<Spelt> = fc.record({
  form: fc.nat(FORMS.length - 1),
  spellings: fc.array(fc.nat(SPELLINGS.length - 1), { minLength: 80, maxLength: 80 }),
  trick: fc.option(fc.constantFrom(...TRICKS), { freq: 3 }),
  at: fc.nat(80),
});

/** Requests under way at once: the time goes into waiting for each other's answers. */
const AT_ONCE = 10;

Deno.test(
  "whatever path opens a session, that pod is the one that was authorized and written down",
  suite,
  async () => {
    await using scene = await HostileScene.start();
    const { cluster } = scene;
    let [opened, refused, count] = [0, 0, 0];

    const send = async ({ form, spellings, trick, at }: Spelt) => {
      const pod = `pod-${count++}`; // a name of its own each time: nothing is remembered of it
      const path = Array.from(FORMS[form]!(pod), (character, index) => {
        const isPlain = character === "/" || index === 0;
        return isPlain ? character : SPELLINGS[spellings[index]!]!(character);
      });
      if (trick !== null) path.splice(Math.max(1, at % path.length), 0, trick);
      const start = `POST ${path.join("")}?command=id&stdout=1&output=1&container=main`;
      const protocol = form === 2 || form === 5 ? "portforward.k8s.io" : "v4.channel.k8s.io";
      const spdy = [...SPDY.slice(0, 2), `X-Stream-Protocol-Version: ${protocol}`];
      const { code } = await scene.exchange(requestText(start, [...ALICE, ...spdy]));
      assert.ok(code === 101 || (code >= 400 && code < 500), `${code} to ${start}`);
      return code === 101;
    };

    const samples = fc.sample(target, 150);
    for (let begin = 0; begin < samples.length; begin += AT_ONCE) {
      cluster.forget();
      const batch = samples.slice(begin, begin + AT_ONCE);
      const answers = await Promise.all(batch.map(send));
      const inBatch = answers.filter((isOpen) => isOpen).length;
      opened += inBatch;
      refused += batch.length - inBatch;
      assert.equal(cluster.sessions.length, inBatch, JSON.stringify(batch));
      for (const session of cluster.sessions) {
        const [, kind, namespace, name] = session.split(/[/?]/);
        const subresource = kind!.toLowerCase();
        const asked = cluster.access.filter((access) => access.resource === "pods" && access.name === name);
        assert.deepEqual(asked, [{
          user: "alice",
          verb: "create",
          namespace,
          name,
          resource: "pods",
          subresource,
        }]);
        const event = await scene.eventOf(({ objectRef, annotations }) =>
          objectRef?.name === name && annotations["postern.dev/pod-uid"] === `uid-of-${name}`
        );
        assert.deepEqual([event.objectRef?.namespace, event.objectRef?.subresource], [
          namespace,
          subresource,
        ]);
      }
      assert.deepEqual(cluster.passedOn, [], "a path with a session in it was passed on");
    }
    assert.ok(opened > 30 && refused > 30, `${opened} were opened, ${refused} refused`);
    await scene.isWell();
  },
);
