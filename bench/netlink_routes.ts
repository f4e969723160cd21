/**
 * Routes added, replaced, deleted and dumped per second: the raw batches and the `Fib` port beside `ip -batch`, in network
 * namespaces of their own and in the same run. Run as root: `deno run -A bench/netlink_routes.ts [ROUTES]`.
 */

import { Cidr } from "../src/lib/cidr.ts";
import { Ip } from "../src/lib/ip.ts";
import type { RouteChange } from "../src/dataplane/ports.ts";
import { type LinuxKernel, openKernel } from "../src/linux/kernel.ts";
import { createNamespace, deleteNamespace } from "../src/linux/namespace.ts";
import { nextTurn } from "../src/linux/pause.ts";
import { type BatchAction, RouteBatch } from "../src/netlink/route_batch.ts";

const ROUTES = Number(Deno.args[0] ?? 100_000);
/** Rounds in turn, so that what else the machine does hits all ways alike. */
const ROUNDS = 3;
const NEXTHOP = "192.0.2.2", OTHER_NEXTHOP = "192.0.2.3";
const FIRST = Ip.parse("10.0.0.0").toNumber();

type Row = { what: string; perSecond: number };

/** A namespace with one link that is up and the network of the next hops on it. */
async function prepare(name: string): Promise<{ kernel: LinuxKernel; ifindex: number }> {
  createNamespace(name);
  const kernel = openKernel(name);
  const link = await kernel.links.createVeth({ name: "a", mac: "02:00:00:00:00:01", peerName: "b" });
  for (const index of [link.index, link.peerIndex ?? 0]) await kernel.links.change(index, { isUp: true });
  await kernel.links.addAddress({ index: link.index, net: { ip: Ip.parse("192.0.2.1"), length: 24 }, scope: 0 });
  return { kernel, ifindex: link.index };
}

async function rate(what: string, run: () => Promise<void>): Promise<Row> {
  const start = performance.now();
  await run();
  return { what, perSecond: ROUTES / (performance.now() - start) * 1000 };
}

async function raw(kernel: LinuxKernel, ifindex: number): Promise<Row[]> {
  const batch = new RouteBatch();
  batch.protocol = 12;
  const send = async (action: BatchAction, gateway: number) => {
    for (let sent = 0; sent < ROUTES;) {
      batch.begin(kernel.routes.sequence(2048));
      while (sent < ROUTES && batch.count < 2048 && batch.put4(action, FIRST + (sent << 8), 24, gateway, ifindex)) {
        sent++;
      }
      kernel.routes.send(batch, (index, ack) => fail(`route ${index}: errno ${ack.errno} ${ack.text ?? ""}`));
      await nextTurn();
    }
  };
  const [one, other] = [Ip.parse(NEXTHOP).toNumber(), Ip.parse(OTHER_NEXTHOP).toNumber()];
  const rows = [await rate("raw add", () => send("add", one)), await rate("raw replace", () => send("replace", other))];
  let seen = 0;
  const dumps = await rate("raw dump", () =>
    kernel.routes.dump({ family: 4, protocol: 12 }, {
      restart: () => void (seen = 0),
      visit: (row) => void (row.gateway === other && seen++),
    }));
  if (seen !== ROUTES) fail(`${seen} of ${ROUTES} routes were dumped`);
  return [...rows, dumps, await rate("raw delete", () => send("delete", other))];
}

async function port(kernel: LinuxKernel, ifindex: number): Promise<Row[]> {
  const changes = (action: RouteChange["action"], gateway: string): RouteChange[] =>
    Array.from({ length: ROUTES }, (_, i) => ({
      action,
      route: {
        destination: Cidr.of(Ip.fromNumber((FIRST + (i << 8)) >>> 0), 24),
        type: "unicast",
        table: 254,
        protocol: 12,
        scope: 0,
        metric: 0,
        nexthops: [{ gateway: Ip.parse(gateway), ifindex }],
      },
    }));
  const send = async (action: RouteChange["action"], gateway: string, what: string) => {
    const wanted = changes(action, gateway);
    return await rate(what, async () => {
      for (const error of await kernel.fib.apply(wanted)) if (error) fail(error.message);
    });
  };
  const rows = [await send("replace", NEXTHOP, "Fib add"), await send("replace", OTHER_NEXTHOP, "Fib replace")];
  let count = 0;
  const dumps = await rate("Fib list", async () => void (count = (await kernel.fib.list({ protocol: 12 })).length));
  if (count !== ROUTES) fail(`${count} of ${ROUTES} routes were listed`);
  return [...rows, dumps, await send("delete", OTHER_NEXTHOP, "Fib delete")];
}

async function ipBatch(name: string): Promise<Row[]> {
  const file = await Deno.makeTempFile();
  const send = async (verb: string, gateway: string) => {
    const lines = Array.from(
      { length: ROUTES },
      (_, i) => `route ${verb} ${Ip.fromNumber((FIRST + (i << 8)) >>> 0)}/24 via ${gateway} dev a proto bird\n`,
    );
    await Deno.writeTextFile(file, lines.join(""));
    return await rate(`ip -batch ${verb}`, () => ip(["-n", name, "-batch", file]));
  };
  try {
    const rows = [await send("add", NEXTHOP), await send("replace", OTHER_NEXTHOP)];
    const dumps = await rate("ip route show", () => ip(["-n", name, "route", "show", "proto", "bird"]));
    return [...rows, dumps, await send("del", OTHER_NEXTHOP)];
  } finally {
    await Deno.remove(file);
  }
}

async function ip(args: string[]): Promise<void> {
  const { code } = await new Deno.Command("ip", { args, stdout: "null", stderr: "inherit" }).output();
  if (code !== 0) fail(`ip ${args.join(" ")}: exit ${code}`);
}

function fail(why: string): never {
  throw new Error(why);
}

const name = `ttB-bench-${Deno.pid}`;
const { kernel, ifindex } = await prepare(name);
try {
  const ways = [() => ipBatch(name), () => raw(kernel, ifindex), () => port(kernel, ifindex)];
  const best: Row[][] = [[], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [way, run] of ways.entries()) {
      const before = best[way] ?? [];
      best[way] = (await run()).map((row, i) => row.perSecond > (before[i]?.perSecond ?? 0) ? row : before[i] ?? row);
    }
  }
  console.log(`${ROUTES} IPv4 routes; per second, the best of ${ROUNDS} rounds, and how often the rate of ip(8)\n`);
  for (const rows of best) {
    rows.forEach(({ what, perSecond }, i) => {
      const ratio = perSecond / (best[0]?.[i]?.perSecond ?? NaN);
      console.log(
        `${what.padEnd(20)} ${Math.round(perSecond).toString().padStart(9)}/s ${ratio.toFixed(1).padStart(6)} x`,
      );
    });
    console.log();
  }
} finally {
  kernel.close();
  deleteNamespace(name);
}
