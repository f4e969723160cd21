/** Schemas of the policies and their staged forms, and what must hold between their members. */

import { z } from "zod";
import { optionalEnum, optionalName, optionalSelector, strict } from "./fields.ts";
import { problem } from "./issue.ts";
import { rules } from "./rule.ts";

const common = {
  tier: optionalName,
  order: z.number().optional(),
  selector: optionalSelector,
  serviceAccountSelector: optionalSelector,
  types: z.array(z.enum(["Ingress", "Egress"])).max(2).optional(),
  ingress: rules,
  egress: rules,
  performanceHints: z.array(z.enum(["AssumeNeededOnEveryNode"])).optional(),
};
const global = {
  namespaceSelector: optionalSelector,
  doNotTrack: z.boolean().optional(),
  preDNAT: z.boolean().optional(),
  applyOnForward: z.boolean().optional(),
};
const staged = { stagedAction: optionalEnum(["Set", "Delete", "Learn", "Ignore"]) };

export const networkPolicySpec = strict(common).check((context) => checkRules(context, false));
export const globalNetworkPolicySpec = strict({ ...common, ...global }).check((context) => {
  checkRules(context, true);
  checkHostFlags(context);
});
export const stagedNetworkPolicySpec = strict({ ...common, ...staged }).check((context) => {
  if (isDelete(context)) return;
  checkRules(context, false);
});
export const stagedGlobalNetworkPolicySpec = strict({ ...common, ...global, ...staged }).check((context) => {
  checkHostFlags(context);
  if (isDelete(context)) return;
  checkRules(context, true);
});

interface PolicyContext {
  readonly value: z.output<typeof stagedGlobalNetworkPolicySpec>;
  readonly issues: unknown[];
}

function checkRules(context: PolicyContext, isGlobal: boolean): void {
  const policy = context.value;
  for (const member of ["types", "performanceHints"] as const) {
    const list: readonly string[] = policy[member] ?? [];
    if (new Set(list).size !== list.length) problem(context, "says the same twice", { path: [member] });
  }
  for (const direction of ["ingress", "egress"] as const) {
    const [local, remote] = direction === "ingress"
      ? ["destination", "source"] as const
      : ["source", "destination"] as const;
    policy[direction]?.forEach((rule, i) => {
      if (direction === "egress" && rule.http) {
        problem(context, "is for ingress rules only", { path: [direction, i, "http"] });
      }
      if (rule[local]?.services) {
        problem(context, `services have no meaning in the ${local} of ${direction} rules`, {
          path: [direction, i, local, "services"],
          hint: `put them into ${remote}`,
        });
      }
      if (isGlobal && rule[remote]?.services && !rule[remote].services.namespace) {
        problem(context, "is missing", {
          path: [direction, i, remote, "services", "namespace"],
          hint: "a global policy is in no namespace of its own",
        });
      }
    });
  }
}

function checkHostFlags(context: PolicyContext): void {
  const policy = context.value;
  if (policy.preDNAT && policy.doNotTrack) {
    problem(context, "cannot be set together with doNotTrack", { path: ["preDNAT"], hint: "make two policies" });
  }
  if ((policy.preDNAT || policy.doNotTrack) && !policy.applyOnForward) {
    const flag = policy.preDNAT ? "preDNAT" : "doNotTrack";
    problem(context, "needs applyOnForward", { path: [flag], hint: "add applyOnForward: true" });
  }
  if (policy.preDNAT && policy.egress?.length) {
    problem(context, "a preDNAT policy has no egress rules", { path: ["egress"], hint: "remove them" });
  }
  if (policy.preDNAT && policy.types?.includes("Egress")) {
    problem(context, "a preDNAT policy has no egress", { path: ["types"], hint: "write [Ingress]" });
  }
}

/** Whether the staged policy only says that one is to be deleted; it must hold nothing else then. */
function isDelete(context: PolicyContext): boolean {
  if (context.value.stagedAction !== "Delete") return false;
  for (const [member, value] of Object.entries(context.value)) {
    if (member === "stagedAction" || member === "tier" || value === undefined || value === false) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    problem(context, "has no meaning with stagedAction: Delete", { path: [member], hint: "remove it" });
  }
  return true;
}
