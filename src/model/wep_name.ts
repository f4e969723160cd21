/**
 * Names of workload endpoints: four segments joined by `-`, in which every `-` of a segment is doubled.
 *
 *   k8s: node, k8s, pod, endpoint             cni: node, cni, containerID, endpoint
 *   libnetwork: node, libnetwork, libnetwork, endpoint          others: node, orchestrator, workload, endpoint
 */

/** What identifies a workload endpoint; which members count depends on the orchestrator. */
export interface WepIds {
  readonly node?: string;
  readonly orchestrator?: string;
  readonly workload?: string;
  readonly containerID?: string;
  readonly pod?: string;
  readonly endpoint?: string;
}

/** Identifiers that cannot make a name. */
export class WepNameError extends SyntaxError {
  override readonly name = "WepNameError";
  constructor(readonly field: keyof WepIds, message: string) {
    super(message);
  }
}

function fieldsOf(orchestrator: string | undefined): readonly (keyof WepIds)[] {
  switch (orchestrator) {
    case "k8s":
      return ["node", "orchestrator", "pod", "endpoint"];
    case "cni":
      return ["node", "orchestrator", "containerID", "endpoint"];
    case "libnetwork":
      return ["node", "orchestrator", "orchestrator", "endpoint"];
    default:
      return ["node", "orchestrator", "workload", "endpoint"];
  }
}

function requireNode(ids: WepIds): void {
  if (!ids.node) throw new WepNameError("node", "Cannot compose the name of an endpoint: its node is missing");
}

/** Composes the name; throws WepNameError naming the field that is missing or starts or ends with a dash. */
export function composeWepName(ids: WepIds): string {
  return compose(ids, false);
}

/** Composes the prefix that the names of all endpoints with these identifiers share: it stops at the first that is missing. */
export function composeWepPrefix(ids: WepIds): string {
  return compose(ids, true);
}

function compose(ids: WepIds, isPrefix: boolean): string {
  requireNode(ids);
  const segments: string[] = [];
  for (const field of fieldsOf(ids.orchestrator)) {
    const value = ids[field];
    if (!value) {
      if (isPrefix) return `${segments.join("-")}-`;
      throw new WepNameError(field, `Cannot compose the name of an endpoint: its ${field} is missing`);
    }
    if (value.startsWith("-") || value.endsWith("-")) {
      throw new WepNameError(
        field,
        `Cannot compose the name of an endpoint: its ${field} ${JSON.stringify(value)} starts or ends with a dash`,
      );
    }
    segments.push(value.replaceAll("-", "--"));
  }
  return segments.join("-");
}

/** Splits a name at its single dashes; a dash in the first place is part of the first segment. */
function segmentsOf(name: string): string[] {
  const segments: string[] = [];
  let start = 0;
  for (let i = 1; i < name.length; i++) {
    if (name.charAt(i) !== "-") continue;
    if (name.charAt(i + 1) === "-") {
      i++;
      continue;
    }
    segments.push(name.slice(start, i));
    start = i + 1;
  }
  segments.push(name.slice(start));
  return segments.map((segment) => segment.replaceAll("--", "-"));
}

/** Splits a name into exactly four segments; undefined when it has another number of them. */
export function splitWepName(name: string): readonly [string, string, string, string] | undefined {
  const [node, orchestrator, workload, endpoint, ...rest] = segmentsOf(name);
  if (name.length < 7 || rest.length > 0) return undefined;
  if (node === undefined || orchestrator === undefined || workload === undefined || endpoint === undefined) {
    return undefined;
  }
  return [node, orchestrator, workload, endpoint];
}

/** Reads the identifiers out of a name, which may end early; undefined when it is empty or has too many segments. */
export function parseWepName(name: string): WepIds | undefined {
  if (name === "") return undefined;
  const segments = segmentsOf(name);
  if (segments.length > 4) return undefined;
  const fields = fieldsOf(segments[1]);
  const ids: Partial<Record<keyof WepIds, string>> = {};
  segments.forEach((segment, i) => {
    const field = fields[i];
    if (field) ids[field] = segment;
  });
  return ids;
}

/** Whether a name has these identifiers; a missing one matches anything. Throws WepNameError without a node. */
export function wepNameMatches(name: string, ids: WepIds): boolean {
  requireNode(ids);
  const segments = splitWepName(name);
  return segments !== undefined &&
    fieldsOf(ids.orchestrator).every((field, i) => !ids[field] || ids[field] === segments[i]);
}

/** Felix's file name for the status of an endpoint: orchestrator, workload and endpoint, each escaped, by spaces. */
export function wepStatusFilename(id: { orchestrator: string; workload: string; endpoint: string }): string {
  return [id.orchestrator, id.workload, id.endpoint].map(encodePathSegment).join(" ");
}

/** Percent-encoding that leaves what may stand in a segment of a URL path (RFC 3986 section 3.3), except `,` and `;`. */
function encodePathSegment(text: string): string {
  return encodeURIComponent(text).replace(/%(24|26|2B|3A|3D|40)/g, (code) => decodeURIComponent(code))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The identifiers under which Felix keeps the status of an endpoint; undefined when the name is not a whole one. */
export function wepStatusId(
  name: string,
  namespace: string,
): { node: string; orchestrator: string; workload: string; endpoint: string } | undefined {
  const segments = splitWepName(name);
  if (!segments || namespace === "") return undefined;
  const [node, orchestrator, workload, endpoint] = segments;
  return { node, orchestrator, workload: `${namespace}/${workload}`, endpoint };
}
