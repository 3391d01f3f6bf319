import { API_VERSION, KIND } from "./gateway_configuration.ts";
import { type JsonSchema, jsonSchema } from "./json_schema.ts";

/** docs/configuration.md: a table per section, made from the schema. */
export function reference(): string {
  const schema = jsonSchema();
  const sections = Object.entries(schema.properties ?? {})
    .filter(([, section]) => section.properties !== undefined)
    .map(([name, section]) => describeSection(name, section));
  return [INTRODUCTION, ...sections].join("\n");
}

const INTRODUCTION = `<!-- deno-fmt-ignore-file -->

# Configuration

<!-- Made from config/ by \`deno task generate\`; change it there. -->

Postern reads one YAML file when it starts. \`apiVersion\` and \`kind\` are needed; every other key has a default that
is safe in a cluster, so that this is a whole configuration:

\`\`\`yaml
apiVersion: ${API_VERSION}
kind: ${KIND}
\`\`\`

- A key that is not known, a value out of bounds or a key given twice stops the start. Every fault is named at once,
  with file, line, column, path and what was expected.
- Units are in the names: \`Seconds\`, \`Bytes\`. Numbers are whole.
- A relative path starts in the folder of the configuration file.
- The file has at most 128 KiB, in UTF-8, and no YAML aliases.
- \`postern config check FILE\` checks a file, \`postern config print --config FILE\` shows it with every default filled
  in and every path absolute, \`postern config schema\` prints the JSON Schema (also in
  [deploy/config](../deploy/config/gateway_configuration.schema.json)). An editor that knows YAML schemas uses it when
  the file starts with \`# yaml-language-server: $schema=<path of the schema>\`.
`;

function describeSection(name: string, section: JsonSchema): string {
  const rows = rowsOf(section, [name]).map((cells) => `| ${cells.map(escapeCell).join(" | ")} |`);
  return `## ${name}

${section.description ?? ""}

| key | type | default | meaning |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function rowsOf(section: JsonSchema, path: string[]): string[][] {
  return Object.entries(section.properties ?? {}).flatMap(([key, value]) => {
    const here = [...path, key];
    if (value.properties) return rowsOf(value, here);
    const needed = section.required?.includes(key) ?? false;
    const row = [`\`${here.join(".")}\``, typeOf(value), defaultOf(value, needed), value.description ?? ""];
    return [row, ...itemRows(value, here)];
  });
}

/** Rows of the keys that a section of several kinds may have, or an item of a list: those of each variant. */
function itemRows({ items, oneOf = [] }: JsonSchema, path: string[]): string[][] {
  const list = [...path.slice(0, -1), `${path.at(-1)}[]`];
  return [
    ...oneOf.flatMap((variant) => rowsOf(variant, path)),
    ...(items?.oneOf ?? []).flatMap((variant) => rowsOf(variant, list)),
  ];
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return code(schema.const);
  if (schema.oneOf) return "section";
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(", or ");
  if (schema.enum) return schema.enum.map(code).join(" or ");
  if (schema.type === "integer") return `whole number, ${schema.minimum} to ${schema.maximum}`;
  if (schema.type === "boolean") return "true or false";
  if (schema.type === "array") {
    return `list of ${schema.items?.oneOf ? "sections" : typeOf(schema.items ?? {})}`;
  }
  return "text";
}

function defaultOf(schema: JsonSchema, needed: boolean): string {
  if (schema.default !== undefined) return code(schema.default);
  return needed ? "(needed)" : "none";
}

function code(value: unknown): string {
  return `\`${JSON.stringify(value)}\``;
}

/** A pipe ends a table's cell, even within code. */
function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}
