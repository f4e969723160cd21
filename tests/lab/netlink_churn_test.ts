/** Tables that change while they are read, and reports that come faster than they are read. */

import assert from "node:assert/strict";
import type { KernelEvent } from "../../src/dataplane/ports.ts";
import { openKernel } from "../../src/linux/kernel.ts";
import { watchKernel } from "../../src/linux/monitor.ts";
import { openNetlink } from "../../src/linux/netlink_socket.ts";
import { nextTurn } from "../../src/linux/pause.ts";
import { decodeLink, getLink } from "../../src/netlink/link.ts";
import { dump } from "../../src/netlink/request.ts";
import { route, until } from "../contract/kernel_suite.ts";
import { inNamespaces, ip, ipJson, isRoot } from "./netlink_lab.ts";

const ignore = !isRoot;
const suffix = isRoot ? "" : " (skipped: needs root)";
const names = (count: number, prefix: string) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Runs lines of `ip -batch` in the namespace; resolves when they are through. */
async function ipBatch(namespace: string, lines: string[]): Promise<void> {
  const child = new Deno.Command("ip", { args: ["-n", namespace, "-batch", "-"], stdin: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines.join("\n") + "\n"));
  await writer.close();
  assert.equal((await child.status).code, 0);
}

Deno.test(
  { name: `a table that changes while it is dumped is dumped again until it is whole${suffix}`, ignore },
  () =>
    inNamespaces(1, async (name) => {
      const kernel = openKernel(name);
      const socket = openNetlink({ namespace: kernel.namespace });
      const lasting = names(150, "keep");
      await ipBatch(name, lasting.map((one) => `link add ${one} type bridge`));
      let isChurning = true;
      const churn = ipBatch(name, Array.from({ length: 150 }, () => "link add churn type bridge\nlink del churn"))
        .finally(() => isChurning = false);
      let dumps = 0, interrupted = 0;
      try {
        while (isChurning) {
          let starts = 0;
          let found: string[] = [];
          await dump(socket, getLink(), {
            restart: () => {
              starts++;
              found = [];
            },
            visit: (_type, bytes, from, to) => void found.push(decodeLink(bytes.subarray(from, to))?.name ?? "?"),
          }, nextTurn);
          dumps++;
          if (starts > 1) interrupted++;
          assert.deepEqual(found.filter((one) => one.startsWith("keep")).sort(), [...lasting].sort());
        }
        assert.ok(interrupted > 0, `none of ${dumps} dumps was interrupted`);
      } finally {
        await churn;
        socket.close();
        kernel.close();
      }
    }),
);

Deno.test({
  name: `reports that overflow the buffer end in a resync, after which the view is right${suffix}`,
  ignore,
  sanitizeOps: true,
  sanitizeResources: true,
}, () =>
  inNamespaces(1, async (name) => {
    const kernel = openKernel(name);
    const view = new Map<number, string>();
    let resyncs = 0, reading: Promise<void> | undefined;
    const read = async () => {
      const links = await kernel.links.list();
      view.clear();
      for (const link of links) view.set(link.index, link.name);
      reading = undefined;
    };
    const stop = watchKernel(kernel.namespace, (event: KernelEvent) => {
      if (event.type === "link") {
        event.isGone ? view.delete(event.link.index) : view.set(event.link.index, event.link.name);
      }
      if (event.type === "resync") {
        resyncs++;
        reading ??= read();
      }
    }, { receiveBuffer: 4096 });
    try {
      await read();
      for (let round = 0; round < 5; round++) {
        // Synchronous, so that nobody reads while the reports come in.
        ip(name, "link", "add", `lost${round}`, "type", "bridge");
        for (const one of names(30, `r${round}x`)) ip(name, "link", "add", one, "type", "bridge");
        ip(name, "link", "del", `lost${round}`);
        const theirs = () => ipJson(name, "link").map(({ ifindex, ifname }) => `${ifindex} ${ifname}`).sort();
        const ours = () => [...view].map(([index, of]) => `${index} ${of}`).sort();
        await until(`round ${round}`, () => !reading && JSON.stringify(ours()) === JSON.stringify(theirs()));
      }
      assert.ok(resyncs >= 1, "the buffer never overflowed");
      const before = resyncs;
      ip(name, "link", "add", "last", "type", "bridge");
      await until("a report after the resync", () => [...view.values()].includes("last"));
      assert.equal(resyncs, before);
    } finally {
      stop();
      kernel.close();
    }
  }));

Deno.test({
  name: `a burst of routes is reported one by one, in order${suffix}`,
  ignore,
  sanitizeOps: true,
  sanitizeResources: true,
}, () =>
  inNamespaces(1, async (name) => {
    const kernel = openKernel(name);
    const heard: string[] = [];
    const stop = kernel.watch((event) => {
      if (event.type === "route") heard.push(`${event.isGone ? "del" : "add"} ${event.route.destination}`);
      if (event.type === "resync") heard.push("resync");
    });
    try {
      ip(name, "link", "set", "lo", "up");
      const prefixes = Array.from({ length: 2000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
      await ipBatch(name, [
        ...prefixes.map((one) => `route add blackhole ${one}`),
        ...prefixes.map((one) => `route del blackhole ${one}`),
      ]);
      const expected = [...prefixes.map((one) => `add ${one}`), ...prefixes.map((one) => `del ${one}`)];
      const ours = () => heard.filter((text) => text === "resync" || / 10\./.test(text));
      await until("all reports", () => ours().length >= expected.length);
      assert.deepEqual(ours(), expected);
    } finally {
      stop();
      kernel.close();
    }
  }));

Deno.test(
  { name: `thousands of refusals in one call are each told${suffix}`, ignore },
  () =>
    inNamespaces(1, async (name) => {
      const kernel = openKernel(name);
      try {
        const changes = Array.from({ length: 5000 }, (_, i) => ({
          action: "replace" as const,
          route: route(
            `10.${i >> 8}.${i & 255}.0/24`,
            i % 1000 === 0 ? { type: "blackhole" } : { scope: 253, nexthops: [{ ifindex: 4711 }] },
          ),
        }));
        const codes = (await kernel.fib.apply(changes)).map((error) => error?.code);
        assert.deepEqual(codes, changes.map((_, i) => i % 1000 === 0 ? undefined : "ENODEV"));
        assert.equal((await kernel.fib.list({ protocol: 80 })).length, 5);
      } finally {
        kernel.close();
      }
    }),
);
