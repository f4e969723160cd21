/** Connection tracking of the kernel: real UDP, TCP and ICMP flows on a loopback, listed, filtered and deleted. */

import assert from "node:assert/strict";
import type { Conntrack } from "../../src/dataplane/firewall_conntrack.ts";
import { Ip } from "../../src/lib/ip.ts";
import { openConntrack } from "../../src/linux/conntrack.ts";
import { type Connection, type ConnectionFilter, describeTuple } from "../../src/netlink/conntrack.ts";
import { ip } from "./netlink_lab.ts";
import { hasNft, inNftNamespace, isRoot, nft, openUdp } from "./nft_lab.ts";

const ignore = !isRoot || !hasNft;

async function listed(conntrack: Conntrack, filter: ConnectionFilter = {}): Promise<Connection[]> {
  const found = new Map<string, Connection>();
  await conntrack.visit(filter, (one) => found.set(`${one.zone} ${describeTuple(one.original)}`, one));
  return [...found.values()];
}

/** A namespace whose loopback is up, tracked, and marks what goes to port 7000. */
function inTrackedNamespace(body: (namespace: string, conntrack: Conntrack) => Promise<void>): Promise<void> {
  return inNftNamespace(async (namespace) => {
    ip(namespace, "link", "set", "lo", "up");
    await nft(
      namespace,
      ["-f", "-"],
      `table inet witness { chain out { type filter hook output priority 0;
      udp dport 7000 ct mark set 0x00ab0001
      ct state new counter
    }
    }`,
    );
    const conntrack = openConntrack(namespace);
    try {
      await body(namespace, conntrack);
    } finally {
      conntrack.close();
    }
  });
}

/** Sends one datagram to each port from one socket of the namespace; returns its port. */
function sendUdp(namespace: string, hostname: string, ports: readonly number[]): number {
  const socket = openUdp(namespace, hostname);
  try {
    for (const port of ports) socket.send(port);
    return socket.port;
  } finally {
    socket.close();
  }
}

Deno.test(
  { name: "an empty namespace tracks nothing", ignore },
  () =>
    inTrackedNamespace(async (_namespace, conntrack) => {
      assert.deepEqual(await listed(conntrack), []);
    }),
);

Deno.test(
  { name: "a UDP flow is listed with both directions, mark and status, in both families", ignore },
  () =>
    inTrackedNamespace(async (namespace, conntrack) => {
      for (const [hostname, family] of [["127.0.0.1", 4], ["::1", 6]] as const) {
        const source = sendUdp(namespace, hostname, [7000]);
        const found = await listed(conntrack, { family, protocol: 17 });
        assert.equal(found.length, 1);
        const [one] = found;
        const here = Ip.parse(hostname);
        const forth = { source: here, destination: here, protocol: 17, sourcePort: source, destinationPort: 7000 };
        assert.equal(one?.family, family);
        assert.equal(one && describeTuple(one.original), describeTuple(forth));
        assert.equal(
          one && describeTuple(one.reply),
          describeTuple({ ...forth, sourcePort: 7000, destinationPort: source }),
        );
        assert.equal(one?.mark, 0x00ab0001);
        assert.ok(one && one.timeout > 0 && one.id !== 0);
      }
    }),
);

Deno.test(
  { name: "an ICMP flow is listed with type, code and id, and deleted", ignore },
  () =>
    inTrackedNamespace(async (namespace, conntrack) => {
      const ping = new Deno.Command("ip", { args: ["netns", "exec", namespace, "ping", "-c1", "-W1", "127.0.0.1"] });
      assert.equal((await ping.output()).code, 0);
      const [one, ...others] = await listed(conntrack, { protocol: 1 });
      assert.equal(others.length, 0);
      assert.equal(one?.original.icmp?.type, 8);
      assert.equal(one?.reply.icmp?.type, 0);
      assert.deepEqual(await conntrack.delete(one ? [one] : []), [undefined]);
      assert.deepEqual(await listed(conntrack, { protocol: 1 }), []);
    }),
);

Deno.test(
  { name: "filters by family, protocol, mark and address agree with the whole list", ignore },
  () =>
    inTrackedNamespace(async (namespace, conntrack) => {
      ip(namespace, "address", "add", "192.0.2.1/32", "dev", "lo");
      sendUdp(namespace, "127.0.0.1", [7000, 7001]);
      sendUdp(namespace, "192.0.2.1", [7000, 7001, 7002]);
      sendUdp(namespace, "::1", [7000]);
      const udp = await listed(conntrack, { protocol: 17 });
      assert.equal(udp.length, 6);
      assert.equal((await listed(conntrack, { protocol: 17, family: 6 })).length, 1);
      assert.equal((await listed(conntrack, { protocol: 6 })).length, 0);
      assert.equal((await listed(conntrack, { protocol: 17, addresses: [Ip.parse("192.0.2.1")] })).length, 3);
      assert.equal(
        (await listed(conntrack, { protocol: 17, addresses: [Ip.parse("192.0.2.1"), Ip.parse("::1")] })).length,
        4,
      );
      assert.equal((await listed(conntrack, { protocol: 17, addresses: [] })).length, 0);
      assert.equal((await listed(conntrack, { mark: { value: 0x00ab0001, mask: 0xffffffff } })).length, 3);
      assert.equal((await listed(conntrack, { mark: { value: 0x00ab0000, mask: 0xffff0000 } })).length, 3);
      assert.equal((await listed(conntrack, { mark: { value: 0x00ac0000, mask: 0xffff0000 } })).length, 0);
    }),
);

Deno.test(
  { name: "deleting ends exactly the given connections, and what has gone counts as deleted", ignore },
  () =>
    inTrackedNamespace(async (namespace, conntrack) => {
      const ports = Array.from({ length: 1500 }, (_, i) => 10_000 + i);
      sendUdp(namespace, "127.0.0.1", ports);
      const all = await listed(conntrack, { protocol: 17 });
      assert.equal(all.length, ports.length);
      const odd = all.filter(({ original }) => original.destinationPort % 2 === 1);
      assert.deepEqual(new Set(await conntrack.delete(odd)), new Set([undefined]));
      assert.deepEqual(new Set(await conntrack.delete(odd)), new Set([undefined]));
      const left = (await listed(conntrack, { protocol: 17 })).map(({ original }) => original.destinationPort);
      assert.deepEqual(left.sort(), ports.filter((port) => port % 2 === 0).sort());
    }),
);

Deno.test(
  { name: "a connection of the same tuple and another id is not deleted in its place", ignore },
  () =>
    inTrackedNamespace(async (namespace, conntrack) => {
      sendUdp(namespace, "127.0.0.1", [7000]);
      const [one] = await listed(conntrack, { protocol: 17 });
      assert.ok(one);
      assert.deepEqual(await conntrack.delete([{ ...one, id: (one.id ^ 1) >>> 0 }]), [undefined]);
      assert.equal((await listed(conntrack, { protocol: 17 }))[0]?.id, one.id);
      assert.deepEqual(await conntrack.delete([one]), [undefined]);
      assert.deepEqual(await listed(conntrack, { protocol: 17 }), []);
    }),
);
