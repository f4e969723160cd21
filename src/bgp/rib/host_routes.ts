/**
 * The host's side of the router: what the kernel's FIB and interfaces say, and the host's own paths that come of it.
 *
 * Each route of the FIB goes into a view (for next hops, and to see whom a route of ours would clash with). The best alien
 * route of a destination becomes the host's path in the Loc-RIB, as peer 0, with the number of its facts for a path id.
 */

import { Cidr } from "../../lib/cidr.ts";
import type { SpeakerConfig } from "../config.ts";
import { type FibTable, RTPROT_BIRD } from "../fib/fib_table.ts";
import { addressKey, FibView } from "../fib/fib_view.ts";
import { LocalRoutes } from "../fib/local_routes.ts";
import { wordsOf } from "../filter/prefix_classes.ts";
import { Reason } from "./decision.ts";
import type { FibRoute } from "./interface.ts";
import type { LocRib } from "./loc_rib.ts";

/** What the host's side needs of the router. */
export interface HostContext {
  config(): SpeakerConfig;
  rib(family: 0 | 1): LocRib;
  fib(family: 0 | 1): FibTable;
  /** Whether routes are kept at all: for learning, or to resolve next hops. */
  isWatching(): boolean;
  /** The prefix's class, for a prefix that had no path. */
  classOf(family: 0 | 1, prefix: number): number;
  /** The attributes of the host's paths. */
  readonly localSet: number;
}

const FAMILIES = [0, 1] as const;

/** The host's routes, links and facts. */
export class HostRoutes {
  readonly views = [new FibView(), new FibView()] as const;
  readonly facts = new LocalRoutes();
  readonly links = new Map<number, { readonly name: string; readonly isUp: boolean }>();
  /** Routes or addresses changed: next hops have to be resolved again. */
  isResolutionDue = false;
  /** Names of interfaces changed: filters may say something else now. */
  isFilterInputChanged = false;
  #blocks = new Set<string>();

  constructor(readonly context: HostContext) {}

  /** The host's own blocks, which count as static routes and not as learnt ones. */
  setBlocks(cidrs: readonly string[]): void {
    this.#blocks = new Set(cidrs.map(cidrKey));
  }

  nameOf(ifindex: number): string | undefined {
    return this.links.get(ifindex)?.name;
  }

  learn(route: FibRoute): void {
    const family = route.family === 4 ? 0 : 1;
    const view = this.views[family];
    const { context } = this;
    if (route.protocol === RTPROT_BIRD) {
      const alien = view.at(route.address, route.length).find((other) => other.metric === route.metric);
      if (alien) this.#forgetAlien(family, alien);
      if (context.config().fib.isInstalling) context.fib(family).adopt(route);
      return;
    }
    if (!context.isWatching()) return;
    // A route of ours with the same metric has been overwritten by it.
    context.fib(family).lose(route);
    view.put(route);
    this.isResolutionDue = true;
    this.#refresh(family, route);
  }

  forget(route: FibRoute): void {
    const family = route.family === 4 ? 0 : 1;
    if (route.protocol === RTPROT_BIRD) this.context.fib(family).lose(route);
    else this.#forgetAlien(family, route);
  }

  setLink(ifindex: number, name: string | undefined, isUp: boolean): void {
    if (this.nameOf(ifindex) !== name) this.isFilterInputChanged = true;
    if (name === undefined) this.links.delete(ifindex);
    else this.links.set(ifindex, { name, isUp });
  }

  /** Classifies all routes again, after configuration or names of interfaces changed. */
  refreshAll(): void {
    for (const family of FAMILIES) for (const route of [...this.views[family].routes()]) this.#refresh(family, route);
  }

  #forgetAlien(family: 0 | 1, route: FibRoute): void {
    this.views[family].remove(route);
    this.isResolutionDue = true;
    this.#refresh(family, route);
  }

  /** Makes the host's own path of a destination agree with the FIB. */
  #refresh(family: 0 | 1, { address, length }: FibRoute): void {
    const { context } = this;
    const config = context.config();
    if (!config.fib.isLearning) return;
    const rib = context.rib(family);
    const route = this.views[family].at(address, length)[0];
    const isBlock = this.#blocks.has(`${addressKey(address)}/${length}`);
    const facts = route ? this.facts.classify(route, config, isBlock, (ifindex) => this.nameOf(ifindex)) : -1;
    const [w0, w1, w2, w3] = wordsOf(address);
    let prefix = rib.prefixes.find(w0, w1, w2, w3, length);
    if (prefix < 0) {
      if (facts < 0) return;
      prefix = rib.prefixes.intern(w0, w1, w2, w3, length);
    }
    if (rib.prefixes.head[prefix]! < 0) rib.prefixes.class[prefix] = context.classOf(family, prefix);
    let isThere = false;
    for (let path = rib.prefixes.head[prefix]!; path >= 0;) {
      const next = rib.paths.next[path]!;
      if (rib.paths.peer[path] === 0) {
        if (rib.paths.pathId[path] === facts) isThere = true;
        else rib.remove(path);
      }
      path = next;
    }
    if (facts >= 0 && !isThere) rib.put(prefix, 0, facts, 0, context.localSet, Reason.Best);
    // Whether our route may stand beside an alien one depends on it, too.
    rib.markDirty(prefix);
  }
}

function cidrKey(text: string): string {
  const cidr = Cidr.tryParse(text);
  return cidr ? `${addressKey(cidr.ip.bytes)}/${cidr.length}` : "";
}
