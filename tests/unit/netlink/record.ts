/**
 * Records what this machine's kernel sends, as the fixture `recorded.json` beside this file: every table dumped after
 * Debian's `ip` has filled a namespace of its own, and some refusals. `deno run -A tests/unit/netlink/record.ts`, as root.
 */

import { getAddresses } from "../../../src/netlink/address.ts";
import type { Exchange } from "../../../src/netlink/exchange.ts";
import { getLink, setLink } from "../../../src/netlink/link.ts";
import { getNeighbours } from "../../../src/netlink/neighbour.ts";
import { ask, dump, type Request } from "../../../src/netlink/request.ts";
import { getRoutes } from "../../../src/netlink/route.ts";
import { getRules } from "../../../src/netlink/rule.ts";
import { openNamespace } from "../../../src/linux/namespace.ts";
import { openNetlink } from "../../../src/linux/netlink_socket.ts";
import { inNamespaces, ip } from "../../lab/netlink_lab.ts";
import { hex } from "./bytes_text.ts";

const SETUP = [
  "link set lo up",
  "link add cali1 type veth peer eth0",
  "link set cali1 up address ee:ee:ee:ee:ee:ee alias web",
  "link set eth0 up",
  "link add br0 type bridge",
  "link set eth0 master br0",
  "addr add 192.0.2.1/24 dev cali1",
  "addr add 2001:db8::1/64 dev cali1 nodad",
  "route add 10.1.0.0/16 via 192.0.2.2 proto bird metric 5",
  "route add 10.2.0.0/16 via 198.51.100.9 dev cali1 onlink proto bird table 1000",
  "route add 10.3.0.0/16 proto bird nexthop via 192.0.2.2 dev cali1 nexthop via 192.0.2.3 dev cali1 weight 5 onlink",
  "route add 10.4.0.0/16 via inet6 fe80::1 dev cali1 src 192.0.2.1",
  "route add blackhole 10.5.0.0/26 proto 80",
  "-6 route add 2001:db8:3::/48 nexthop via 2001:db8::2 dev cali1 nexthop via 2001:db8::3 dev cali1 weight 3",
  "-6 route add unreachable 2001:db8:5::/48 proto 80",
  "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev cali1 nud permanent",
  "neigh add proxy 192.0.2.10 dev cali1",
  "rule add from 10.0.0.0/8 to 192.0.2.0/24 fwmark 0x10/0xf0 iif cali1 lookup 1000 priority 99 protocol 80",
];

const recorded: Record<string, { ip: string; datagrams: string[] }> = {};

function recorder(exchange: Exchange, into: string[]): Exchange {
  return {
    port: exchange.port,
    send: (request) => exchange.send(request),
    sequence: (count) => exchange.sequence(count),
    receive() {
      const datagram = exchange.receive();
      into.push(hex(datagram));
      return datagram;
    },
  };
}

await inNamespaces(1, async (name) => {
  for (const line of SETUP) ip(name, ...line.split(" "));
  const socket = openNetlink({ namespace: openNamespace(name) });
  const record = async (key: string, args: string, run: (exchange: Exchange) => void | Promise<void>) => {
    const datagrams: string[] = [];
    recorded[key] = { ip: args === "" ? "" : ip(name, ...args.split(" ")), datagrams };
    await run(recorder(socket, datagrams));
  };
  const table = (request: Request) => (exchange: Exchange) => dump(exchange, request, { restart() {}, visit() {} });
  await record("links", "-j -d link", table(getLink()));
  await record("addresses", "-j addr", table(getAddresses()));
  await record("routes4", "-j -N -4 route show table all", table(getRoutes(4)));
  await record("routes6", "-j -N -6 route show table all", table(getRoutes(6)));
  await record("neighbours", "-j neigh", table(getNeighbours("entries")));
  await record("proxies", "-j neigh show proxy", table(getNeighbours("proxies")));
  await record("rules", "-j -N rule", table(getRules(4)));
  await record("refusal", "", (exchange) => {
    try {
      ask(exchange, setLink(2, { mtu: 10 }));
    } catch { /* the refusal is what is recorded */ }
  });
});
const path = new URL("recorded.json", import.meta.url);
await Deno.writeTextFile(path, `${JSON.stringify(recorded, null, 1)}\n`);
