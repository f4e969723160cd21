/**
 * The commands of a transaction, in the words of `nft`: what is added, flushed and deleted, in the order in which the
 * kernel takes it. Objects are named by family and name; the table is always ours.
 *
 * Order matters inside a transaction: a set and a chain before the rule that names it, rules and map elements before the
 * chain that they jumped to is deleted.
 */

import type { BaseChain, NamedSet, Rule, TableFamily } from "./ruleset.ts";

/** A set without its members. */
export type SetDeclaration = Omit<NamedSet, "elements">;

/** One step of a transaction. */
export type Command =
  | { readonly op: "add table" | "delete table"; readonly family: TableFamily }
  | { readonly op: "add chain"; readonly family: TableFamily; readonly chain: string; readonly base?: BaseChain }
  | { readonly op: "delete chain" | "flush chain"; readonly family: TableFamily; readonly chain: string }
  | { readonly op: "add rule"; readonly family: TableFamily; readonly chain: string; readonly rule: Rule }
  | { readonly op: "delete rule"; readonly family: TableFamily; readonly chain: string; readonly handle: bigint }
  | { readonly op: "add set"; readonly family: TableFamily; readonly set: SetDeclaration }
  | { readonly op: "delete set" | "flush set"; readonly family: TableFamily; readonly set: string }
  /** Members in nft's text with their values ("" in a set); intervals must not overlap. */
  | {
    readonly op: "add elements" | "delete elements";
    readonly family: TableFamily;
    readonly set: SetDeclaration;
    readonly elements: ReadonlyMap<string, string>;
  };
