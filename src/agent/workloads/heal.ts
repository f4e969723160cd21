/**
 * Mends at the start of the node what an earlier run left between two steps: interfaces and addresses that bear the name
 * of an endpoint that does not exist are removed, and interfaces that an endpoint misses are made again.
 */

import { workloadOfAlias } from "../../dataplane/ownership.ts";
import type { Kernel } from "../../dataplane/ports.ts";
import type { Log } from "../../lib/log.ts";
import { HANDLES_PREFIX } from "../../model/keys/mod.ts";
import type { WorkloadEndpoint } from "../../model/resources/mod.ts";
import { splitWepName } from "../../model/wep_name.ts";
import type { Store } from "../../store/store.ts";
import { annotation, endpointOfHandle, handlePrefix, hostInterfaceName, workloadName } from "./endpoint.ts";
import type { HealingWorkloads } from "./workloads.ts";

/** Sweeps what is left of endpoints that do not exist, and makes missing interfaces again. */
export async function healWorkloads(
  { store, kernel, node, endpoints, log, workloads }: {
    readonly store: Store;
    readonly kernel: Kernel;
    readonly node: string;
    readonly endpoints: () => Iterable<WorkloadEndpoint>;
    readonly log: Log;
    readonly workloads: Pick<HealingWorkloads, "sweep" | "ensure">;
  },
): Promise<void> {
  const stands = new Set([...endpoints()].map(({ metadata }) => metadata.name));
  for (const link of await kernel.links.list()) {
    const endpoint = workloadOfAlias(link.alias);
    const segments = endpoint === undefined ? undefined : splitWepName(endpoint);
    if (endpoint === undefined || stands.has(endpoint) || segments?.[0] !== node) continue;
    log.info("removing the interface of a workload that is not attached", { link: link.name, endpoint });
    await workloads.sweep({ endpoint, interfaceName: link.name, workload: segments[2] });
  }
  const handles = await store.list(HANDLES_PREFIX + handlePrefix(node));
  for (const { key } of handles.entries) {
    const left = endpointOfHandle(key.slice(HANDLES_PREFIX.length));
    if (!left || stands.has(left.name)) continue;
    log.info("releasing the addresses of a workload that is not attached", { endpoint: left.name });
    const orchestrator = splitWepName(left.name)?.[1];
    const interfaceName = await hostInterfaceName({
      name: left.workload,
      orchestrator,
      containerID: orchestrator === "cni" ? left.workload : undefined,
    });
    await workloads.sweep({ endpoint: left.name, interfaceName, workload: left.workload });
  }
  for (const endpoint of [...endpoints()]) {
    if (endpoint.metadata.annotations?.[annotation.netns] === undefined) continue;
    try {
      await workloads.ensure(endpoint);
    } catch (error) {
      log.warn("a workload has no interface and cannot get one", { workload: workloadName(endpoint), error });
    }
  }
}
