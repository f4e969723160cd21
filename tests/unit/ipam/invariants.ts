/** What must hold in the store at any moment, whoever has crashed where: read off the raw JSON, not through our codec. */

import { Cidr } from "../../../src/lib/cidr.ts";
import type { Store } from "../../../src/store/store.ts";

interface RawBlock {
  readonly cidr: string;
  readonly affinity: string | null;
  readonly allocations: readonly (number | null)[];
  readonly unallocated: readonly number[];
  readonly attributes: readonly { readonly handle_id?: string; readonly secondary?: Record<string, string> }[];
  readonly sequenceNumberForAllocation: Record<string, number>;
}

/** All that is stored, parsed. */
export interface IpamState {
  readonly blocks: ReadonlyMap<string, RawBlock>;
  readonly handles: ReadonlyMap<string, Readonly<Record<string, number>>>;
  readonly affinities: readonly { readonly host: string; readonly cidr: string; readonly state: string }[];
}

/** Reads the state from the store. */
export async function readIpamState(store: Store): Promise<IpamState> {
  const blocks = new Map<string, RawBlock>();
  const handles = new Map<string, Record<string, number>>();
  const affinities: { host: string; cidr: string; state: string }[] = [];
  for (const { key, value } of (await store.list("/calico/ipam/v2/")).entries) {
    const [, , , , kind, name, , , cidr] = key.split("/");
    const parsed = JSON.parse(value);
    if (kind === "assignment") blocks.set(parsed.cidr, parsed);
    else if (kind === "handle" && name) handles.set(name, parsed.block);
    else if (kind === "host" && name && cidr) {
      affinities.push({ host: name, cidr: cidr.replace("-", "/"), state: parsed.state });
    }
  }
  return { blocks, handles, affinities };
}

/** How many addresses of each block each handle holds. */
export function heldByHandle(state: IpamState): Map<string, Map<string, number>> {
  const held = new Map<string, Map<string, number>>();
  for (const block of state.blocks.values()) {
    for (const index of block.allocations) {
      const handle = index === null ? undefined : block.attributes[index]?.handle_id;
      if (!handle) continue;
      const counts = held.get(handle) ?? new Map<string, number>();
      held.set(handle, counts.set(block.cidr, (counts.get(block.cidr) ?? 0) + 1));
    }
  }
  return held;
}

/** Breaches of what holds at every moment; an empty list is good. */
export async function blockFaults(store: Store): Promise<string[]> {
  const state = await readIpamState(store);
  const faults: string[] = [];
  const cidrs = [...state.blocks.keys()].map((text) => Cidr.parse(text));
  for (const [i, cidr] of cidrs.entries()) {
    for (const other of cidrs.slice(i + 1)) if (cidr.overlaps(other)) faults.push(`${cidr} overlaps ${other}`);
  }
  for (const block of state.blocks.values()) {
    const free = new Set(block.unallocated);
    const size = Number(Cidr.parse(block.cidr).size);
    const taken = block.allocations.flatMap((index, ordinal) => index === null ? [] : [ordinal]);
    if (block.allocations.length !== size) faults.push(`${block.cidr}: ${block.allocations.length} allocations`);
    if (free.size !== block.unallocated.length) faults.push(`${block.cidr}: an ordinal is free twice`);
    if (free.size + taken.length !== size) faults.push(`${block.cidr}: ${free.size} free and ${taken.length} taken`);
    if (taken.some((ordinal) => free.has(ordinal))) faults.push(`${block.cidr}: an ordinal is both free and taken`);
    const used = new Set(block.allocations.filter((index) => index !== null));
    if (used.size !== block.attributes.length) faults.push(`${block.cidr}: attributes are not dense`);
    if ([...used].some((index) => index >= block.attributes.length)) faults.push(`${block.cidr}: no such attribute`);
    const texts = new Set(block.attributes.map((attribute) => JSON.stringify(attribute)));
    if (texts.size !== block.attributes.length) faults.push(`${block.cidr}: an owner is listed twice`);
    const numbered = Object.keys(block.sequenceNumberForAllocation).map(Number).sort((a, b) => a - b);
    if (numbered.join() !== taken.join()) faults.push(`${block.cidr}: sequence numbers of ${numbered}, taken ${taken}`);
  }
  for (const [handle, counts] of heldByHandle(state)) {
    for (const [cidr, count] of counts) {
      const counted = state.handles.get(handle)?.[cidr] ?? 0;
      if (counted < count) faults.push(`handle ${handle} counts ${counted} in ${cidr}, which holds ${count} for it`);
    }
  }
  return faults;
}

/** Leftovers that a crash may leave for a while; after recovery there must be none. */
export async function leftovers(store: Store): Promise<string[]> {
  const state = await readIpamState(store);
  const held = heldByHandle(state);
  const found: string[] = [];
  for (const [handle, counts] of state.handles) {
    if (Object.keys(counts).length === 0) found.push(`handle ${handle} is empty`);
    for (const [cidr, count] of Object.entries(counts)) {
      if (count !== (held.get(handle)?.get(cidr) ?? 0)) found.push(`handle ${handle} counts ${count} in ${cidr}`);
    }
  }
  for (const { host, cidr, state: claim } of state.affinities) {
    if (claim !== "confirmed") found.push(`the claim of ${host} to ${cidr} is ${claim}`);
    if (state.blocks.get(cidr)?.affinity !== `host:${host}`) found.push(`${host} claims ${cidr}, which is not its own`);
  }
  const claimed = new Set(state.affinities.map(({ host, cidr }) => `host:${host} ${cidr}`));
  for (const block of state.blocks.values()) {
    if (block.affinity !== null && !claimed.has(`${block.affinity} ${block.cidr}`)) {
      found.push(`${block.cidr} is ${block.affinity}'s without a claim`);
    }
    if (block.affinity === null && block.allocations.every((index) => index === null)) {
      found.push(`${block.cidr} is empty and nobody's`);
    }
  }
  return found;
}
