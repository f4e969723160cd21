/** The speaker's two hands on a kernel: what it writes, read back with `ip`, and what it learns from what `ip` does. */

import assert from "node:assert/strict";
import type { FibRoute, Router } from "../../src/bgp/rib/interface.ts";
import { Ip } from "../../src/lib/ip.ts";
import { makeLog, silentLog } from "../../src/lib/log.ts";
import { openKernel } from "../../src/linux/kernel.ts";
import { systemClock } from "../../src/store/expiry.ts";
import { makeFibReader } from "../../src/speaker/fib_reader.ts";
import { makeFibWriter } from "../../src/speaker/fib_writer.ts";
import { canRun, eventually, makeHosts, RIGHT, run } from "./daemons.ts";

const isAble = canRun("/usr/sbin/ip") || canRun("/sbin/ip") || canRun("/usr/bin/ip");
const note = isAble ? "" : " (skipped: not root)";
const bytes = (text: string) => Ip.parse(text).bytes;

async function withKernel(play: (host: string, kernel: ReturnType<typeof openKernel>) => Promise<void>): Promise<void> {
  const hosts = await makeHosts();
  const kernel = openKernel(hosts.left);
  try {
    await play(hosts.left, kernel);
  } finally {
    kernel.close();
    await hosts.close();
  }
}

function test(name: string, play: () => Promise<void>): void {
  Deno.test({ name: name + note, ignore: !isAble, fn: play });
}

const routes = (host: string, family: 4 | 6) => run("ip", "-n", host, `-${family}`, "route", "show", "proto", "bird");
const eth0 = async (host: string) =>
  JSON.parse(await run("ip", "-n", host, "-j", "link", "show", "eth0"))[0].ifindex as number;

test("routes with one next hop, with several, and without a gateway go in, change and go out", () =>
  withKernel(async (host, kernel) => {
    const writer = makeFibWriter(kernel, { clock: systemClock, log: silentLog });
    const ifindex = await eth0(host);
    const via = (gateway: string, isOnlink = false) => ({ gateway: bytes(gateway), ifindex, isOnlink });
    try {
      writer.install(4, bytes("10.60.0.0"), 24, 0, [via(RIGHT.v4)]);
      writer.install(4, bytes("10.61.0.0"), 24, 77, [via("192.0.2.9", true)]);
      writer.install(4, bytes("10.62.0.0"), 24, 0, [{ ifindex }]);
      writer.install(6, bytes("fd60::"), 64, 1024, [via(RIGHT.v6)]);
      writer.flush();
      const four = await routes(host, 4);
      assert.match(four, /^10\.60\.0\.0\/24 via 10\.77\.0\.2 dev eth0 *$/m);
      assert.match(four, /^10\.61\.0\.0\/24 via 192\.0\.2\.9 dev eth0 metric 77 onlink *$/m);
      assert.match(four, /^10\.62\.0\.0\/24 dev eth0 scope link *$/m);
      assert.match(await routes(host, 6), /^fd60::\/64 via fd77::2 dev eth0 metric 1024/m);

      writer.install(4, bytes("10.60.0.0"), 24, 0, [via(RIGHT.v4), via("10.77.0.3")]);
      writer.install(6, bytes("fd60::"), 64, 1024, [via(RIGHT.v6), via("fd77::3")]);
      await eventually(
        "ECMP",
        async () =>
          /10\.60\.0\.0\/24 *\n\s*nexthop via 10\.77\.0\.2 dev eth0.*\n\s*nexthop via 10\.77\.0\.3/.test(
            await routes(host, 4),
          ) &&
          /fd60::\/64.*\n\s*nexthop via fd77::2 dev eth0.*\n\s*nexthop via fd77::3/.test(await routes(host, 6)),
      );

      writer.install(4, bytes("10.60.0.0"), 24, 0, [via("10.77.0.3")]);
      writer.install(6, bytes("fd60::"), 64, 1024, [via("fd77::3")]);
      writer.flush();
      assert.match(await routes(host, 4), /^10\.60\.0\.0\/24 via 10\.77\.0\.3 dev eth0 *$/m);
      assert.match(await routes(host, 6), /^fd60::\/64 via fd77::3 dev eth0/m);

      for (const [prefix, metric] of [["10.60.0.0", 0], ["10.61.0.0", 77], ["10.62.0.0", 0]] as const) {
        writer.uninstall(4, bytes(prefix), 24, metric);
      }
      writer.uninstall(6, bytes("fd60::"), 64, 1024);
      writer.uninstall(4, bytes("10.99.0.0"), 24, 0);
      writer.flush();
      assert.equal((await routes(host, 4) + await routes(host, 6)).trim(), "");
      assert.deepEqual(writer.errors, []);
    } finally {
      writer.close();
    }
  }));

test("a removal of an ECMP route takes all of it", () =>
  withKernel(async (host, kernel) => {
    const writer = makeFibWriter(kernel, { clock: systemClock, log: silentLog });
    const ifindex = await eth0(host);
    const two = ["fd77::2", "fd77::3"].map((gateway) => ({ gateway: bytes(gateway), ifindex }));
    try {
      writer.install(6, bytes("fd60::"), 64, 1024, two);
      await eventually("ECMP", async () => /nexthop/.test(await routes(host, 6)));
      writer.uninstall(6, bytes("fd60::"), 64, 1024);
      writer.flush();
      assert.equal((await routes(host, 6)).trim(), "");
    } finally {
      writer.close();
    }
  }));

test("a refused route is named, stays dirty, and goes in when the kernel takes it; the others are not held up", () =>
  withKernel(async (host, kernel) => {
    const said: string[] = [];
    const log = makeLog((_level, message, fields) => said.push(`${message} ${fields.route}`));
    const writer = makeFibWriter(kernel, { clock: systemClock, log });
    const ifindex = await eth0(host);
    try {
      writer.install(4, bytes("10.60.0.0"), 24, 0, [{ gateway: bytes("198.51.100.1"), ifindex }]);
      writer.install(4, bytes("10.61.0.0"), 24, 0, [{ gateway: bytes(RIGHT.v4), ifindex }]);
      writer.flush();
      assert.match(await routes(host, 4), /^10\.61\.0\.0\/24/m);
      assert.match(writer.errors[0] ?? "", /1 routes are not in the kernel, one of them 10\.60\.0\.0\/24 metric 0/);
      assert.deepEqual(said, ["The kernel refused a route 10.60.0.0/24 metric 0"]);
      await run("ip", "-n", host, "addr", "add", "198.51.100.2/24", "dev", "eth0");
      await eventually("the route", async () => /^10\.60\.0\.0\/24 via 198\.51\.100\.1/m.test(await routes(host, 4)));
      assert.deepEqual(writer.errors, []);
    } finally {
      writer.close();
    }
  }));

test("a full batch and more goes in and out", () =>
  withKernel(async (host, kernel) => {
    const writer = makeFibWriter(kernel, { clock: systemClock, log: silentLog });
    const nexthop = [{ gateway: bytes(RIGHT.v4), ifindex: await eth0(host) }];
    const count = async () => (await routes(host, 4)).trim().split("\n").filter((line) => line !== "").length;
    try {
      for (let i = 0; i < 5000; i++) writer.install(4, Uint8Array.of(10, 128 + (i >> 8), i & 255, 0), 24, 0, nexthop);
      writer.flush();
      assert.equal(await count(), 5000);
      for (let i = 0; i < 5000; i++) writer.uninstall(4, Uint8Array.of(10, 128 + (i >> 8), i & 255, 0), 24, 0);
      writer.flush();
      assert.equal(await count(), 0);
    } finally {
      writer.close();
    }
  }));

test("the reader tells links, addresses and alien routes, follows them, and says what others did to ours", () =>
  withKernel(async (host, kernel) => {
    const learnt = new Map<string, FibRoute>();
    const linkNames = new Map<number, string | undefined>();
    const inspected: [string[], boolean][] = [];
    const key = (route: FibRoute) => `${Ip.fromBytes(route.address)}/${route.length} proto ${route.protocol}`;
    const router = {
      learn: (route: FibRoute) => void learnt.set(key(route), route),
      forget: (route: FibRoute) => void learnt.delete(key(route)),
      inspectFib: (routes: readonly FibRoute[], areAll: boolean) => void inspected.push([routes.map(key), areAll]),
      setLink: (index: number, name: string | undefined) => void linkNames.set(index, name),
      setAddress() {},
    } as unknown as Router;
    await run("ip", "-n", host, "route", "add", "blackhole", "172.17.8.0/26", "proto", "80");
    await run("ip", "-n", host, "route", "add", "10.60.0.0/24", "via", RIGHT.v4, "proto", "bird");
    const reader = makeFibReader(kernel, { router, clock: systemClock, log: silentLog, touch() {} });
    try {
      await reader.start(254);
      assert.equal(linkNames.get(await eth0(host)), "eth0");
      assert.deepEqual([...learnt.keys()].filter((name) => !name.includes(":")).sort(), [
        "10.60.0.0/24 proto 12",
        "10.77.0.0/24 proto 2",
        "172.17.8.0/26 proto 80",
      ]);
      assert.equal(learnt.get("172.17.8.0/26 proto 80")?.type, 6);
      const { linkLocal, other } = reader.beside(bytes("10.77.0.1"));
      assert.equal(linkLocal?.[0], 0xfe);
      assert.deepEqual(other, bytes("fd77::1"));

      await run("ip", "-n", host, "route", "add", "10.70.0.0/24", "via", RIGHT.v4, "proto", "static");
      await run("ip", "-n", host, "route", "add", "10.71.0.0/24", "via", RIGHT.v4, "proto", "bird");
      await run("ip", "-n", host, "route", "del", "172.17.8.0/26");
      await eventually("the changes", async () => {
        await Promise.resolve();
        return learnt.has("10.70.0.0/24 proto 4") && !learnt.has("172.17.8.0/26 proto 80");
      });
      assert.equal(learnt.has("10.71.0.0/24 proto 12"), false);
      assert.deepEqual(inspected, [[["10.71.0.0/24 proto 12"], false]]);
      await run("ip", "-n", host, "route", "del", "10.60.0.0/24", "proto", "bird");
      await eventually("the loss of ours", () => Promise.resolve(!learnt.has("10.60.0.0/24 proto 12")));
      await run("ip", "-n", host, "link", "set", "eth0", "down");
      // The kernel drops the routes of a link that goes down, in silence.
      await eventually("the static route's end", async () => {
        await Promise.resolve();
        return !learnt.has("10.70.0.0/24 proto 4");
      });
      await eventually("a look at all of ours", () => Promise.resolve(inspected.some(([, areAll]) => areAll)));
    } finally {
      reader.close();
    }
  }));

test("a link that is made or deleted costs no listing of the table, one that goes down does", () =>
  withKernel(async (host, kernel) => {
    let listings = 0;
    const gone: string[] = [];
    const names = new Map<number, string | undefined>();
    const router = {
      learn() {},
      forget: (route: FibRoute) => void gone.push(`${Ip.fromBytes(route.address)}/${route.length}`),
      inspectFib: (_routes: readonly FibRoute[], areAll: boolean) => void (listings += areAll ? 1 : 0),
      setLink: (index: number, name: string | undefined) => void names.set(index, name),
      setAddress() {},
    } as unknown as Router;
    const reader = makeFibReader(kernel, { router, clock: systemClock, log: silentLog, touch() {} });
    const knows = (name: string) => [...names.values()].includes(name);
    try {
      await reader.start(254);
      for (const round of [1, 2]) {
        await run("ip", "-n", host, "link", "add", "cali7", "type", "veth", "peer", "name", "wl7");
        await run("ip", "-n", host, "link", "set", "cali7", "up");
        await run("ip", "-n", host, "route", "add", "172.17.8.7/32", "dev", "cali7");
        await eventually("the link", () => Promise.resolve(knows("cali7")));
        await run("ip", "-n", host, "link", "del", "cali7");
        await eventually("its end", () => Promise.resolve(!knows("cali7") && !knows("wl7")));
        assert.equal(gone.filter((text) => text === "172.17.8.7/32").length, round, "the kernel says nothing of it");
      }
      await run("ip", "-n", host, "link", "set", "eth0", "down");
      await eventually("a listing", () => Promise.resolve(listings > 0));
      assert.equal(listings, 1);
    } finally {
      reader.close();
    }
  }));
