/** The JSON schema in `config/schema` is the one that the definitions give; UPDATE_GOLDEN=1 writes it anew. */

import assert from "node:assert/strict";
import { KINDS } from "../../../src/model/kinds.ts";
import { configJsonSchema } from "../../../src/model/schema/json_schema.ts";

const FILE = new URL("../../../config/schema/tortie.schema.json", import.meta.url);

Deno.test("The JSON schema in config/schema is up to date", () => {
  const text = `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
  if (Deno.env.get("UPDATE_GOLDEN") === "1") Deno.writeTextFileSync(FILE, text);
  assert.equal(Deno.readTextFileSync(FILE), text);
});

Deno.test("The JSON schema has a definition for every kind", () => {
  const definitions = configJsonSchema().$defs as Record<string, unknown>;
  for (const { kind } of KINDS) assert.ok(definitions[kind], kind);
});

Deno.test("Every reference in the JSON schema leads somewhere", () => {
  const schema = configJsonSchema();
  const definitions = schema.$defs as Record<string, unknown>;
  const references = [...JSON.stringify(schema).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference = ""]) => reference);
  assert.ok(references.length > 0);
  for (const reference of references) {
    assert.ok(reference.startsWith("#/$defs/") && definitions[reference.slice("#/$defs/".length)], reference);
  }
});
