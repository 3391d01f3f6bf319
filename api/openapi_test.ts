import assert from "node:assert/strict";
import { openapiDocument } from "./api.ts";
import { generated } from "./generate.ts";
import { apiTest, PREFIX } from "./test_scene.ts";

Deno.test("docs/openapi.json is what `deno task generate` would write", async () => {
  const { url, text } = generated();
  assert.equal(await Deno.readTextFile(url), text);
});

Deno.test("the document names every path, its grant, its refusals and the token", () => {
  const { paths = {}, components } = openapiDocument();
  assert.deepEqual(Object.keys(paths), [
    "/postern/v1/sessions",
    "/postern/v1/sessions/{auditId}",
    "/postern/v1/sessions/{auditId}/events",
    "/postern/v1/sessions/{auditId}/recording",
    "/postern/v1/sessions/{auditId}/tail",
    "/postern/v1/openapi.json",
  ]);
  assert.deepEqual(components?.securitySchemes, { bearer: { type: "http", scheme: "bearer" } });
  for (const [path, item] of Object.entries(paths)) {
    for (const operation of [item.get, item.delete]) {
      if (operation === undefined) continue;
      assert.deepEqual(operation.security, [{ bearer: [] }], path);
      for (const code of ["400", "401", "403", "503"]) {
        assert.ok(operation.responses?.[code], `${path} ${code}`);
      }
      if (path.includes("sessions")) {
        assert.match(operation.description ?? "", /^Grant: `\w+` on `\w+`/, path);
      }
    }
  }
});

apiTest("the document is served to everybody with a good token, and to nobody else", async (scene) => {
  const response = await scene.ask(`${PREFIX}/openapi.json`, { user: "eve" });
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), JSON.parse(generated().text));
  assert.equal((await scene.refused(`${PREFIX}/openapi.json`, { user: null })).code, 401);
});
