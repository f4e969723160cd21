/**
 * The texts of configuration errors, file by file, beside the files that have them. UPDATE_GOLDEN=1 writes them anew; read
 * the difference then: an error text is what an operator has to work with.
 */

import assert from "node:assert/strict";
import { formatConfigError } from "../../../src/model/config_error.ts";
import { parseConfig } from "./parse_config.ts";

const FOLDER = new URL("../../golden/config_errors/", import.meta.url);
const files = [...Deno.readDirSync(FOLDER)].map((entry) => entry.name).filter((name) => name.endsWith(".yaml")).sort();

for (const file of files) {
  Deno.test(`The errors of ${file} read as they should`, () => {
    const { errors } = parseConfig(Deno.readTextFileSync(new URL(file, FOLDER)), file);
    assert.ok(errors.length > 0, "a file without errors proves nothing");
    const text = errors.map((error) => `${formatConfigError(error)}\n`).join("");
    const golden = new URL(file.replace(/yaml$/, "txt"), FOLDER);
    if (Deno.env.get("UPDATE_GOLDEN") === "1") Deno.writeTextFileSync(golden, text);
    assert.equal(text, Deno.readTextFileSync(golden));
    for (const error of errors) assert.ok(error.line > 0 && error.column > 0, formatConfigError(error));
  });
}
