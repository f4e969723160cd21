/**
 * The API's calls on addresses, over the allocator: show, check, release and configure.
 *
 * An address that an endpoint uses is not released here: the workload would keep it while another gets it.
 */

import { Ip } from "../lib/ip.ts";
import { checkIpam } from "../ipam/check.ts";
import { configureIpam } from "../ipam/stored/config.ts";
import type { Ipam } from "../ipam/ipam.ts";
import { releaseAddresses } from "../ipam/release.ts";
import { showAddress, showBlocks, showPools } from "../ipam/show.ts";
import { storeSources } from "../ipam/sources.ts";
import type { Store } from "../store/store.ts";
import { readAll } from "./changes.ts";
import { ApiError } from "./error.ts";
import type { IpamCalls } from "./node_api.ts";
import { addressesOf } from "./removal.ts";

/** Makes the calls on addresses; `releaseIps` is that of the node's own allocator, which may remember what is free. */
export function makeIpamCalls(store: Store, releaseIps?: Ipam["releaseIps"]): IpamCalls {
  const sources = storeSources(store);
  const release = releaseIps ?? (async (options) => await releaseAddresses(store, await sources.pools(), options));
  const endpoints = async () =>
    (await readAll(store, "WorkloadEndpoint")).flatMap((endpoint) =>
      addressesOf(endpoint).map((ip) => ({ ip: ip.toString(), endpoint: endpoint.metadata.name }))
    );
  return {
    show: async () =>
      (await showPools(store, await sources.pools())).map(({ pool, ...use }) => ({ name: pool, ...use })),
    showBlocks: () => showBlocks(store),
    showIp: async (text) =>
      await showAddress(store, await sources.pools(), await sources.reservations(), parseIp(text)),
    check: async () => await checkIpam(store, { pools: await sources.pools(), endpoints: await endpoints() }),
    release: async (text) => {
      const ip = parseIp(text);
      const user = (await endpoints()).find((each) => each.ip === ip.toString());
      if (user) {
        throw new ApiError("refused", `${ip} is used by the workload endpoint ${user.endpoint}`, {
          hint: "detach the workload, which gives it back",
        });
      }
      const { released } = await release([{ ip }]);
      if (released.length === 0) throw new ApiError("missing", `${ip} is not assigned`);
    },
    configure: (change) => configureIpam(store, change),
  };
}

function parseIp(text: string): Ip {
  const ip = Ip.tryParse(text);
  if (!ip) throw new ApiError("invalid", `${JSON.stringify(text)} is not an IP address`);
  return ip;
}
