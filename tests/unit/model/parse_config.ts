/** Judges a whole configuration file as a node does: each resource by itself, then all of them together. */

import { sortConfigErrors } from "../../../src/model/config_error.ts";
import { checkFleet } from "../../../src/model/fleet.ts";
import { type ParsedConfig, parseDocuments } from "../../../src/model/parse.ts";

/** Reads the text and collects the errors of both steps. */
export function parseConfig(text: string, file: string, options: { readonly nodeName?: string } = {}): ParsedConfig {
  const parsed = parseDocuments(text, file);
  const nodeName = parsed.settings.node.name ?? options.nodeName;
  const errors = checkFleet(parsed.resources, {
    datastore: parsed.settings.datastore.type,
    ...nodeName !== undefined && { nodeName },
  });
  return { ...parsed, errors: sortConfigErrors([...parsed.errors, ...errors]) };
}
