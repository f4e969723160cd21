/**
 * Which endpoints a change of the ruleset is about: those from whose chains a chain or set can be reached that is not the
 * object that it was. What a chain refers to is read once for each chain object.
 */

import type { Chain, Rule, Table } from "../../netlink/nft/ruleset.ts";

interface References {
  readonly chains: readonly string[];
  readonly sets: readonly string[];
}

const known = new WeakMap<Chain, References>();

function referencesOf(chain: Chain): References {
  let found = known.get(chain);
  if (!found) known.set(chain, found = readReferences(chain.rules));
  return found;
}

function readReferences(rules: readonly Rule[]): References {
  const chains = new Set<string>(), sets = new Set<string>();
  for (const { matches, statements } of rules) {
    for (const match of matches) if (match.kind === "in") sets.add(match.set);
    for (const statement of statements) {
      if (statement.kind === "jump" || statement.kind === "goto") chains.add(statement.chain);
    }
  }
  return { chains: [...chains], sets: [...sets] };
}

/** Asks whether what a chain leads to differs between two tables; answers are remembered for one pair. */
export function changesBetween(before: Table, after: Table): (chain: string) => boolean {
  const answers = new Map<string, boolean>();
  const hasChanged = (name: string): boolean => {
    const answer = answers.get(name);
    if (answer !== undefined) return answer;
    const chain = after.chains.get(name);
    // Chains do not form loops: the kernel refuses them.
    const { chains, sets } = chain ? referencesOf(chain) : { chains: [], sets: [] };
    const result = chain !== before.chains.get(name) ||
      sets.some((set) => after.sets.get(set) !== before.sets.get(set)) || chains.some(hasChanged);
    answers.set(name, result);
    return result;
  };
  return hasChanged;
}
