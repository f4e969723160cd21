/** The agent's share of the node's status: what the node is, its store, its workloads and its dataplane. */

import type { WorkloadEndpoint } from "../model/resources/mod.ts";
import type { Store } from "../store/store.ts";
import type { DataplaneStatus } from "./loop.ts";
import type { NodeAddresses } from "./node_resource.ts";
import type { OwnEndpoints } from "./own_endpoints.ts";
import type { Snapshot } from "./snapshot.ts";

/** See the command line's contract, `status -o json`; the rest of it is the speaker's and the process's. */
export interface AgentStatus {
  readonly node: {
    readonly name: string;
    /** Without its prefix length. */
    readonly ip: string | null;
    readonly ip6: string | null;
    readonly as: number;
  };
  readonly store: {
    readonly type: Store["type"];
    readonly inSync: boolean;
    readonly revision: number;
    readonly error: string | null;
    readonly warnings: readonly string[];
  };
  readonly workloads: { readonly ready: number; readonly total: number };
  readonly dataplane: DataplaneStatus;
}

/** The AS number of a fleet that names none. */
const defaultAs = 64512;

/** Makes the function that reads the status. */
export function makeStatus(
  { snapshot, store, node, addresses, endpoints, isReady, dataplane }: {
    readonly snapshot: Snapshot;
    readonly store: Store;
    readonly node: string;
    readonly addresses: () => NodeAddresses | undefined;
    readonly endpoints: OwnEndpoints;
    readonly isReady: (endpoint: WorkloadEndpoint) => boolean;
    readonly dataplane: () => DataplaneStatus;
  },
): () => AgentStatus {
  return () => {
    const bgp = snapshot.all("Node").get(node)?.spec.bgp;
    const found = addresses();
    const text = (stored: string | undefined, ip: { toString(): string } | undefined) =>
      stored?.split("/")[0] ?? ip?.toString() ?? null;
    return {
      node: {
        name: node,
        ip: text(bgp?.ipv4Address, found?.ip?.ip),
        ip6: text(bgp?.ipv6Address, found?.ip6?.ip),
        as: bgp?.asNumber ?? snapshot.all("BGPConfiguration").get("default")?.spec.asNumber ?? defaultAs,
      },
      store: {
        type: store.type,
        inSync: snapshot.isInSync && snapshot.unavailable === undefined,
        revision: snapshot.revision,
        error: snapshot.unavailable ?? null,
        warnings: [...snapshot.unreadable.values()].map(({ key, why }) => `${key}: ${why}`),
      },
      workloads: { ready: [...endpoints.all()].filter(isReady).length, total: endpoints.size },
      dataplane: dataplane(),
    };
  };
}
