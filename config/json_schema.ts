import { z } from "zod";
import { gatewayConfiguration } from "./gateway_configuration.ts";

/** As much of JSON Schema 2020-12 as the configuration's has. */
export interface JsonSchema {
  $schema?: string;
  $id?: string;
  title?: string;
  description?: string;
  type?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  enum?: string[];
  const?: string;
  default?: unknown;
  minimum?: number;
  maximum?: number;
}

/** The JSON Schema of what an operator may write, for editors and for CI. */
export function jsonSchema(): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(gatewayConfiguration, { io: "input" });
  // The edge where the library's own, wider type is narrowed; reference_test.ts walks all of it.
  return {
    $schema,
    $id: "https://postern.dev/schemas/gateway_configuration.v1alpha1.json",
    ...rest,
  } as JsonSchema;
}

/** The schema at a path of keys and indexes; `undefined` where the path leaves what is known. */
export function schemaAt(path: readonly PropertyKey[], schema = jsonSchema()): JsonSchema | undefined {
  let here: JsonSchema | undefined = schema;
  for (const step of path) {
    here = typeof step === "number" ? here?.items : here?.properties?.[String(step)];
  }
  return here;
}
