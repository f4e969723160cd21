/**
 * The members of the sets that rules look addresses up in, kept as endpoints come, change and go.
 *
 *   set = a selector, a family, and for a named port its name and protocol.   member = an address or prefix of what the
 *   selector selects; with a port "address . protocol . port"
 *
 * Several objects may give the same member, so members are counted; a count of one takes no room. Only sets that some
 * active rule needs are kept. A change touches the sets of the selectors that select the object, nothing else.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Ip } from "../lib/ip.ts";
import { parseProtocol } from "../model/num_or_string.ts";
import type { EndpointPort } from "../model/resources/mod.ts";
import { formatNumber } from "../netlink/nft/values.ts";
import { noteMoves } from "../netlink/nft/moves.ts";
import type { NamedSet } from "../netlink/nft/ruleset.ts";
import type { Selector } from "../model/selector/mod.ts";
import type { NamedPort } from "./compile/rule.ts";
import type { Membership } from "./explain/match.ts";
import { LabelIndex, type Labelled } from "./labels/label_index.ts";
import { needName, type SetNeed } from "./render/names.ts";
import { netText } from "./render/rule.ts";

/** What a selector of a rule can pick: an endpoint or a network set. */
export interface Addressed extends Labelled {
  /** In nft's text. */
  nets4: readonly string[];
  nets6: readonly string[];
  ports: readonly EndpointPort[];
}

const nothing: readonly never[] = [];

/** An object with nothing in it yet. */
export function newAddressed(): Addressed {
  return { labels: {}, parents: nothing, nets4: nothing, nets6: nothing, ports: nothing };
}

/** Splits prefixes by family into nft's text. */
export function netsByFamily(cidrs: readonly Cidr[]): { readonly nets4: string[]; readonly nets6: string[] } {
  const nets4: string[] = [], nets6: string[] = [];
  for (const cidr of cidrs) (cidr.family === 4 ? nets4 : nets6).push(netText(cidr));
  return { nets4, nets6 };
}

interface MemberSet {
  readonly name: string;
  readonly need: SetNeed;
  readonly members: Set<string>;
  /** How often a member is there beyond the first time. */
  readonly repeated: Map<string, number>;
  users: number;
  rendered: NamedSet | undefined;
  /** The number of the last edition that was rendered, and what moved since. */
  edition: number;
  coming: Set<string>;
  going: Set<string>;
}

/** The sets that active rules need. */
export class MemberSets implements Membership {
  readonly #sets = new Map<string, MemberSet>();
  readonly #bySelector = new Map<string, MemberSet[]>();
  readonly #changed = new Set<MemberSet>();
  readonly index: LabelIndex<Addressed>;

  constructor() {
    this.index = new LabelIndex((canonical, object, isMatch) => {
      for (const set of this.#bySelector.get(canonical) ?? []) this.#count(set, object, isMatch);
    });
  }

  /** Says that a rule needs the set; as often as `release` takes it back. */
  need(need: SetNeed): void {
    const name = needName(need);
    const known = this.#sets.get(name);
    if (known) return void known.users++;
    const set: MemberSet = {
      name,
      need,
      members: new Set(),
      repeated: new Map(),
      users: 1,
      rendered: undefined,
      edition: 0,
      coming: new Set(),
      going: new Set(),
    };
    // The selector's matches are counted here once, whether it was in the index before or not.
    const { matched } = this.index.addSelector(need.selector);
    for (const object of matched) this.#count(set, object, true);
    this.#sets.set(name, set);
    const { canonical } = need.selector;
    this.#bySelector.set(canonical, [...this.#bySelector.get(canonical) ?? [], set]);
    this.#changed.add(set);
  }

  /** Takes a `need` back; the last one removes the set. */
  release(need: SetNeed): void {
    const set = this.#sets.get(needName(need));
    if (!set || --set.users > 0) return;
    this.#sets.delete(set.name);
    this.#changed.delete(set);
    const { canonical } = need.selector;
    const others = (this.#bySelector.get(canonical) ?? []).filter((other) => other !== set);
    if (others.length > 0) return void this.#bySelector.set(canonical, others);
    this.#bySelector.delete(canonical);
    this.index.deleteSelector(canonical);
  }

  /** Sets everything of an object: what selects it, and what it gives to the sets. */
  setObject(
    object: Addressed,
    { labels, parents, ...given }: {
      readonly labels: Readonly<Record<string, string>>;
      readonly parents: readonly string[];
      readonly nets4: readonly string[];
      readonly nets6: readonly string[];
      readonly ports: readonly EndpointPort[];
    },
  ): void {
    this.index.setObject(object, labels, parents);
    if (
      sameTexts(object.nets4, given.nets4) && sameTexts(object.nets6, given.nets6) &&
      samePorts(object.ports, given.ports)
    ) {
      return;
    }
    const sets = [...this.index.selectorsOf(object)].flatMap((canonical) => this.#bySelector.get(canonical) ?? []);
    for (const set of sets) this.#count(set, object, false);
    Object.assign(object, given);
    for (const set of sets) this.#count(set, object, true);
  }

  /** Removes an object. */
  deleteObject(object: Addressed): void {
    this.index.deleteObject(object);
  }

  /** All sets by name; those that did not change since the last call are the same objects. */
  render(): NamedSet[] {
    for (const set of this.#changed) {
      // What came and went again is no change.
      if (set.coming.size + set.going.size > 0) set.rendered = undefined;
    }
    this.#changed.clear();
    return [...this.#sets.values()].map((set) => set.rendered ??= renderSet(set));
  }

  /** Whether something changed since the last `render`. */
  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  /** The members of the set of a need; undefined when no rule needs it. */
  members(need: SetNeed): ReadonlySet<string> | undefined {
    return this.#sets.get(needName(need))?.members;
  }

  /** Whether the address is in the selector's set, as the kernel would look it up. */
  isIn(selector: Selector, ip: Ip): boolean {
    const members = this.members({ selector, family: ip.family });
    if (!members || members.size === 0) return false;
    if (members.has(ip.toString())) return true;
    for (let length = ip.bits - 1; length >= 0; length--) if (members.has(Cidr.of(ip, length).toString())) return true;
    return false;
  }

  /** Whether the address has the named port at that number. */
  hasPort({ selector, name, protocol }: NamedPort, ip: Ip, number: number): boolean {
    const members = this.members({ selector, port: { name, protocol }, family: ip.family });
    return members?.has(`${ip} . ${formatNumber("inet_proto", protocol)} . ${number}`) ?? false;
  }

  #count(set: MemberSet, object: Addressed, isAdded: boolean): void {
    for (const member of membersOf(set.need, object)) {
      const more = set.repeated.get(member) ?? 0;
      if (isAdded) {
        if (set.members.has(member)) set.repeated.set(member, more + 1);
        else {
          set.members.add(member);
          this.#note(set, member, set.coming, set.going);
        }
      } else if (more > 1) set.repeated.set(member, more - 1);
      else if (more === 1) set.repeated.delete(member);
      else if (set.members.delete(member)) this.#note(set, member, set.going, set.coming);
    }
  }

  #note(set: MemberSet, member: string, moved: Set<string>, back: Set<string>): void {
    this.#changed.add(set);
    if (set.edition > 0 && !back.delete(member)) moved.add(member);
  }
}

function membersOf({ port, family }: SetNeed, object: Addressed): readonly string[] {
  const nets = family === 4 ? object.nets4 : object.nets6;
  if (!port) return nets;
  const members: string[] = [];
  for (const { name, protocol, port: number } of object.ports) {
    if (name !== port.name || parseProtocol(protocol) !== port.protocol) continue;
    for (const net of nets) {
      if (!net.includes("/")) members.push(`${net} . ${formatNumber("inet_proto", port.protocol)} . ${number}`);
    }
  }
  return members;
}

/** The next edition of a set. */
function renderSet(set: MemberSet): NamedSet {
  const { name, need: { port, family }, members, coming, going } = set;
  const address = family === 4 ? "ipv4_addr" : "ipv6_addr";
  const elements = new Set(members);
  const rendered: NamedSet = port
    ? { name, key: [address, "inet_proto", "inet_service"], elements }
    : { name, key: [address], isInterval: true, elements };
  noteMoves(rendered, { of: members, from: set.edition, to: ++set.edition, coming, going });
  set.coming = new Set();
  set.going = new Set();
  return rendered;
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a === b || a.length === b.length && a.every((text, i) => text === b[i]);
}

function samePorts(a: readonly EndpointPort[], b: readonly EndpointPort[]): boolean {
  return a === b || a.length === b.length && a.every((port, i) => {
        const other = b[i];
        return other && port.name === other.name && port.protocol === other.protocol && port.port === other.port;
      });
}
