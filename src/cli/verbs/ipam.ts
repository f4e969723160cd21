/** `tortie ipam`: show, check, release and configure. */

import type { ConfigureFlags, ShowFlags } from "../commands/ipam.ts";
import { connectNode } from "../connection.ts";
import { formatJson, formatTable } from "../table.ts";
import { CliError, type Terminal, UsageError } from "../terminal.ts";

/** Shows pools, blocks or one address. */
export async function show(this: Terminal, flags: ShowFlags): Promise<void> {
  const { ipam } = connectNode(this, flags);
  const { stdout } = this.process;
  if (flags.ip !== undefined) {
    const owner = await ipam.showIp(flags.ip);
    if (flags.output === "json") return void stdout.write(formatJson(owner));
    const facts = Object.entries(owner).filter(([, value]) => value !== null && value !== undefined);
    stdout.write(
      facts.map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}\n`).join(""),
    );
    return;
  }
  if (flags.blocks) {
    const blocks = await ipam.showBlocks();
    stdout.write(
      flags.output === "json" ? formatJson(blocks) : formatTable(blocks, [
        { title: "block", cell: (row) => row.cidr },
        { title: "affinity", cell: (row) => row.affinity },
        { title: "used", cell: (row) => row.used },
        { title: "free", cell: (row) => row.free },
        { title: "borrowed", cell: (row) => row.borrowed },
      ]),
    );
    return;
  }
  const pools = await ipam.show();
  stdout.write(
    flags.output === "json" ? formatJson(pools) : formatTable(pools, [
      { title: "pool", cell: (row) => row.name },
      { title: "cidr", cell: (row) => row.cidr },
      { title: "size", cell: (row) => row.size },
      { title: "used", cell: (row) => row.used },
      { title: "free", cell: (row) => row.free },
    ]),
  );
}

/** Looks for what is wrong with the addresses; exit status 1 when something is. */
export async function check(
  this: Terminal,
  flags: { readonly output: "table" | "json"; readonly socket?: string },
): Promise<void> {
  const findings = await connectNode(this, flags).ipam.check();
  if (flags.output === "json") this.process.stdout.write(formatJson(findings));
  else for (const finding of findings) this.process.stdout.write(`${finding.message}\n`);
  if (findings.length > 0) {
    throw new CliError(
      `${findings.length} ${findings.length === 1 ? "thing is" : "things are"} wrong with the addresses`,
    );
  }
  if (flags.output !== "json") this.process.stdout.write("addresses and workloads agree\n");
}

/** Gives an address back. */
export async function release(this: Terminal, flags: { readonly ip: string; readonly socket?: string }): Promise<void> {
  await connectNode(this, flags).ipam.release(flags.ip);
}

/** Shows the allocator's settings, after changing those that are named. */
export async function configure(this: Terminal, flags: ConfigureFlags): Promise<void> {
  const { strictAffinity, maxBlocksPerHost } = flags;
  if (maxBlocksPerHost && strictAffinity === false) {
    throw new UsageError("a block limit needs strict affinity: add --strict-affinity true");
  }
  const settings = await connectNode(this, flags).ipam.configure({
    ...strictAffinity === undefined ? {} : { strictAffinity },
    ...maxBlocksPerHost === undefined ? {} : { maxBlocksPerHost },
  });
  if (flags.output === "json") return void this.process.stdout.write(formatJson(settings));
  for (const [key, value] of Object.entries(settings)) this.process.stdout.write(`${key}: ${value}\n`);
}
