/**
 * Names and marks of what stands in the kernel: Calico's, so that people find what they know.
 *
 * A name that the kernel would refuse for its length ends in a hash of the rest (libcalico-go/lib/hash). Sets are named after
 * what is in them, so equal selectors of many policies share one set; `:` of Calico's set names is `-` here, because nft
 * reads no colon in a name.
 */

import { createHash } from "node:crypto";
import type { Family } from "../../lib/ip.ts";
import type { Selector } from "../../model/selector/mod.ts";
import { selectorUid } from "../../model/selector/uid.ts";
import type { Direction, PolicyStage } from "../compile/policy.ts";
import type { NamedPort } from "../compile/rule.ts";

/** Bits of the packet's mark (felix/dataplane/driver.go). */
export const marks = {
  accept: 0x10000,
  pass: 0x20000,
  drop: 0x40000,
  scratch0: 0x80000,
  scratch1: 0x100000,
} as const;

/** All bits that are ours. */
export const allMarks = marks.accept | marks.pass | marks.drop | marks.scratch0 | marks.scratch1;

/** The longest name that the kernel takes (NFT_NAME_MAXLEN without its end). */
const longest = 255;

/** Prefix and suffix, the suffix as a hash when both are too long. */
export function limitedName(prefix: string, suffix: string): string {
  if (prefix.length + suffix.length <= longest && !suffix.startsWith("_")) return prefix + suffix;
  return `${prefix}_${hashOf(suffix)}`.slice(0, longest);
}

function hashOf(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("base64url");
}

/** The chain of a policy's rules in one direction. */
export function policyChainName(id: string, direction: Direction): string {
  return limitedName(direction === "ingress" ? "cali-pi-" : "cali-po-", id);
}

/** The chain of a profile's rules in one direction. */
export function profileChainName(name: string, direction: Direction): string {
  return limitedName(direction === "ingress" ? "cali-pri-" : "cali-pro-", name);
}

/** The chain of consecutive policies that select alike. */
export function groupChainName(ids: readonly string[], direction: Direction): string {
  return `${direction === "ingress" ? "cali-gi-" : "cali-go-"}${hashOf(ids.join("\n")).slice(0, 22)}`;
}

/** Which way packets pass an endpoint's interface, seen from the host. */
export type Way = "from" | "to";

/** The chain of a workload's interface: `cali-fw-` packets from it, `cali-tw-` packets to it. */
export function workloadChainName(interfaceName: string, way: Way): string {
  return `${way === "from" ? "cali-fw-" : "cali-tw-"}${interfaceName}`;
}

/** The name that stands for the host endpoint `*` where others have an interface's. */
export const anyInterface = "any-interface-at-all";

/** The chain of a host endpoint's interface; stages before the filter have their hook's table in the name. */
export function hostChainName(interfaceName: string, way: Way, stage: PolicyStage | "forward"): string {
  const table = stage === "untracked" ? "raw-" : stage === "preDNAT" ? "mangle-" : "";
  return `cali-${table}${way === "from" ? "fh" : "th"}${stage === "forward" ? "fw" : ""}-${interfaceName}`;
}

/** What a set of addresses holds: the prefixes of what the selector selects, or addresses with a named port. */
export interface SetNeed {
  readonly selector: Selector;
  readonly port?: { readonly name: string; readonly protocol: number };
  readonly family: Family;
}

const uids = new WeakMap<Selector, string>();

/** The name of the set of what a selector selects. */
export function selectorSetName(selector: Selector, family: Family): string {
  let uid = uids.get(selector);
  if (uid === undefined) uids.set(selector, uid = selectorUid(selector).replace(":", "-"));
  return `${setPrefix(family)}${uid}`;
}

/** The name of the set of addresses with a named port. */
export function portSetName({ name, protocol, selector }: NamedPort, family: Family): string {
  return `${setPrefix(family)}n-${hashOf(`${selector.canonical}\n${protocol}\n${name}`).slice(0, 38)}`;
}

/** What names of sets of a family start with. */
export function setPrefix(family: Family): "cali40" | "cali60" {
  return family === 4 ? "cali40" : "cali60";
}

/** The name of the set of a need. */
export function needName({ selector, port, family }: SetNeed): string {
  return port ? portSetName({ ...port, selector }, family) : selectorSetName(selector, family);
}
