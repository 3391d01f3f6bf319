import assert from "node:assert/strict";
import { apiServerFault } from "./api_server_fault.ts";
import { ApiError, ApiUnreachable } from "./client.ts";

for (
  const [name, thrown, want] of [
    ["answers", undefined, undefined],
    ["knows us, and says no", new ApiError(403, {}), undefined],
    ["has nothing there", new ApiError(404, {}), undefined],
    ["does not know us", new ApiError(401, {}), "the API server does not accept the gateway's credentials"],
    ["is ill", new ApiError(500, { message: "etcd" }), "the API server answered 500: etcd"],
    [
      "is not there",
      new ApiUnreachable("the API server cannot be reached"),
      "the API server cannot be reached",
    ],
  ] as const
) {
  Deno.test(`apiServerFault: an API server that ${name}`, async () => {
    const client = {
      // What it answers is not looked at.
      get: <T>(): Promise<T> =>
        thrown === undefined ? Promise.resolve(JSON.parse("{}")) : Promise.reject(thrown),
    };
    assert.equal(await apiServerFault(client, new AbortController().signal), want);
  });
}
