/**
 * The `Firewall` port: what the reconciler knows of the kernel's packet filter. `src/linux/nftables.ts` implements it over
 * nf_tables netlink, `firewall_memory.ts` in memory with a fault switch; one contract suite holds both to the same.
 *
 * Only our tables (`inet tortie`, `arp tortie`) are read, changed and watched. A transaction happens whole or not at all:
 * no packet sees a part of it. Rules come back in canonical text (`canonical.ts`), in which what is desired can be put too.
 */

import type { Command } from "../netlink/nft/command.ts";
import type { BaseChain, DataType, TableFamily } from "../netlink/nft/ruleset.ts";

/** A rule as the kernel has it. */
export interface ActualRule {
  readonly handle: bigint;
  /** Expressions and comment in the form of `canonicalRule`; counters' numbers left out. */
  readonly content: string;
  readonly comment: string | undefined;
  /** What the first counter of the rule says. */
  readonly packets?: bigint;
  readonly bytes?: bigint;
}

/** A chain as the kernel has it. */
export interface ActualChain {
  readonly name: string;
  readonly base: BaseChain | undefined;
  readonly rules: readonly ActualRule[];
}

/** A set or map as the kernel has it; `elements` is empty text for a set's members and the value for a map's. */
export interface ActualSet {
  readonly name: string;
  readonly key: readonly DataType[] | undefined;
  readonly value: "verdict" | DataType | undefined;
  readonly isInterval: boolean;
  readonly hasTimeout: boolean;
  readonly elements: ReadonlyMap<string, string>;
}

/** A table of ours as the kernel has it. */
export interface ActualTable {
  readonly family: TableFamily;
  /** NFT_TABLE_F_*: 1 is dormant, which switches all its chains off. */
  readonly flags: number;
  readonly chains: ReadonlyMap<string, ActualChain>;
  readonly sets: ReadonlyMap<string, ActualSet>;
}

/** Our tables at one generation of the kernel's ruleset. */
export interface ActualRuleset {
  readonly generation: number;
  readonly tables: ReadonlyMap<TableFamily, ActualTable>;
}

/** What the kernel reports of our tables. `resync`: reports were lost. */
export type FirewallEvent =
  /** Somebody else (another socket than the port's own) changed one of our tables. */
  | { readonly type: "changed"; readonly family: TableFamily }
  | { readonly type: "resync" };

/** A batch that the kernel refused: nothing of it was applied. */
export class FirewallError extends Error {
  override readonly name = "FirewallError";
  constructor(
    /** The command that it objects to, in nft's words; the whole batch when it does not say. */
    readonly operation: string,
    /** Its place in the transaction; undefined when the whole batch was refused. */
    readonly index: number | undefined,
    /** The positive errno and its name. */
    readonly errno: number,
    readonly code: string,
    /** The kernel's own words. */
    readonly kernelMessage: string,
  ) {
    super(`Cannot ${operation}: ${kernelMessage} (${code})`);
  }
}

/** The kernel's packet filter. */
export interface Firewall {
  /** Our tables, at one generation. What was reported before and is not delivered yet is in it. Throws `NetlinkError`. */
  read(): Promise<ActualRuleset>;
  /**
   * Applies the commands in order as one transaction, or none of them. With `generation` it is refused (ERESTART) when
   * anybody changed anything since that one was read. Returns the new generation. Throws `FirewallError`.
   */
  apply(commands: readonly Command[], options?: { readonly generation?: number }): Promise<number>;
  /** Reports changes of our tables by others from now on; subscribe before reading. Returns how to stop. */
  watch(sink: (event: FirewallEvent) => void): () => void;
  close(): void;
}
