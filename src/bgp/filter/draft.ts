/**
 * A route on its way through a policy: what filters ask about it, and what they have changed so far.
 *
 * Attributes are decoded when a filter first looks at them. A filter changes them by putting a new value; `isChanged`
 * then tells that the result is another set of attributes.
 */

import type { AttributeStore } from "../rib/attribute_store.ts";
import { HAS_LOCAL_PREF } from "../rib/attribute_columns.ts";
import type { PathAttributes } from "../wire/attributes.ts";

/** Where a route comes from. */
export type RouteSource = "peer" | "device" | "block" | "kernel";

/** One route in one run of a policy; made once and reused. */
export class RouteDraft {
  id = 0;
  /** The prefix's class (`PrefixClasses`). */
  class = 0;
  source: RouteSource = "peer";
  /** The interface that the route leads out of, where it is known. */
  interfaceName: string | undefined;
  /** Another host is the next one on the way. */
  hasGateway = false;
  /** Calico's route priority, the kernel's metric; undefined until the policy sets it. */
  metric: number | undefined;
  /** A filter has set the MED, or the route is ours: it is sent to eBGP peers too. */
  isChanged = false;
  #localPref: number | undefined;
  #value: PathAttributes | undefined;

  constructor(readonly store: AttributeStore) {}

  /** Begins a new run with this set of attributes. */
  begin(id: number, prefixClass: number, source: RouteSource): this {
    this.id = id;
    this.class = prefixClass;
    this.source = source;
    this.interfaceName = undefined;
    this.hasGateway = false;
    this.metric = undefined;
    this.isChanged = false;
    this.#localPref = undefined;
    this.#value = undefined;
    return this;
  }

  get attributes(): PathAttributes {
    const value = this.#value ??= this.store.decode(this.id);
    return this.#localPref === undefined ? value : { ...value, localPref: this.#localPref };
  }
  set attributes(value: PathAttributes) {
    this.#value = value;
    this.#localPref = undefined;
    this.isChanged = true;
  }

  /** The local preference in force; 100 when none was given. */
  get localPref(): number {
    return this.#localPref ?? this.#value?.localPref ?? this.store.columns.localPref[this.id]!;
  }
  set localPref(value: number) {
    if (value === this.localPref && this.hasLocalPref) return;
    this.#localPref = value;
    this.isChanged = true;
  }

  get hasLocalPref(): boolean {
    return this.#localPref !== undefined || (this.store.columns.flags[this.id]! & HAS_LOCAL_PREF) !== 0;
  }
}
