/** Policy routing rules over rtnetlink: which packets ask which table. Adding what is there and deleting what is gone succeed. */

import { EEXIST, ENOENT } from "../netlink/errno.ts";
import { ask } from "../netlink/request.ts";
import { decodeRule, delRule, getRules, newRule, type RuleMessage } from "../netlink/rule.ts";
import { type Requests, unlessGone } from "./links.ts";

/** The rules of a namespace. */
export interface Rules {
  list(family: 4 | 6): Promise<RuleMessage[]>;
  add(rule: RuleMessage): Promise<void>;
  delete(rule: RuleMessage): Promise<void>;
}

/** Makes the rules of a namespace. */
export function makeRules({ exchange, table }: Requests): Rules {
  return {
    list: (family) => table(getRules(family), decodeRule),
    add: (rule) => Promise.try(() => unlessGone(EEXIST, () => ask(exchange, newRule(rule)))),
    delete: (rule) => Promise.try(() => unlessGone(ENOENT, () => ask(exchange, delRule(rule)))),
  };
}
