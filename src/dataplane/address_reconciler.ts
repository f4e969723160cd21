/**
 * Keeps the addresses of interfaces that are wholly ours (tunnels). Addresses elsewhere are never removed, only added
 * where they are desired.
 */

import type { Clock } from "../lib/clock.ts";
import type { LinkTable } from "./link_table.ts";
import type { Address, KernelEvent, Link, Links } from "./ports.ts";
import { each, TableReconciler } from "./table_reconciler.ts";

/** The identity of an address: interface, address and length. */
export function addressKey({ index, net }: Pick<Address, "index" | "net">): string {
  return `${net.ip}/${net.length} dev ${index}`;
}

/** The reconciler of addresses; `isOurLink` says on which links every address that is not desired is removed. */
export class AddressReconciler extends TableReconciler<Address, Address> {
  constructor(
    links: Links,
    readonly linkTable: LinkTable,
    readonly isOurLink: (link: Link) => boolean,
    clock: Clock,
  ) {
    super({
      name: "addresses",
      read: async () => {
        const found = new Map<string, Address>();
        for (const address of await links.addresses()) {
          if (this.#isClaimed(address)) found.set(addressKey(address), address);
        }
        return found;
      },
      isSame: (a, b) => a.scope === b.scope,
      assume: (desired) => desired,
      groupOf: (address) => address.index,
      put: (puts) => each(puts, ({ desired }) => links.addAddress(desired)),
      remove: (removals) => each(removals, ({ actual }) => links.removeAddress(actual)),
    }, clock);
  }

  /** Takes an address event in. */
  addressChanged({ address, isGone }: Extract<KernelEvent, { type: "address" }>): void {
    const key = addressKey(address);
    if (isGone) this.actualAt(key) && this.observe(key, undefined);
    else if (this.#isClaimed(address)) this.observe(key, address);
  }

  #isClaimed(address: Address): boolean {
    if (this.isDesired(addressKey(address))) return true;
    const link = this.linkTable.at(address.index);
    const isKernelMade = address.net.ip.isLinkLocal && address.net.ip.family === 6;
    return !isKernelMade && link !== undefined && this.isOurLink(link);
  }
}
