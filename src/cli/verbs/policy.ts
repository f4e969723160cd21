/** `tortie policy`: explain, list and lint. */

import type { PolicyFinding, PolicyRow, RuleRow } from "../../api/shapes.ts";
import type { ExplainFlags, ListFlags } from "../commands/policy.ts";
import { connectNode } from "../connection.ts";
import { type Column, formatJson, formatTable } from "../table.ts";
import { CliError, type Terminal } from "../terminal.ts";

/** Explains whether a packet passes and what decides. */
export async function explain(this: Terminal, flags: ExplainFlags): Promise<void> {
  const { from, to, protocol, port, live } = flags;
  const explanation = await connectNode(this, flags).policy.explain({ from, to, protocol, port, live });
  if (flags.output === "json") return void this.process.stdout.write(formatJson(explanation));
  const { verdict, steps } = explanation;
  type Step = typeof steps[number];
  const columns: Column<Step>[] = [
    { title: "at", cell: (step) => step.at },
    { title: "tier", cell: (step) => step.tier },
    { title: "policy", cell: (step) => step.policy },
    { title: "rule", cell: (step) => step.rule },
    { title: "action", cell: (step) => step.action },
    ...live
      ? [
        { title: "packets", cell: (step: Step) => step.packets },
        { title: "bytes", cell: (step: Step) => step.bytes },
      ]
      : [],
  ];
  const way = `${from} to ${to}, ${protocol}${port === undefined ? "" : ` port ${port}`}`;
  const judged = steps.length > 0 ? formatTable(steps, columns) : "no policy judges it\n";
  this.process.stdout.write(`${verdict}: ${way}\n${judged}`);
}

const listColumns: readonly Column<PolicyRow>[] = [
  { title: "tier", cell: (row) => row.tier },
  { title: "order", cell: (row) => row.order },
  { title: "policy", cell: (row) => row.policy },
  { title: "kind", cell: (row) => row.kind },
  { title: "types", cell: (row) => row.types.join(",") },
  { title: "endpoints", cell: (row) => row.endpoints },
  { title: "selector", cell: (row) => row.selector },
];

const hitColumns: readonly Column<{ readonly policy: PolicyRow; readonly rule: RuleRow }>[] = [
  { title: "tier", cell: ({ policy }) => policy.tier },
  { title: "policy", cell: ({ policy }) => policy.policy },
  { title: "direction", cell: ({ rule }) => rule.direction },
  { title: "rule", cell: ({ rule }) => rule.rule },
  { title: "action", cell: ({ rule }) => rule.action },
  { title: "packets", cell: ({ rule }) => rule.packets },
  { title: "bytes", cell: ({ rule }) => rule.bytes },
];

/** Lists policies in the order in which they judge. */
export async function list(this: Terminal, flags: ListFlags): Promise<void> {
  const { hits } = flags;
  const rows = await connectNode(this, flags).policy.list({ hits });
  this.process.stdout.write(
    flags.output === "json"
      ? formatJson(rows)
      : hits
      ? formatTable(rows.flatMap((policy) => policy.rules.map((rule) => ({ policy, rule }))), hitColumns)
      : formatTable(rows, listColumns),
  );
}

const lintColumns: readonly Column<PolicyFinding>[] = [
  { title: "kind", cell: (row) => row.kind },
  { title: "name", cell: (row) => row.name },
  { title: "field", cell: (row) => row.field },
  { title: "finding", cell: (row) => row.message },
];

/** Finds what is probably not meant; throws `CliError` when something is. */
export async function lint(
  this: Terminal,
  flags: { readonly output: "table" | "json"; readonly socket?: string },
): Promise<void> {
  const found = await connectNode(this, flags).policy.lint();
  if (flags.output === "json") this.process.stdout.write(formatJson(found));
  else this.process.stdout.write(found.length > 0 ? formatTable(found, lintColumns) : "nothing found\n");
  if (found.length > 0) {
    const count = found.length === 1 ? "1 finding" : `${found.length} findings`;
    throw new CliError(`${count}; each is certain of the resources as they are now`);
  }
}
