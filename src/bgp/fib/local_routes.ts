/**
 * Which routes of the kernel's FIB become routes of ours to tell: BIRD's `direct`, `static` and `kernel { learn }` in one.
 *
 * Networks of interfaces count as direct, the agent's blackhole routes for the node's own blocks as static, everything
 * else that is not ours as learnt. What a filter may ask about such a route (source, interface, metric, gateway) is a set of
 * facts that many routes share, by a small number.
 */

import type { SpeakerConfig } from "../config.ts";
import { matchesInterface } from "../filter/interface_pattern.ts";
import type { RouteSource } from "../filter/draft.ts";
import type { FibRoute } from "../rib/interface.ts";
import { RTN_BLACKHOLE, RTN_UNICAST } from "./fib_view.ts";

/** RTPROT_REDIRECT, RTPROT_KERNEL; and the protocol of the agent's own routes. */
const RTPROT_REDIRECT = 1;
const RTPROT_KERNEL = 2;
export const RTPROT_TORTIE = 80;

/** BIRD's preferences of the protocols. */
const PREFERENCE: Readonly<Record<Exclude<RouteSource, "peer">, number>> = { device: 240, block: 200, kernel: 10 };
/** Preference of peers' routes, and of those with a better metric than normal ones. */
export const PEER_PREFERENCE = 100;
export const URGENT_PREFERENCE = 200;

/** What routes of the host have in common. */
export interface LocalFacts {
  readonly source: Exclude<RouteSource, "peer">;
  readonly ifindex: number;
  readonly hasGateway: boolean;
  /** The kernel's metric, undefined for a normal one. */
  readonly metric: number | undefined;
  readonly preference: number;
}

/** The facts in use, by number; they are few and stay. */
export class LocalRoutes {
  readonly #facts: LocalFacts[] = [];
  readonly #byKey = new Map<string, number>();

  facts(number: number): LocalFacts {
    const facts = this.#facts[number];
    if (!facts) throw new Error(`no facts ${number}`);
    return facts;
  }

  /** The number of the facts of a route, -1 when it is not to be told. */
  classify(route: FibRoute, config: SpeakerConfig, isBlock: boolean, nameOf: (ifindex: number) => string | undefined) {
    const source = sourceOf(route, config, isBlock, nameOf);
    if (source === undefined) return -1;
    const way = route.nexthops[0];
    const isNormal = route.metric === 0 || route.family === 6 && route.metric === 1024;
    const facts: LocalFacts = {
      source,
      ifindex: way?.ifindex ?? 0,
      hasGateway: way?.gateway !== undefined,
      metric: isNormal || source === "block" ? undefined : route.metric,
      preference: PREFERENCE[source],
    };
    const key = Object.values(facts).join();
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const number = this.#facts.push(facts) - 1;
    this.#byKey.set(key, number);
    return number;
  }
}

function sourceOf(
  route: FibRoute,
  config: SpeakerConfig,
  isBlock: boolean,
  nameOf: (ifindex: number) => string | undefined,
): LocalFacts["source"] | undefined {
  const { address } = route;
  const first = address[0] ?? 0;
  // Link-local and multicast networks are nobody's destinations.
  if (address.length === 16 && (first === 0xff || first === 0xfe && (address[1]! & 0xc0) === 0x80)) return undefined;
  if (address.length === 4 && first >= 224) return undefined;
  if (route.type === RTN_BLACKHOLE) return isBlock && route.protocol === RTPROT_TORTIE ? "block" : "kernel";
  if (route.type !== RTN_UNICAST) return undefined;
  if (route.protocol === RTPROT_REDIRECT) return undefined;
  if (route.protocol !== RTPROT_KERNEL) return "kernel";
  const name = nameOf(route.nexthops[0]?.ifindex ?? 0);
  if (name === undefined) return undefined;
  const ignored = [...config.ignoredInterfaces, "cali*", "kube-ipvs*"];
  return ignored.some((pattern) => matchesInterface(pattern, name)) ? undefined : "device";
}
