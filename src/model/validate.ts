/** Validates a whole configuration file: every document by itself, then the resources against each other. */

import { sortConfigErrors } from "./config_error.ts";
import { checkFleet } from "./fleet.ts";
import { type ParsedConfig, parseDocuments } from "./parse.ts";

/** Options of `parseConfig`. */
export interface ConfigOptions {
  /** The name of the node that the file is for, where `node.name` does not say it: the host's name. */
  readonly nodeName?: string;
}

/**
 * Reads a configuration file and collects all of its errors. The checks across resources are made only once each
 * resource is right by itself, because they would otherwise complain of what a mended error brings along.
 */
export function parseConfig(text: string, file: string, options: ConfigOptions = {}): ParsedConfig {
  const parsed = parseDocuments(text, file);
  if (parsed.errors.length > 0) return parsed;
  const nodeName = parsed.settings.node.name ?? options.nodeName;
  const fleet = { datastore: parsed.settings.datastore.type, ...nodeName !== undefined && { nodeName } };
  return { ...parsed, errors: sortConfigErrors(checkFleet(parsed.resources, fleet)) };
}
