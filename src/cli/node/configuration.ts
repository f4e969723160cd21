/**
 * The configuration file as the node uses it: read and checked whole, or refused whole with a line for each mistake.
 *
 * Its resources become the read-only entries of the store, each with the place that it came from.
 */

import { DEFAULT_SETTINGS, nodeName, type NodeSettings } from "../../model/config.ts";
import { type ConfigError, formatConfigError, sortConfigErrors } from "../../model/config_error.ts";
import { checkFleet } from "../../model/fleet.ts";
import { resourceKey } from "../../model/keys/mod.ts";
import { parseDocuments } from "../../model/parse.ts";
import { serializeResource, storedName } from "../../model/read.ts";
import type { FixedEntry } from "../../store/file/fixed.ts";
import { CliError, type Terminal } from "../terminal.ts";
import { readFile } from "../file.ts";

/** A configuration that was found to be right. */
export interface Configuration {
  readonly file: string;
  readonly name: string;
  readonly settings: NodeSettings;
  readonly fixed: readonly FixedEntry[];
}

/** Reads and checks the file; throws `CliError` with a line for each mistake. */
export async function loadConfiguration(terminal: Terminal, file: string): Promise<Configuration> {
  const { text } = await readFile(terminal, file, "make it (an empty one is a working single host), or name another");
  return checkConfiguration(text, file, Deno.hostname());
}

/** Checks the text of a configuration file; throws `CliError` with a line for each mistake. */
export function checkConfiguration(text: string, file: string, hostName: string): Configuration {
  const { settings, resources, errors } = parseDocuments(text, file);
  const name = nodeName(settings, hostName);
  // A resource that was refused is missing from the rest, which would be reported twice.
  const problems = errors.length > 0
    ? errors
    : checkFleet(resources, { datastore: settings.datastore.type, nodeName: name });
  if (problems.length > 0) throw new CliError(formatConfigErrors(problems));
  return {
    file,
    name,
    settings,
    fixed: resources.map(({ resource, line }) => ({
      key: resourceKey(resource.kind, storedName(resource), resource.metadata.namespace),
      value: serializeResource(resource),
      where: `${file}:${line}`,
    })),
  };
}

/** Errors as lines; each gets its "tortie: " where it is printed. */
export function formatConfigErrors(errors: readonly ConfigError[]): string {
  return sortConfigErrors(errors).map(formatConfigError).join("\n");
}

/** Settings that a running node cannot change: the names of those that differ. */
export function restartNeeded(running: NodeSettings, edited: NodeSettings): string[] {
  const flat = (settings: NodeSettings) =>
    new Map(
      Object.entries({ node: settings.node, datastore: settings.datastore, metrics: settings.metrics }).flatMap(
        ([section, values]) =>
          Object.entries(values).map(([key, value]) => [`${section}.${key}`, JSON.stringify(value)] as const),
      ),
    );
  const before = flat(running), after = flat(edited);
  return [...new Set([...before.keys(), ...after.keys()])].filter((key) => before.get(key) !== after.get(key));
}

/** Whether a file held a document of settings. */
export function hasSettings(settings: NodeSettings): boolean {
  return settings !== DEFAULT_SETTINGS;
}
