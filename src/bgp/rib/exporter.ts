/** An update group with its export policies: what the Loc-RIB's best path of a prefix becomes for the group's members. */

import type { LocalFacts } from "../fib/local_routes.ts";
import type { Policy } from "../filter/calico.ts";
import type { RouteDraft } from "../filter/draft.ts";
import type { WireOptions } from "../wire/options.ts";
import { IPV4_UNICAST, IPV6_UNICAST } from "../wire/constants.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { type ExportFacts, exportSet, type PathOrigin } from "./export.ts";
import type { NlriTable } from "./path_names.ts";
import { ResultCache } from "./result_cache.ts";
import { UpdateGroup } from "./update_group.ts";

/** Sources of the host's own routes begin here in the cache's keys; peers are below. */
const LOCAL_SOURCES = 65536;

/** A best path as the export sees it. */
export interface ExportPath {
  readonly set: number;
  readonly prefixClass: number;
  /** The peer, or 0 for a route of the host. */
  readonly peer: number;
  readonly origin: PathOrigin;
  /** Facts and their number, for a route of the host. */
  readonly local?: LocalFacts;
  readonly localNumber: number;
  readonly interfaceName: () => string | undefined;
}

/** One group. */
export class Exporter {
  readonly group: UpdateGroup;
  readonly #caches: readonly [ResultCache, ResultCache];

  constructor(
    public key: string,
    readonly facts: ExportFacts,
    readonly wire: WireOptions,
    readonly store: AttributeStore,
    tables: readonly [NlriTable, NlriTable],
    public policies: readonly [Policy | undefined, Policy | undefined],
    readonly draft: RouteDraft,
  ) {
    this.group = new UpdateGroup(key, wire, store, tables);
    this.#caches = [new ResultCache(store), new ResultCache(store)];
  }

  /** The set that members are told for a path, 0 for none. */
  setFor(family: 0 | 1, path: ExportPath): number {
    const source = path.peer === 0 ? LOCAL_SOURCES + path.localNumber : path.peer;
    const cache = this.#caches[family];
    const known = cache.get(path.set, path.prefixClass, source);
    if (known !== -1) return known;
    const result = this.run(family, path);
    const set = typeof result === "number" && this.group.fits(result) ? result : 0;
    if (set === 0 && typeof result === "number") this.store.releaseUnused(result);
    cache.put(path.set, path.prefixClass, source, set);
    return set;
  }

  /** Runs the policy: the set, or why the path is not told. */
  run(family: 0 | 1, path: ExportPath): number | string {
    const draft = this.draft.begin(path.set, path.prefixClass, path.local?.source ?? "peer");
    draft.interfaceName = path.interfaceName();
    draft.hasGateway = path.local ? path.local.hasGateway : true;
    draft.metric = path.local?.metric;
    const bit = family === 0 ? IPV4_UNICAST : IPV6_UNICAST;
    if ((this.wire.families & bit) === 0) return "family not negotiated";
    return exportSet(this.store, this.facts, bit, path.origin, draft, this.policies[family]);
  }

  /** Forgets results, after a policy or an interface has changed. */
  clear(): void {
    for (const cache of this.#caches) cache.clear();
  }
}
