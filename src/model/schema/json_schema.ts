/**
 * The JSON schema of tortie.yaml's documents, for editors. It is made of the same definitions that judge the file, so the
 * two cannot drift apart; what a schema cannot say (selectors, prefixes, what holds between members) is left to
 * `tortie validate`.
 */

import { z } from "zod";
import { resourceSchema, SCHEMA_KINDS } from "./mod.ts";
import { settingsSchema } from "./settings.ts";

type Json = Record<string, unknown>;

/** The schema as a JSON value: a document is the node's settings or a resource of a known kind. */
export function configJsonSchema(): Json {
  const definitions: Record<string, Json> = {};
  definitions.settings = convert(settingsSchema, definitions);
  for (const kind of SCHEMA_KINDS) definitions[kind] = convert(resourceSchema(kind), definitions);
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "tortie.schema.json",
    title: "A document of tortie.yaml",
    type: "object",
    if: { required: ["kind"] },
    then: {
      required: ["apiVersion", "kind", "metadata"],
      properties: { kind: { enum: [...SCHEMA_KINDS] } },
      allOf: SCHEMA_KINDS.map((kind) => ({
        if: { properties: { kind: { const: kind } } },
        then: { $ref: `#/$defs/${kind}` },
      })),
    },
    else: { $ref: "#/$defs/settings" },
    $defs: definitions,
  };
}

/** Converts a schema; what it shares with others (rules) goes into `definitions`, where its references point. */
function convert(schema: z.ZodType, definitions: Record<string, Json>): Json {
  const { $schema: _, $defs, ...definition } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Json;
  Object.assign(definitions, $defs);
  return definition;
}
