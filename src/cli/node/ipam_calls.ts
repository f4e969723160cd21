/** The API's calls on addresses, over the allocator's room and the agent's snapshot. */

import { ApiError } from "../../api/error.ts";
import type { IpamCalls } from "../../api/node_api.ts";
import type { Agent } from "../../agent/agent.ts";
import { checkIpam } from "../../ipam/check.ts";
import { configureIpam, readIpamConfig } from "../../ipam/stored/config.ts";
import { storeSources } from "../../ipam/sources.ts";
import { showAddress, showBlocks, showPools } from "../../ipam/show.ts";
import { Ip } from "../../lib/ip.ts";
import type { Store } from "../../store/store.ts";

/** Makes the calls. */
export function makeIpamCalls(store: Store, agent: Agent): IpamCalls {
  const sources = storeSources(store);
  const parse = (text: string): Ip => {
    const ip = Ip.tryParse(text);
    if (!ip) throw new ApiError("invalid", `${JSON.stringify(text)} is not an IP address`);
    return ip;
  };
  const endpoints = () =>
    [...agent.snapshot.all("WorkloadEndpoint").values()].flatMap(({ metadata, spec }) =>
      (spec.ipNetworks ?? []).map((network) => ({ ip: network.split("/")[0] ?? network, endpoint: metadata.name }))
    );
  return {
    show: async () =>
      (await showPools(store, await sources.pools())).map(({ pool, ...use }) => ({ name: pool, ...use })),
    showBlocks: () => showBlocks(store),
    showIp: async (text) => {
      const use = await showAddress(store, await sources.pools(), await sources.reservations(), parse(text));
      return { ...use, assigned: use.inUse };
    },
    check: async () => await checkIpam(store, { pools: await sources.pools(), endpoints: endpoints() }),
    release: async (text) => {
      const ip = parse(text);
      const user = endpoints().find((each) => each.ip === ip.toString());
      if (user) {
        throw new ApiError("conflict", `${ip} is used by ${user.endpoint}`, { hint: "detach the workload instead" });
      }
      const { unallocated } = await agent.ipam.releaseIps([{ ip }]);
      if (unallocated.length > 0) throw new ApiError("missing", `${ip} is not assigned: there is nothing to release`);
    },
    configure: (change) => Object.keys(change).length > 0 ? configureIpam(store, change) : readIpamConfig(store),
  };
}
