/** `tortie apply`, `create`, `replace` and `delete`: the file is checked whole before the first resource is written. */

import { parseDocuments } from "../../model/parse.ts";
import { idOf, type ResourceId, resourceIdText } from "../../model/resource.ts";
import type { ApplyFlags, DeleteFlags, WriteFlags } from "../commands/resources.ts";
import { readFile } from "../file.ts";
import { connectNode } from "../connection.ts";
import { formatConfigErrors, hasSettings } from "../node/configuration.ts";
import { CliError, type Terminal, UsageError } from "../terminal.ts";
import { parseKind } from "./get.ts";

type Verb = "apply" | "create" | "replace";

/** Creates resources, or changes those that exist; with `--confirm` for a time. */
export function apply(this: Terminal, flags: ApplyFlags): Promise<void> {
  return flags.confirm === undefined ? write(this, "apply", flags) : applyForATime(this, flags, flags.confirm);
}

/** Lets stand what was applied for a time. */
export async function confirm(this: Terminal, flags: { readonly socket?: string }): Promise<void> {
  const { resources } = await connectNode(this, flags).confirm.confirm();
  for (const resource of resources) this.process.stdout.write(`${resource} confirmed\n`);
}

async function applyForATime(terminal: Terminal, flags: ApplyFlags, seconds: number): Promise<void> {
  if (flags.dryRun) throw new UsageError("--confirm and --dry-run: give one of them, a dry run changes nothing");
  const resources = await readResources(terminal, flags.file);
  const { results, until } = await connectNode(terminal, flags).confirm.apply({ resources, seconds });
  for (const { outcome, resource } of results) {
    terminal.process.stdout.write(`${resourceIdText(idOf(resource))} ${outcome}\n`);
  }
  terminal.process.stderr.write(`tortie: all of this is taken back at ${until} unless \`tortie confirm\` comes\n`);
}

/** Creates resources that must not exist. */
export function create(this: Terminal, flags: WriteFlags): Promise<void> {
  return write(this, "create", flags);
}

/** Replaces resources that must exist. */
export function replace(this: Terminal, flags: WriteFlags): Promise<void> {
  return write(this, "replace", flags);
}

async function write(terminal: Terminal, verb: Verb, flags: WriteFlags): Promise<void> {
  const { resources: api } = connectNode(terminal, flags);
  const failures: string[] = [];
  for (const resource of await readResources(terminal, flags.file)) {
    const id = resourceIdText(idOf(resource));
    try {
      const { outcome } = await api[verb](resource, { dryRun: flags.dryRun });
      terminal.process.stdout.write(`${id} ${flags.dryRun ? `would be ${outcome}` : outcome}\n`);
    } catch (error) {
      failures.push(`${id}: ${error instanceof Error ? error.message : error}`);
    }
  }
  report(failures);
}

/** Deletes what a file names, or a kind and names. */
export async function remove(this: Terminal, flags: DeleteFlags, word?: string, ...names: string[]): Promise<void> {
  const ids = await idsToDelete(this, flags, word, names);
  const { resources: api } = connectNode(this, flags);
  const failures: string[] = [];
  for (const id of ids) {
    try {
      await api.delete(id, { dryRun: flags.dryRun });
      this.process.stdout.write(`${resourceIdText(id)} ${flags.dryRun ? "would be deleted" : "deleted"}\n`);
    } catch (error) {
      if (flags.skipNotExists && (error as { code?: string }).code === "missing") continue;
      failures.push(`${resourceIdText(id)}: ${error instanceof Error ? error.message : error}`);
    }
  }
  report(failures);
}

async function idsToDelete(
  terminal: Terminal,
  flags: DeleteFlags,
  word: string | undefined,
  names: readonly string[],
): Promise<ResourceId[]> {
  if (flags.file !== undefined) {
    if (word !== undefined) throw new UsageError("give a file or a kind and names, not both");
    return (await readResources(terminal, flags.file)).map(idOf);
  }
  if (word === undefined || names.length === 0) {
    throw new UsageError("say what to delete: -f FILE, or a kind and names");
  }
  const { kind, namespaced } = parseKind(word);
  return names.map((name) => namespaced ? { kind, name, namespace: flags.namespace ?? "default" } : { kind, name });
}

async function readResources(terminal: Terminal, file: string) {
  const { text, name } = await readFile(terminal, file);
  const { settings, resources, errors } = parseDocuments(text, name);
  if (errors.length > 0) throw new CliError(formatConfigErrors(errors));
  if (hasSettings(settings)) {
    throw new CliError(
      `${name} holds a node's own settings: put them into the node's configuration file, and only resources here`,
    );
  }
  if (resources.length === 0) throw new CliError(`${name} holds no resource`);
  return resources.map((sourced) => sourced.resource);
}

function report(failures: readonly string[]): void {
  if (failures.length > 0) throw new CliError(failures.join("\n"));
}
