/**
 * The API's calls on policy: explained and listed from the agent's snapshot, counted by the kernel.
 *
 * The tables are read through a port of its own for each question, because reading throws away reports of changes that the
 * agent's port must see.
 */

import type { Agent } from "../../agent/agent.ts";
import { ApiError } from "../../api/error.ts";
import type { PolicyCalls } from "../../api/node_api.ts";
import type { PolicyQuery } from "../../api/shapes.ts";
import { openFirewall } from "../../linux/nftables.ts";
import { policyId } from "../../policy/compile/policy.ts";
import type { PolicyEngine } from "../../policy/engine.ts";
import { explain, ExplainError, type ExplainStep, type Explanation, nameOf } from "../../policy/explain/explain.ts";
import { type Count, type CountedChains, countOf, countOfComment, listPolicies } from "../../policy/explain/hits.ts";
import { lint } from "../../policy/explain/lint.ts";
import { fullName } from "../../policy/explain/match.ts";
import { policyOf } from "../../policy/explain/model.ts";
import { hostChainName, policyChainName, profileChainName, workloadChainName } from "../../policy/render/names.ts";

/** Makes the calls. */
export function makePolicyCalls(agent: Agent, engine: () => PolicyEngine | undefined): PolicyCalls {
  const { snapshot } = agent;
  return {
    explain: async (query) => {
      const explanation = tryExplain(agent, query);
      if (!query.live) return explanation;
      const chains = await readChains();
      const steps = explanation.steps.map((step) => {
        const count = countOfStep(step, { agent, engine: engine(), chains });
        return { ...step, packets: count?.packets ?? null, bytes: count?.bytes ?? null };
      });
      return { ...explanation, steps };
    },
    list: async ({ hits = false } = {}) =>
      listPolicies(snapshot, {
        endpointsOf: (id) => engine()?.endpointsOf(id) ?? 0,
        usersOf: (profile) => engine()?.usersOf(profile) ?? 0,
        chains: hits ? await readChains() : undefined,
      }),
    lint: () => Promise.resolve().then(() => lint(snapshot)),
  };
}

/** Which tier, policy and rule decide; throws `ApiError` for a question that cannot be answered. */
function tryExplain({ snapshot }: Agent, { from, to, protocol, port }: PolicyQuery): Explanation {
  try {
    return explain(snapshot, { from, to, protocol, ...port === undefined ? {} : { port } });
  } catch (error) {
    if (error instanceof ExplainError) throw new ApiError("invalid", error.message);
    throw error;
  }
}

/** The chains that stand in the kernel. */
async function readChains(): Promise<CountedChains> {
  const firewall = openFirewall();
  try {
    const chains = (await firewall.read()).tables.get("inet")?.chains;
    return (name) => chains?.get(name)?.rules;
  } finally {
    firewall.close();
  }
}

interface Counted {
  readonly agent: Agent;
  readonly engine: PolicyEngine | undefined;
  readonly chains: CountedChains;
}

function countOfStep(step: ExplainStep, { agent, engine, chains }: Counted): Count | undefined {
  const [word = "", at = ""] = step.at.split(" ");
  const direction = word === "ingress" ? "ingress" : word === "egress" ? "egress" : undefined;
  if (!direction) return undefined;
  if (step.policy !== null && step.rule !== null) {
    const name = step.tier === "profile"
      ? profileChainName(step.policy, direction)
      : policyChainName(idOf(agent, step.tier, step.policy) ?? "", direction);
    const rules = chains(name);
    return rules && countOf(rules, step.rule);
  }
  // What the end of a tier or of everything decided is counted in the endpoint's own chain.
  const comment = step.tier === null ? "no policy or profile allowed it" : `end of tier ${step.tier}`.slice(0, 100);
  const counts = chainsOf(at, direction, { agent, engine }).flatMap((name) => {
    const rules = chains(name);
    return rules && countOfComment(rules, comment) || [];
  });
  const [first] = counts;
  return first && counts.reduce((sum, { packets, bytes }) => ({
    packets: sum.packets + packets,
    bytes: sum.bytes + bytes,
  }));
}

/** The id of the policy that people know by that name. */
function idOf({ snapshot }: Agent, tier: string | null, name: string): string | undefined {
  for (const kind of ["GlobalNetworkPolicy", "NetworkPolicy"] as const) {
    for (const [key, resource] of snapshot.all(kind)) {
      const policy = policyOf(resource);
      if (policy && policy.tier === tier && fullName(policy) === name) return policyId(kind, key);
    }
  }
  return undefined;
}

/** The chains of the endpoint of that name on this host. */
function chainsOf(
  name: string,
  direction: "ingress" | "egress",
  { agent: { snapshot }, engine }: Pick<Counted, "agent" | "engine">,
): string[] {
  const found: string[] = [];
  for (const [key, endpoint] of snapshot.all("WorkloadEndpoint")) {
    if (nameOf(endpoint) !== name) continue;
    const way = direction === "egress" ? "from" : "to";
    for (const link of engine?.interfacesOf("WorkloadEndpoint", key) ?? []) found.push(workloadChainName(link, way));
  }
  for (const [key, endpoint] of snapshot.all("HostEndpoint")) {
    if (nameOf(endpoint) !== name) continue;
    const way = direction === "ingress" ? "from" : "to";
    for (const link of engine?.interfacesOf("HostEndpoint", key) ?? []) found.push(hostChainName(link, way, "normal"));
  }
  return found;
}
