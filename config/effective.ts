import { stringify } from "yaml";
import { API_VERSION, type Configuration, KIND } from "./gateway_configuration.ts";

/** The configuration as YAML with nothing left to default: itself a file that can be loaded. */
export function toYaml(configuration: Configuration): string {
  return stringify({ apiVersion: API_VERSION, kind: KIND, ...configuration }, { lineWidth: 0 });
}
