/**
 * The labels that objects have without anybody giving them, and what a rule's namespace selector means by them.
 *
 * Namespaces are plain strings here: there is no object of a namespace, so the only label of a namespace is its name. What
 * Calico writes with the prefix `pcns.` on every endpoint is therefore the label `projectcalico.org/namespace` itself.
 */

import type { LabelMap } from "../../model/resource.ts";
import { canonicalText, parseSelector, type Selector, type SelectorNode } from "../../model/selector/mod.ts";

/** The label with the namespace of an endpoint or network set. */
export const NAMESPACE_LABEL = "projectcalico.org/namespace";
/** The label with a workload's orchestrator. */
export const ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator";
/** The label with a workload's service account. */
export const SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount";

/** What inherited labels of a service account start with. */
const SERVICE_ACCOUNT_PREFIX = "pcsa.";
/** What inherited labels of a namespace start with. */
const NAMESPACE_PREFIX = "pcns.";
/** Labels of a namespace that hold its name. */
const namespaceNameLabels: ReadonlySet<string> = new Set([
  "projectcalico.org/name",
  "kubernetes.io/metadata.name",
  NAMESPACE_LABEL,
]);

/** The labels of an object with the implicit ones, which win over what somebody gave. */
export function withImplicitLabels(
  labels: LabelMap | undefined,
  { namespace, orchestrator, serviceAccount }: {
    readonly namespace?: string | undefined;
    readonly orchestrator?: string | undefined;
    readonly serviceAccount?: string | undefined;
  },
): LabelMap {
  if (!namespace && !orchestrator && !serviceAccount) return labels ?? {};
  return {
    ...labels,
    ...namespace ? { [NAMESPACE_LABEL]: namespace } : {},
    ...orchestrator ? { [ORCHESTRATOR_LABEL]: orchestrator } : {},
    ...serviceAccount ? { [SERVICE_ACCOUNT_LABEL]: serviceAccount } : {},
  };
}

/** The selector of endpoints whose namespace the text selects: `all()` any namespace, `global()` none. */
export function namespaceNode(text: string): SelectorNode {
  const { root } = parseSelector(text);
  const inNamespace: SelectorNode = { op: "has", label: NAMESPACE_LABEL };
  if (root.op === "global") return { op: "not", operand: inNamespace };
  if (root.op === "all") return inNamespace;
  return rename(root, (label) => namespaceNameLabels.has(label) ? NAMESPACE_LABEL : NAMESPACE_PREFIX + label);
}

/** The selector of endpoints whose service account the text selects. */
export function serviceAccountNode(text: string): SelectorNode {
  const { root } = parseSelector(text);
  if (root.op === "all") return { op: "has", label: SERVICE_ACCOUNT_LABEL };
  return rename(root, (label) => SERVICE_ACCOUNT_PREFIX + label);
}

/** A selector of the objects that satisfy all of the trees. */
export function selectorOf(nodes: readonly SelectorNode[]): Selector {
  const [first, ...rest] = nodes.filter(({ op }) => op !== "all");
  if (!first) return parseSelector("all()");
  return parseSelector(canonicalText(rest.length === 0 ? first : { op: "and", operands: [first, ...rest] }));
}

function rename(node: SelectorNode, to: (label: string) => string): SelectorNode {
  switch (node.op) {
    case "all":
    case "global":
      return node;
    case "not":
      return { op: "not", operand: rename(node.operand, to) };
    case "and":
    case "or":
      return { op: node.op, operands: node.operands.map((operand) => rename(operand, to)) };
    default:
      return { ...node, label: to(node.label) };
  }
}
