/**
 * The typed language of rules: tables, chains, sets, maps and rules as immutable values, in the words of `nft`.
 *
 *     Ruleset -> Table (inet, arp) -> Chain -> Rule -> matches (all must hold), then statements in order
 *                                  -> NamedSet (members) or map (members with a verdict or an address)
 *
 * Values are nft's own text ("10.0.0.0/8", "80-90", "cali*", "tcp") or numbers, so a set's member, a line of `nft list` and
 * a key of a map are the same string. They are checked when encoded (`RangeError` naming the rule's part). Whoever builds a
 * ruleset keeps the objects of chains and sets that did not change: the reconciler passes over a chain or a set that is the
 * same object as before, so the cost of a change is that of what changed (linux/netfilter/nf_tables.h, nft(8)).
 */

/** Families a table of ours may have. */
export type TableFamily = "inet" | "arp";

/** Data types of sets' keys and values, as nft names them. */
export type DataType =
  | "ipv4_addr"
  | "ipv6_addr"
  | "ether_addr"
  | "inet_proto"
  | "inet_service"
  | "mark"
  | "ifname";

/** What a match looks at, in nft's words. Naming a header adds the checks for it that `nft` adds (family, protocol). */
export type Field =
  | "iifname"
  | "oifname"
  | "meta mark"
  | "meta l4proto"
  | "meta nfproto"
  | "meta protocol"
  | "meta pkttype"
  | "ether saddr"
  | "ether daddr"
  | "ip saddr"
  | "ip daddr"
  | "ip protocol"
  | "ip dscp"
  | "ip6 saddr"
  | "ip6 daddr"
  | "ip6 nexthdr"
  | "ip6 hoplimit"
  | "ip6 dscp"
  | `${"tcp" | "udp" | "udplite" | "sctp" | "th"} ${"sport" | "dport"}`
  | "icmp type"
  | "icmp code"
  | "icmpv6 type"
  | "icmpv6 code"
  /** The target address of a neighbour solicitation or advertisement (RFC 4861 section 4.3), as nft writes raw bytes. */
  | "@th,64,128"
  | "arp operation"
  | "arp saddr ether"
  | "arp saddr ip"
  | "arp daddr ether"
  | "arp daddr ip"
  | "ct state"
  | "ct status"
  | "ct mark"
  | "ct direction"
  | `ct ${"original" | "reply"} ${"ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr" | "proto-src" | "proto-dst"}`
  | "fib saddr type"
  | "fib daddr type"
  /** Reverse path: the values are "exists" and "missing". */
  | "fib saddr . iif oif"
  | "fib saddr . mark . iif oif";

/** A number or nft's text of a value: an address, prefix, range ("a-b"), name of a constant, interface ("cali*"). */
export type Value = string | number;

/** A condition of a rule. */
export type Match =
  /** The field is (`isNot`: is not) the value, in the prefix, in the range; with `mask` its bits under the mask are. */
  | {
    readonly kind: "is";
    readonly field: Field;
    readonly isNot?: boolean;
    readonly value: Value;
    readonly mask?: number;
  }
  /** The field is one of the values (none of them): an anonymous set. */
  | { readonly kind: "among"; readonly field: Field; readonly isNot?: boolean; readonly values: readonly Value[] }
  /** The field, or several concatenated, are in the named set (are not). */
  | { readonly kind: "in"; readonly fields: readonly Field[]; readonly isNot?: boolean; readonly set: string }
  /** Any of the flags is set (`isNot`: none of them is). */
  | {
    readonly kind: "has";
    readonly field: "ct state" | "ct status";
    readonly isNot?: boolean;
    readonly flags: readonly string[];
  }
  /** At most (`isOver`: more than) so many packets in the time; `burst` in packets, 5 when left out. */
  | {
    readonly kind: "limit";
    readonly rate: number;
    readonly per: "second" | "minute" | "hour" | "day";
    readonly burst?: number;
    readonly isOver?: boolean;
  }
  /** The rule sees at most (`isOver`: more than) so many connections at once. */
  | { readonly kind: "ct count"; readonly count: number; readonly isOver?: boolean };

/** Where a packet goes next. */
export type Verdict =
  | { readonly kind: "accept" }
  | { readonly kind: "drop" }
  | { readonly kind: "return" }
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "goto"; readonly chain: string };

/** How a source address or port is picked: nft's "random", "fully-random" and "persistent". */
export interface NatFlags {
  readonly isRandom?: boolean;
  readonly isFullyRandom?: boolean;
  readonly isPersistent?: boolean;
}

/** What a rule does with a packet that matched. */
export type Statement =
  | Verdict
  | { readonly kind: "counter" }
  /** To the kernel log (`level` as in syslog, "warn" when left out), or to an nfnetlink group. */
  | { readonly kind: "log"; readonly prefix?: string; readonly level?: LogLevel; readonly group?: number }
  /** Sets the field to a number. */
  | { readonly kind: "set"; readonly field: "meta mark" | "ct mark" | "ip dscp" | "ip6 dscp"; readonly value: number }
  /** Changes bits of the packet's mark: (mark & and) | or. `and` is all ones and `or` is 0 when left out. */
  | { readonly kind: "change mark"; readonly and?: number; readonly or?: number }
  /** Copies the mark of the connection to the packet, or back. */
  | { readonly kind: "copy mark"; readonly to: "meta mark" | "ct mark" }
  /** Looks the field up in a verdict map and goes where it says; a packet that is not in it goes on. */
  | { readonly kind: "vmap"; readonly fields: readonly Field[]; readonly map: string }
  | { readonly kind: "reject"; readonly reply: "tcp reset" | "port-unreachable" | "admin-prohibited" }
  | { readonly kind: "notrack" }
  /** `ports` is "1024-65535" or one port; the rule must match a protocol that has ports. */
  | { readonly kind: "masquerade"; readonly ports?: string; readonly flags?: NatFlags }
  /** To an address (or "a-b"), or to the address that a map has for the field. */
  | {
    readonly kind: "snat" | "dnat";
    readonly family: "ip" | "ip6";
    readonly to: string | { readonly field: Field; readonly map: string };
    readonly ports?: string;
    readonly flags?: NatFlags;
  };

/** Levels of the kernel log. */
export type LogLevel = "emerg" | "alert" | "crit" | "err" | "warn" | "notice" | "info" | "debug";

/** A rule: where all matches hold, the statements are carried out in order. */
export interface Rule {
  readonly matches: readonly Match[];
  readonly statements: readonly Statement[];
  /** Up to 127 bytes of UTF-8, which `nft list` shows. */
  readonly comment?: string;
}

/** Hooks of the kernel; `input` and `output` are all that the arp family has. */
export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** What makes a chain a base chain. */
export interface BaseChain {
  readonly type: "filter" | "nat" | "route";
  readonly hook: Hook;
  /** raw -300, mangle -150, dstnat -100, filter 0, srcnat 100; lower sees a packet first. */
  readonly priority: number;
  readonly policy: "accept" | "drop";
}

/** A chain of rules; a base chain is called by the kernel, others by jump and goto. */
export interface Chain {
  readonly name: string;
  readonly base?: BaseChain;
  readonly rules: readonly Rule[];
}

/** A named set, or with `value` a named map. */
export interface NamedSet {
  readonly name: string;
  /** One type, or several for a concatenation ("10.0.0.1 . tcp . 80"). */
  readonly key: readonly DataType[];
  /** Makes it a map: to verdicts ("goto cali-fw-cali1"), or to values of a type. */
  readonly value?: "verdict" | DataType;
  /** Members may be prefixes and ranges. Overlapping ones are merged before they reach the kernel. */
  readonly isInterval?: boolean;
  /** Members may be given a time to live by other rules; ours have none. */
  readonly hasTimeout?: boolean;
  /** Members in nft's text; a map's with their values. */
  readonly elements: ReadonlySet<string> | ReadonlyMap<string, string>;
}

/** A table with all that is in it. */
export interface Table {
  readonly family: TableFamily;
  readonly name: string;
  readonly chains: ReadonlyMap<string, Chain>;
  readonly sets: ReadonlyMap<string, NamedSet>;
}

/** All tables of ours. */
export interface Ruleset {
  readonly tables: readonly Table[];
}

/** The name of our tables; a table of any other name is never touched. */
export const tableName = "tortie";
