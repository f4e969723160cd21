/** The `Neighbours` port: ARP, ND and proxy entries, over rtnetlink; proxy entries come in a dump of their own. */

import type { Neighbours } from "../dataplane/ports.ts";
import { ENODEV, ENOENT } from "../netlink/errno.ts";
import { decodeNeighbour, delNeighbour, getNeighbours, newNeighbour } from "../netlink/neighbour.ts";
import { ask } from "../netlink/request.ts";
import { type Requests, unlessGone } from "./links.ts";

/** Makes the `Neighbours` port of a namespace. */
export function makeNeighbours({ exchange, table }: Requests): Neighbours {
  return {
    list: async () => [
      ...await table(getNeighbours("entries"), decodeNeighbour),
      ...await table(getNeighbours("proxies"), decodeNeighbour),
    ],
    replace: (neighbour) => Promise.try(() => ask(exchange, newNeighbour(neighbour))),
    delete: (neighbour) =>
      Promise.try(() => unlessGone(ENODEV, () => unlessGone(ENOENT, () => ask(exchange, delNeighbour(neighbour))))),
  };
}
