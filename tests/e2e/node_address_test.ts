/** A Node that says that its kubelet is elsewhere draws no session there: nobody is spoken to outside of the ranges that are allowed. */

import assert from "node:assert/strict";
import { Gateway } from "./support/gateway.ts";
import { CLIENTS, kubectl } from "./support/kubectl.ts";
import { eventually } from "./support/wait.ts";

const RANGES = [
  { name: "with nothing configured, loopback is none of a node's", allowedAddresses: [] },
  { name: "outside of the ranges that are configured", allowedAddresses: ["10.0.0.0/8", "fd00::/8"] },
];

for (const { name, allowedAddresses } of RANGES) {
  Deno.test({
    name: `attack: a node that points elsewhere is not dialled, and that is written down: ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      // Where the test cluster's kubelet is, there listens somebody who would notice.
      using elsewhere = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      let isReached = false;
      const accepting = elsewhere.accept().then((connection) => {
        isReached = true;
        connection.close();
      }, () => {});
      await using gateway = await Gateway.start({
        kubeletPort: elsewhere.addr.port,
        upstream: { kubelet: { allowedAddresses } },
      });
      const { cluster } = gateway;
      for (const client of CLIENTS) {
        const args = ["exec", "shell", "--", "echo", "inside"];
        const { code, stdout, stderr } = await kubectl({ cluster, endpoint: gateway, client, args });
        assert.equal(code, 1);
        assert.equal(stdout.length, 0);
        const said = new TextDecoder().decode(stderr);
        assert.match(said, /node's address node1 \(127\.0\.0\.1\) is not one that the gateway may dial/);
      }
      const refusal = await eventually("that is written down", async () => {
        return (await gateway.events()).find(({ annotations }) =>
          annotations["postern.dev/event"] === "refusal"
        );
      });
      assert.equal(refusal.annotations["postern.dev/rule"], "node-address");
      assert.equal(refusal.annotations["postern.dev/node"], "node1");
      assert.deepEqual([refusal.responseStatus?.code, refusal.responseStatus?.reason], [403, "Forbidden"]);
      assert.equal(isReached, false);
      elsewhere.close();
      await accepting;
      await gateway.stop();
    },
  });
}
