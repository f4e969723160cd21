/** `tortie get`: resources as a table, YAML, JSON or names; with `--watch` also what happens to them. */

import { nearest } from "../../model/nearest.ts";
import { type KindEntry, kindOfWord, kindWords } from "../../model/kinds.ts";
import type { AnyResource } from "../../model/resources/mod.ts";
import type { GetFlags } from "../commands/resources.ts";
import { connectNode } from "../connection.ts";
import { type Column, formatJson, formatTable } from "../table.ts";
import { CliError, type Terminal, UsageError } from "../terminal.ts";

/** Shows the resources of a kind, or the one of a name. */
export async function get(this: Terminal, flags: GetFlags, word: string, name?: string): Promise<void> {
  const entry = parseKind(word);
  const { resources } = connectNode(this, flags);
  const filter = { namespace: flags.namespace, name };
  if (flags.watch) {
    const { formatYaml } = await import("../yaml.ts");
    for await (const event of resources.watch(entry.kind, filter)) {
      const name = `${nameOf(entry, event.resource)}\n`;
      this.process.stdout.write(
        flags.output === "json"
          ? JSON.stringify(event) + "\n"
          : flags.output === "yaml"
          ? `---\n${formatYaml(event)}`
          : flags.output === "name"
          ? name
          : `${event.type.padEnd(8)} ${name}`,
      );
    }
    throw new CliError("the node has ended the watch; is it stopped? Start the watch again once it runs");
  }
  const found = await resources.list(entry.kind, filter);
  if (name !== undefined && found.length === 0) throw new CliError(`no ${entry.kind} ${JSON.stringify(name)}`);
  this.process.stdout.write(await formatResources(entry, found, flags.output, name !== undefined));
}

/** The kind that a word stands for; throws `UsageError` with the nearest known word. */
export function parseKind(word: string): KindEntry {
  const entry = kindOfWord(word);
  if (entry) return entry;
  const hint = nearest(word.toLowerCase(), kindWords());
  throw new UsageError(`unknown kind ${JSON.stringify(word)}${hint ? `: did you mean ${hint}?` : ""}`);
}

async function formatResources(
  entry: KindEntry,
  found: readonly AnyResource[],
  output: GetFlags["output"],
  isSingle: boolean,
): Promise<string> {
  const document = isSingle
    ? found[0]
    : { apiVersion: "projectcalico.org/v3", kind: `${entry.kind}List`, items: found };
  switch (output) {
    case "json":
      return formatJson(document);
    case "yaml":
      return (await import("../yaml.ts")).formatYaml(document);
    case "name":
      return found.map((resource) => `${nameOf(entry, resource)}\n`).join("");
    default:
      return formatTable(found, columnsOf(entry, output === "wide"));
  }
}

function columnsOf(entry: KindEntry, isWide: boolean): Column<AnyResource>[] {
  return [
    ...entry.namespaced ? [{ title: "namespace", cell: (resource: AnyResource) => resource.metadata.namespace }] : [],
    { title: "name", cell: (resource) => resource.metadata.name },
    ...entry.columns.filter((column) => isWide || !column.wide).map((column) => ({
      title: column.heading,
      cell: (resource: AnyResource) => formatCell(column.path.split(".").reduce<unknown>(member, resource)),
    })),
  ];
}

function member(value: unknown, name: string): unknown {
  return value !== null && typeof value === "object" ? (value as Record<string, unknown>)[name] : undefined;
}

function formatCell(value: unknown): string | number | boolean | undefined {
  if (Array.isArray(value)) return value.map(formatCell).join(",");
  if (value !== null && typeof value === "object") return JSON.stringify(value);
  return value as string | number | boolean | undefined;
}

function nameOf(entry: KindEntry, { metadata }: AnyResource): string {
  return `${entry.plural}/${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`;
}
