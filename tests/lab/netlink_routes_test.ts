/** Full tables the raw way: batches into a real kernel, counted by `ip`, dumped back row by row, from a thread of their own too. */

import assert from "node:assert/strict";
import { Ip } from "../../src/lib/ip.ts";
import { ESRCH } from "../../src/netlink/errno.ts";
import { type BatchAction, RouteBatch } from "../../src/netlink/route_batch.ts";
import { type LinuxKernel, openKernel } from "../../src/linux/kernel.ts";
import { until } from "../contract/kernel_suite.ts";
import { inNamespaces, ip, ipJson, isRoot } from "./netlink_lab.ts";

const ignore = !isRoot;
const suffix = isRoot ? "" : " (skipped: needs root)";
const COUNT = 3000;

/** A namespace with the link a0 up and 192.0.2.1/24, 2001:db8::1/64 on it. */
function withLink(body: (kernel: LinuxKernel, ifindex: number, name: string) => Promise<void>): Promise<void> {
  return inNamespaces(1, async (name) => {
    for (
      const line of [
        "link add a0 type veth peer b0",
        "link set a0 up",
        "link set b0 up",
        "addr add 192.0.2.1/24 dev a0",
        "addr add 2001:db8::1/64 dev a0 nodad",
      ]
    ) {
      ip(name, ...line.split(" "));
    }
    const kernel = openKernel(name);
    try {
      await body(kernel, (await kernel.links.get("a0"))?.index ?? 0, name);
    } finally {
      kernel.close();
    }
  });
}

const destination4 = (i: number) => ((10 << 24) | (i << 8)) >>> 0;
const destination6 = (i: number) => Uint8Array.of(0x20, 1, 0xd, 0xb8, 1, i >> 8, i & 255, 0, 0, 0, 0, 0, 0, 0, 0, 0);

/** Sends a change of every route; returns the refusals as "index errno". */
function sendAll(kernel: LinuxKernel, batch: RouteBatch, put: (i: number) => boolean): string[] {
  const refusals: string[] = [];
  for (let done = 0; done < COUNT;) {
    const start = done;
    batch.begin(kernel.routes.sequence(COUNT));
    while (done < COUNT && put(done)) done++;
    assert.ok(done > start);
    kernel.routes.send(batch, (index, { errno }) => refusals.push(`${start + index} ${errno}`));
  }
  return refusals;
}

Deno.test({
  name: `raw batches of IPv4 and IPv6 routes are what ip shows and what the raw dump gives${suffix}`,
  ignore,
}, () =>
  withLink(async (kernel, ifindex, name) => {
    const batch = new RouteBatch();
    batch.protocol = 12;
    batch.metric = 77;
    const gateway4 = Ip.parse("192.0.2.2").toNumber(), gateway6 = Ip.parse("2001:db8::2").bytes;
    const put4 = (action: BatchAction) => (i: number) => batch.put4(action, destination4(i), 24, gateway4, ifindex);
    const put6 = (action: BatchAction) => (i: number) => batch.put6(action, destination6(i), 56, gateway6, ifindex);
    for (const [family, put, sample] of [[4, put4, "10.0.5.0/24"], [6, put6, "2001:db8:100:500::/56"]] as const) {
      assert.deepEqual(sendAll(kernel, batch, put("add")), []);
      assert.deepEqual(sendAll(kernel, batch, put("replace")), []);
      const taken = sendAll(kernel, batch, put("add"));
      assert.deepEqual([taken.length, taken[5]], [COUNT, "5 17"]);
      const shown = ipJson(name, `-${family}`, "route", "show", "proto", "bird");
      assert.equal(shown.length, COUNT);
      const { dst, gateway, dev, metric } = shown.find((one) => one.dst === sample) ?? {};
      assert.deepEqual([dst, gateway, dev, metric], [sample, family === 4 ? "192.0.2.2" : "2001:db8::2", "a0", 77]);
      let rows = 0, sum = 0;
      await kernel.routes.dump({ family, protocol: 12, table: 254 }, {
        restart: () => void (rows = sum = 0),
        visit: (row) => {
          rows++;
          sum += row.destination;
          assert.deepEqual([row.type, row.table, row.protocol, row.metric, row.ifindex, row.length], [
            1,
            254,
            12,
            77,
            ifindex,
            family === 4 ? 24 : 56,
          ]);
          assert.equal(row.gateway, family === 4 ? gateway4 : Ip.fromBytes(gateway6).toNumber());
        },
      });
      let expected = 0;
      for (let i = 0; i < COUNT; i++) {
        expected += family === 4 ? destination4(i) : Ip.fromBytes(destination6(i)).toNumber();
      }
      assert.deepEqual([rows, sum], [COUNT, expected]);
      batch.protocol = 80;
      assert.equal(sendAll(kernel, batch, put("delete")).length, COUNT, "another protocol's routes are not deleted");
      batch.protocol = 12;
      assert.deepEqual(sendAll(kernel, batch, put("delete")), []);
      assert.deepEqual(sendAll(kernel, batch, put("delete"))[0], `0 ${ESRCH}`);
      assert.deepEqual(ipJson(name, `-${family}`, "route", "show", "proto", "bird"), []);
    }
  }));

Deno.test(
  { name: `two dumps at once each see the whole table, and changes go on meanwhile${suffix}`, ignore },
  () =>
    withLink(async (kernel, ifindex) => {
      const batch = new RouteBatch();
      batch.protocol = 12;
      assert.deepEqual(
        sendAll(
          kernel,
          batch,
          (i) => batch.put4("add", destination4(i), 24, Ip.parse("192.0.2.2").toNumber(), ifindex),
        ),
        [],
      );
      const [lists] = await Promise.all([
        Promise.all([kernel.fib.list({ protocol: 12 }), kernel.fib.list({ protocol: 12 }), kernel.links.list()]),
        kernel.links.change(ifindex, { alias: "meanwhile" }),
      ]);
      assert.deepEqual([lists[0].length, lists[1].length, lists[2].length], [COUNT, COUNT, 3]);
      assert.equal((await kernel.links.get(ifindex))?.alias, "meanwhile");
    }),
);

Deno.test(
  { name: `a worker has its own thread, namespaces and watch${suffix}`, ignore },
  () =>
    inNamespaces(1, async (name) => {
      const source = `
      const { openKernel } = await import(${
        JSON.stringify(new URL("../../src/linux/kernel.ts", import.meta.url).href)
      });
      const own = openKernel(), kernel = openKernel(${JSON.stringify(name)});
      const heard = new Promise((resolve) => kernel.watch((event) => event.type === "link" && resolve(event.link.name)));
      await kernel.links.createVeth({ name: "w", mac: "ee:ee:ee:ee:ee:ee", peerName: "x" });
      const name = await heard;
      self.postMessage({ name, ids: [own.id, kernel.id] });
      own.close(); kernel.close();`;
      const worker = new Worker(`data:application/typescript,${encodeURIComponent(source)}`, { type: "module" });
      try {
        const { name: heard, ids } = await new Promise<{ name: string; ids: string[] }>((resolve, reject) => {
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = (event) => {
            event.preventDefault();
            reject(new Error(event.message));
          };
        });
        const own = openKernel(), kernel = openKernel(name);
        assert.deepEqual(ids, [own.id, kernel.id]);
        assert.ok(["w", "x"].includes(heard), heard);
        assert.equal((await kernel.links.get("w"))?.kind, "veth");
        own.close();
        kernel.close();
      } finally {
        worker.terminate();
      }
    }),
);

/** The kernel's own routes for the link's addresses come when it has made sure of these (RFC 4862 5.4). */
const isNotOfTheLink = (text: string) => !/^(fe80|ff00|2001:db8::)/.test(text);

Deno.test(
  { name: `echoes of a full table do not fill the buffer of a watch${suffix}`, ignore },
  () =>
    withLink(async (kernel, ifindex, name) => {
      const heard: string[] = [];
      const stop = kernel.watch(
        (event) => heard.push(event.type === "route" ? `${event.route.destination}` : event.type),
        { types: ["route"], unechoed: 12, receiveBuffer: 65536 },
      );
      const batch = new RouteBatch();
      batch.protocol = 12;
      // All in one turn: nothing is read meanwhile.
      for (let round = 0; round < 8; round++) {
        batch.begin(kernel.routes.sequence(512));
        for (let i = 0; i < 512; i++) assert.ok(batch.put4("replace", destination4(round * 512 + i), 24, 0, ifindex));
        kernel.routes.send(batch, (_index, { errno }) => assert.fail(`refused: ${errno}`));
      }
      ip(name, "route", "add", "blackhole", "192.168.2.0/24", "proto", "80");
      await until("the last route", () => heard.includes("192.168.2.0/24"));
      stop();
      assert.deepEqual(heard.filter(isNotOfTheLink), ["192.168.2.0/24"]);
    }),
);

Deno.test({
  name: `a watch reports the kinds that were asked for, and no echoes of routes of that protocol${suffix}`,
  ignore,
}, () =>
  withLink(async (kernel, ifindex, name) => {
    const heard: string[] = [];
    const stop = kernel.watch(
      (event) => heard.push(event.type === "route" ? `${event.route.destination}` : event.type),
      {
        types: ["route"],
        unechoed: 12,
      },
    );
    ip(name, "link", "set", "a0", "alias", "unheard");
    ip(name, "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "a0");
    const batch = new RouteBatch();
    batch.protocol = 12;
    batch.begin(kernel.routes.sequence(2));
    for (const i of [1, 2]) assert.ok(batch.put4("replace", destination4(i), 24, 0, ifindex));
    kernel.routes.send(batch, (_index, { errno }) => assert.fail(`refused: ${errno}`));
    ip(name, "route", "del", "10.0.2.0/24", "proto", "bird");
    ip(name, "route", "add", "blackhole", "10.2.0.0/16", "proto", "80");
    ip(name, "-6", "route", "add", "blackhole", "2001:db8:2::/48", "proto", "80");
    await until("the last route", () => heard.includes("2001:db8:2::/48"));
    stop();
    assert.deepEqual(heard.filter(isNotOfTheLink), [
      "10.0.2.0/24",
      "10.2.0.0/16",
      "2001:db8:2::/48",
    ]);
  }));
