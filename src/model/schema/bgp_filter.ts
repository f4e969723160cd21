/** Schema of a BGPFilter: the rules of both families differ in their prefixes only. */

import { z } from "zod";
import type { Family } from "../../lib/ip.ts";
import {
  asNumber,
  checkCidr,
  checkCommunity,
  checkInterface,
  integer,
  optionalEnum,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const priority = integer(1, 2147483646);

const operation = strict({
  addCommunity: strict({ value: text(checkCommunity) }).optional(),
  prependASPath: strict({ prefix: z.array(asNumber).min(1).max(10) }).optional(),
  setPriority: strict({ value: priority }).optional(),
}).check((context) => {
  const count = Object.values(context.value).filter((value) => value !== undefined).length;
  if (count !== 1) {
    problem(context, `holds ${count} operations`, { hint: "one each: addCommunity, prependASPath or setPriority" });
  }
});

function filterRule(family: Family) {
  const length = integer(0, family === 4 ? 32 : 128).optional();
  return strict({
    cidr: optionalText((value) => checkCidr(value, { family })),
    prefixLength: strict({ min: length, max: length }).optional(),
    matchOperator: optionalEnum(["Equal", "NotEqual", "In", "NotIn"]),
    source: optionalEnum(["RemotePeers"]),
    interface: optionalText((value) => checkInterface(value, "*")),
    peerType: optionalEnum(["eBGP", "iBGP"]),
    communities: strict({ values: z.array(text(checkCommunity)).min(1).max(1) }).optional(),
    asPathPrefix: z.array(asNumber).optional(),
    priority: priority.optional(),
    action: z.enum(["Accept", "Reject"]),
    operations: z.array(operation).max(10).optional(),
  }).check((context) => {
    const rule = context.value;
    if (rule.cidr && !rule.matchOperator) {
      problem(context, "is missing", {
        path: ["matchOperator"],
        hint: "say how cidr is meant: Equal, NotEqual, In, NotIn",
      });
    }
    if (rule.matchOperator && !rule.cidr) {
      problem(context, "is missing", { path: ["cidr"], hint: "matchOperator compares routes with it" });
    }
    if (rule.prefixLength && !rule.cidr && !rule.matchOperator) {
      problem(context, "is missing", { path: ["cidr"], hint: "prefixLength narrows it" });
    }
    if (rule.operations?.length && rule.action !== "Accept") {
      problem(context, "a rejected route cannot be changed", { path: ["operations"], hint: "use action: Accept" });
    }
  }).meta({ id: `FilterRuleV${family}` });
}

const v4 = z.array(filterRule(4)).optional();
const v6 = z.array(filterRule(6)).optional();

export const bgpFilterSpec = strict({ exportV4: v4, importV4: v4, exportV6: v6, importV6: v6 });
