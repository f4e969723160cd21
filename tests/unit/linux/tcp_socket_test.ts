/** TCP sockets on the loopback of the real kernel: order, back-pressure, resets, MD5 keys and TTL limits. */

import assert from "node:assert/strict";
import type { Transport, TransportSink } from "../../../src/bgp/transport.ts";
import {
  type Accepted,
  adoptTcp,
  connectTcp,
  lingeringConnections,
  listenTcp,
  refuseTcp,
  setHops,
  type TcpOptions,
} from "../../../src/linux/tcp_socket.ts";

const isRoot = Deno.uid() === 0;

/** A sink that keeps what comes. */
function makeSink(size = 65536) {
  const room = new Uint8Array(size);
  const seen = {
    bytes: [] as number[],
    octets: 0,
    closed: undefined as string | undefined,
    isConnected: false,
    drained: 0,
    isKeeping: true,
  };
  const sink: TransportSink = {
    connected: () => void (seen.isConnected = true),
    room: () => room,
    received(count) {
      seen.octets += count;
      if (seen.isKeeping) seen.bytes.push(...room.subarray(0, count));
    },
    writable: () => void seen.drained++,
    closed: (reason) => void (seen.closed = reason),
  };
  return { sink, seen };
}

async function until(what: string, look: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!look()) {
    if (performance.now() > end) throw new Error(`Cannot wait any longer for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A listener on a loopback address whose connections wait in a list. */
function makeServer(address = "127.0.0.1") {
  const accepted: Accepted[] = [];
  const listener = listenTcp(address, 0, (one) => void accepted.push(one));
  return { listener, accepted, port: listener.local.port };
}

/** Both ends of a connection, and how to end everything. */
async function connectPair(options: TcpOptions = {}, address = "127.0.0.1") {
  const server = makeServer(address);
  const near = makeSink(), far = makeSink();
  const client = connectTcp(address, server.port, options, near.sink);
  await until("the connection", () => near.seen.isConnected && server.accepted.length === 1);
  const [one] = server.accepted;
  assert.ok(one);
  const peer = adoptTcp(one, far.sink);
  const close = () => [client, peer, server.listener].forEach((end) => end.close());
  return { server, client, peer, near: near.seen, far: far.seen, close, one };
}

Deno.test("octets pass in both directions, in order, over IPv4 and IPv6, and the ends know each other", async () => {
  for (const [address, octets] of [["127.0.0.1", 4], ["::1", 16]] as const) {
    const { client, peer, near, far, close } = await connectPair({}, address);
    try {
      client.write(Uint8Array.of(1, 2, 3));
      client.write(Uint8Array.of(4));
      peer.write(Uint8Array.of(9, 8));
      await until("the octets", () => far.octets === 4 && near.octets === 2);
      assert.deepEqual(far.bytes, [1, 2, 3, 4]);
      assert.deepEqual(near.bytes, [9, 8]);
      assert.equal(client.local.address.length, octets);
      assert.equal(client.local.port, peer.remote.port);
      assert.deepEqual(client.remote, peer.local);
    } finally {
      close();
    }
  }
});

Deno.test("a connection comes from the address and port that it is bound to", async () => {
  const { one, close } = await connectPair({ localAddress: "127.0.0.7" });
  try {
    assert.deepEqual([...one.remote.address], [127, 0, 0, 7]);
  } finally {
    close();
  }
});

Deno.test("a refused, an unreachable and a nonsensical connection are told later, never thrown", async () => {
  const free = makeServer();
  free.listener.close();
  const sinks = [
    ["127.0.0.1", free.port, {}, /ECONNREFUSED/],
    ["not an address", 179, {}, /not an address/],
    ["127.0.0.1", 179, { localAddress: "203.0.113.77" }, /EADDRNOTAVAIL/],
  ] as const;
  for (const [address, port, options, expected] of sinks) {
    const { sink, seen } = makeSink();
    const transport = connectTcp(address, port, options, sink);
    assert.equal(seen.closed, undefined);
    await until("the reason", () => seen.closed !== undefined);
    assert.match(seen.closed ?? "", expected);
    transport.close();
  }
});

Deno.test("a peer that closes is told once, and one that is refused sees a reset", async () => {
  const { client, peer, near, close } = await connectPair();
  try {
    peer.close();
    await until("the end", () => near.closed !== undefined);
    assert.match(near.closed ?? "", /the peer closed the connection/);
    client.write(Uint8Array.of(1));
  } finally {
    close();
  }
  const server = makeServer();
  const { sink, seen } = makeSink();
  const refused = connectTcp("127.0.0.1", server.port, {}, sink);
  try {
    await until("the connection", () => server.accepted.length === 1);
    server.accepted.forEach(refuseTcp);
    await until("the reset", () => seen.closed !== undefined);
    assert.match(seen.closed ?? "", /ECONNRESET/);
  } finally {
    refused.close();
    server.listener.close();
  }
});

Deno.test("a closed transport hears nothing any more", async () => {
  const { client, peer, near, far, close } = await connectPair();
  try {
    client.close();
    await until("the end", () => far.closed !== undefined);
    peer.write(Uint8Array.of(1, 2));
    assert.equal(near.closed, undefined);
    assert.equal(near.octets, 0);
  } finally {
    close();
  }
});

Deno.test("what the kernel does not take waits, in order, and is reported as taken", async () => {
  const { client, near, far, close } = await connectPair();
  try {
    far.isKeeping = false;
    const chunk = new Uint8Array(65536).fill(7);
    let written = 0;
    while (client.pending === 0 && written < 64 << 20) {
      client.write(chunk);
      written += chunk.length;
    }
    assert.ok(client.pending > 0, "the kernel took everything");
    await until("all octets", () => far.octets === written, 20_000);
    await until("the report", () => near.drained > 0);
    assert.equal(client.pending, 0);
    assert.equal(near.closed, undefined);
  } finally {
    close();
  }
});

Deno.test("what waits when a connection is closed still arrives, although nobody read what came in", async () => {
  const { client, peer, far, close } = await connectPair();
  try {
    far.isKeeping = false;
    peer.write(new Uint8Array(1000));
    const chunk = new Uint8Array(65536);
    let written = 0;
    while (client.pending === 0 && written < 64 << 20) {
      client.write(chunk);
      written += chunk.length;
    }
    client.write(Uint8Array.of(1, 2, 3));
    client.close();
    assert.equal(lingeringConnections(), 1);
    await until("the end", () => far.closed !== undefined);
    assert.equal(far.octets, written + 3);
    assert.match(far.closed ?? "", /the peer closed the connection/);
    assert.equal(lingeringConnections(), 0);
  } finally {
    close();
  }
});

Deno.test("a peer that takes nothing costs a bounded buffer, others nothing, and then its connection", async () => {
  const server = makeServer();
  const stuck = makeSink();
  const client = connectTcp("127.0.0.1", server.port, {}, stuck.sink);
  const lively = await connectPair();
  try {
    // Nobody reads the accepted end.
    await until("the connection", () => stuck.seen.isConnected);
    const chunk = new Uint8Array(65536);
    let most = 0;
    for (let i = 0; i < 1024 && stuck.seen.closed === undefined; i++) {
      client.write(chunk);
      most = Math.max(most, client.pending);
      if (i % 8 === 0) await Promise.resolve();
    }
    assert.match(stuck.seen.closed ?? "", /takes nothing/);
    assert.ok(most <= (4 << 20) + chunk.length, `${most} octets`);
    lively.client.write(Uint8Array.of(5));
    await until("the other's octet", () => lively.far.octets === 1);
  } finally {
    client.close();
    server.listener.close();
    server.accepted.forEach(refuseTcp);
    lively.close();
  }
});

/** Whether a connection to the server comes up with these options, within a second. */
async function comesUp(server: ReturnType<typeof makeServer>, options: TcpOptions): Promise<boolean> {
  const { sink, seen } = makeSink();
  const transport: Transport = connectTcp("127.0.0.1", server.port, options, sink);
  await until("an outcome", () => seen.isConnected || seen.closed !== undefined, 700).catch(() => {});
  transport.close();
  return seen.isConnected;
}

Deno.test({
  name: `TCP MD5 lets in who has the key of its address, and a key can be changed and taken away${
    isRoot ? "" : " (skipped: not root)"
  }`,
  ignore: !isRoot,
  async fn() {
    const server = makeServer();
    try {
      server.listener.setMd5("127.0.0.9", "secret");
      const from = { localAddress: "127.0.0.9" };
      assert.equal(await comesUp(server, { ...from, md5Key: "secret" }), true);
      assert.equal(await comesUp(server, { ...from, md5Key: "another" }), false);
      assert.equal(await comesUp(server, from), false);
      assert.equal(await comesUp(server, {}), true);
      server.listener.setMd5("127.0.0.9", "another");
      assert.equal(await comesUp(server, { ...from, md5Key: "another" }), true);
      server.listener.setMd5("127.0.0.9", undefined);
      assert.equal(await comesUp(server, from), true);
    } finally {
      server.listener.close();
      server.accepted.forEach(refuseTcp);
    }
  },
});

Deno.test("with GTSM what comes with a lower TTL is not heard", async () => {
  const near = await connectPair({ ttl: 255 });
  const far = await connectPair({ ttl: 64 });
  try {
    for (const pair of [near, far]) setHops(pair.one.fd, false, { minTtl: 255 });
    near.client.write(Uint8Array.of(1));
    far.client.write(Uint8Array.of(1));
    await until("the near octet", () => near.far.octets === 1);
    assert.equal(far.far.octets, 0);
  } finally {
    near.close();
    far.close();
  }
});

Deno.test("a port that is taken is an error that names it", () => {
  const server = makeServer();
  try {
    assert.throws(() => listenTcp("127.0.0.1", server.port, () => {}), /bind 127\.0\.0\.1 port \d+.*EADDRINUSE/);
  } finally {
    server.listener.close();
  }
});
