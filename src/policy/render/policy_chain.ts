/**
 * The chains of policies and profiles: their rules in order, one nft rule (or a few) each. A chain that ends without a
 * verdict returns, and the next policy is asked.
 */

import type { Chain, Rule } from "../../netlink/nft/ruleset.ts";
import { counter, drop, rule } from "../../netlink/nft/rule.ts";
import type { CompiledPolicy, CompiledProfile, Direction } from "../compile/policy.ts";
import type { CompiledRule } from "../compile/rule.ts";
import type { Settings } from "../compile/settings.ts";
import { policyChainName, profileChainName } from "./names.ts";
import { renderRule } from "./rule.ts";

/** The chain of a policy in one direction. */
export function renderPolicyChain(policy: CompiledPolicy, direction: Direction, settings: Settings): Chain {
  const { name, namespace, tier, kind } = policy;
  const logPrefix = logPrefixOf(settings, {
    tier,
    kind: kind === "NetworkPolicy" ? "np" : "gnp",
    name,
    path: namespace === undefined ? name : `${namespace}/${name}`,
  });
  return { name: policyChainName(policy.id, direction), rules: renderRules(policy[direction], logPrefix, settings) };
}

/** The chain of a profile in one direction. */
export function renderProfileChain(profile: CompiledProfile, direction: Direction, settings: Settings): Chain {
  const logPrefix = logPrefixOf(settings, { tier: "profile", kind: "pro", name: profile.name, path: profile.name });
  return {
    name: profileChainName(profile.name, direction),
    rules: renderRules(profile[direction], logPrefix, settings),
  };
}

/** The chain of a profile that endpoints name but that does not exist: fail closed. */
export function renderMissingProfile(name: string, direction: Direction): Chain {
  return { name: profileChainName(name, direction), rules: [rule([], [counter, drop], "the profile does not exist")] };
}

function renderRules(rules: readonly CompiledRule[], logPrefix: string, { logRate }: Settings): Rule[] {
  return rules.flatMap((rule) => renderRule(rule, { logPrefix, logRate }));
}

/** The prefix of log lines: %t the tier, %k the kind, %n the name, %p the namespace and name; the kernel takes 127 bytes. */
function logPrefixOf(
  { logPrefix }: Settings,
  words: { readonly tier: string; readonly kind: string; readonly name: string; readonly path: string },
): string {
  const { tier: t, kind: k, name: n, path: p } = words;
  const text = logPrefix.replace(/%[tknp]/g, (word) => ({ "%t": t, "%k": k, "%n": n, "%p": p })[word] ?? word);
  return `${text.slice(0, 125)}: `;
}
