/**
 * The workload endpoints of this node, found by id, by the interface they use and by the alias of their veth, and which
 * of them have to be looked at again. A fleet's other endpoints cost nothing here but the look at their node.
 */

import { workloadOfAlias } from "../dataplane/ownership.ts";
import type { Link } from "../dataplane/ports.ts";
import type { WorkloadEndpoint } from "../model/resources/mod.ts";

/** The endpoints of one node. */
export class OwnEndpoints {
  readonly #byId = new Map<string, WorkloadEndpoint>();
  readonly #byTrait = new Map<string, Set<string>>();
  readonly #dirty = new Set<string>();

  constructor(readonly node: string) {}

  all(): Iterable<WorkloadEndpoint> {
    return this.#byId.values();
  }

  get size(): number {
    return this.#byId.size;
  }

  /** By "namespace/name". */
  get(id: string): WorkloadEndpoint | undefined {
    return this.#byId.get(id);
  }

  /** Takes in what the endpoint of that id has become; returns whether it is, or was, one of this node. */
  set(id: string, endpoint: WorkloadEndpoint | undefined): boolean {
    const before = this.#byId.get(id);
    const isOurs = endpoint?.spec.node === this.node;
    if (!before && !isOurs) return false;
    for (const trait of traits(before)) this.#byTrait.get(trait)?.delete(id);
    if (endpoint && isOurs) {
      this.#byId.set(id, endpoint);
      for (const trait of traits(endpoint)) {
        this.#byTrait.set(trait, (this.#byTrait.get(trait) ?? new Set()).add(id));
      }
    } else this.#byId.delete(id);
    this.#dirty.add(id);
    return true;
  }

  /** The endpoints that use the link have to be looked at again. */
  linkChanged({ name, alias }: Link): void {
    const endpoint = workloadOfAlias(alias);
    for (const trait of [`interface ${name}`, ...endpoint === undefined ? [] : [`endpoint ${endpoint}`]]) {
      for (const id of this.#byTrait.get(trait) ?? []) this.#dirty.add(id);
    }
  }

  /** The endpoint of that id has to be looked at again. */
  changed(id: string): void {
    this.#dirty.add(id);
  }

  /** All have to be looked at again. */
  allChanged(): void {
    for (const id of this.#byId.keys()) this.#dirty.add(id);
  }

  /** The ids to look at again; they count as looked at. */
  takeDirty(): string[] {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    return ids;
  }
}

function traits(endpoint: WorkloadEndpoint | undefined): string[] {
  return endpoint ? [`interface ${endpoint.spec.interfaceName}`, `endpoint ${endpoint.metadata.name}`] : [];
}

/** The id of an endpoint. */
export function endpointId({ metadata }: WorkloadEndpoint): string {
  return `${metadata.namespace ?? "default"}/${metadata.name}`;
}
