/**
 * Which endpoint's rules an interface has. A workload's endpoint names its interface; of two that name one the lower id wins.
 * A host endpoint names an interface, or `*` for all that have no other, or is known by an address of the interface; of
 * several the alphabetically first wins.
 */

import type { HostEndpoint, WorkloadEndpoint } from "../model/resources/mod.ts";
import { parseNet } from "./compile/rule.ts";
import { anyInterface } from "./render/names.ts";

/** What the assignment needs of an endpoint of this host. */
export interface Assignable {
  /** Unique, and what the order is by. */
  readonly key: string;
  readonly resource: WorkloadEndpoint | HostEndpoint;
}

/** The interfaces of each endpoint that has any, by the endpoint's key. */
export function assignInterfaces(
  locals: Iterable<Assignable>,
  hostInterfaces: ReadonlyMap<string, readonly string[]>,
): Map<string, string[]> {
  const owners = new Map<string, Assignable>();
  const claim = (interfaceName: string, claimant: Assignable) => {
    const owner = owners.get(interfaceName);
    if (!owner || claimant.key < owner.key) owners.set(interfaceName, claimant);
  };
  const byAddress = new Map<string, string[]>();
  for (const [interfaceName, addresses] of hostInterfaces) {
    for (const address of addresses) byAddress.set(address, [...byAddress.get(address) ?? [], interfaceName]);
  }
  for (const local of locals) {
    const { interfaceName } = local.resource.spec;
    if (local.resource.kind === "WorkloadEndpoint") {
      if (isName(interfaceName)) claim(`w ${interfaceName}`, local);
    } else if (interfaceName === "*") claim(`h ${anyInterface}`, local);
    else if (interfaceName) {
      if (isName(interfaceName)) claim(`h ${interfaceName}`, local);
    } else {
      for (const text of local.resource.spec.expectedIPs ?? []) {
        for (const name of byAddress.get(parseNet(text)?.ip.toString() ?? "") ?? []) claim(`h ${name}`, local);
      }
    }
  }
  const assigned = new Map<string, string[]>();
  for (const [key, { key: owner }] of owners) {
    const name = key.slice(2);
    const names = assigned.get(owner);
    if (names) names.push(name);
    else assigned.set(owner, [name]);
  }
  return assigned;
}

/** Names that the kernel can have and that cannot be mistaken for a pattern (IFNAMSIZ in linux/if.h). */
function isName(text: string | undefined): text is string {
  return text !== undefined && /^[^\s"/*\0]{1,15}$/.test(text);
}
