/** Rule: one line of a policy or profile. All criteria must hold; the members of a list are alternatives. */

/** What a rule does with a packet that it matches. */
export type RuleAction = "Allow" | "Deny" | "Log" | "Pass";

/** A port as JSON has it: a number, a range "lo:hi" or a name (`parsePort`). */
export type PortValue = number | string;

/** A protocol as JSON has it: a name ("TCP") or a number (`parseProtocol`). */
export type ProtocolValue = number | string;

/** ICMP type and code. */
export interface IcmpMatch {
  readonly type?: number;
  readonly code?: number;
}

/** One side of the traffic that a rule matches. */
export interface EntityRule {
  readonly nets?: readonly string[];
  readonly notNets?: readonly string[];
  readonly selector?: string;
  readonly notSelector?: string;
  readonly namespaceSelector?: string;
  readonly ports?: readonly PortValue[];
  readonly notPorts?: readonly PortValue[];
  readonly serviceAccounts?: { readonly names?: readonly string[]; readonly selector?: string };
  readonly services?: { readonly name?: string; readonly namespace?: string };
}

/** A rule. */
export interface Rule {
  readonly action: RuleAction;
  readonly ipVersion?: 4 | 6;
  readonly protocol?: ProtocolValue;
  readonly notProtocol?: ProtocolValue;
  readonly icmp?: IcmpMatch;
  readonly notICMP?: IcmpMatch;
  readonly source?: EntityRule;
  readonly destination?: EntityRule;
  readonly http?: {
    readonly methods?: readonly string[];
    readonly paths?: readonly { readonly exact?: string; readonly prefix?: string }[];
  };
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
}
