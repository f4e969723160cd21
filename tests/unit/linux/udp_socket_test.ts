/** UDP sockets on the loopback of the real kernel: what comes with a datagram, and what an error costs. */

import assert from "node:assert/strict";
import { connectUdp, type Datagram, receiveUdp } from "../../../src/linux/udp_socket.ts";
import { formatAddress } from "../../../src/linux/tcp_address.ts";
import { SyscallError } from "../../../src/linux/libc.ts";

const HOSTS = [[4, "127.0.0.1"], [6, "::1"]] as const;
const PORT = 53784;

async function until(isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 5_000; !isTrue();) {
    if (performance.now() > end) assert.fail("nothing came");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (const [family, host] of HOSTS) {
  Deno.test(`a datagram over IPv${family} tells its TTL, both addresses, the interface and the port`, async () => {
    const got: Datagram[] = [];
    const receiver = receiveUdp(family, PORT, (datagram) => got.push({ ...datagram, bytes: datagram.bytes.slice() }));
    const sender = connectUdp(host, PORT, { localAddress: host, localPort: 50_123, ttl: 254 });
    try {
      assert.ok(sender.send(Uint8Array.of(1, 2, 3)));
      await until(() => got.length === 1);
      const [datagram] = got;
      assert.deepEqual(datagram?.bytes, Uint8Array.of(1, 2, 3));
      assert.equal(datagram?.ttl, 254);
      assert.equal(formatAddress(datagram?.from.address ?? new Uint8Array(0)), host);
      assert.equal(formatAddress(datagram?.to ?? new Uint8Array(0)), host);
      assert.equal(datagram?.from.port, 50_123);
      assert.ok((datagram?.ifindex ?? 0) > 0);
    } finally {
      sender.close();
      receiver.close();
    }
  });
}

Deno.test("what waits in a socket is handed over at once, in order, when it is asked for", () => {
  const got: number[] = [];
  const receiver = receiveUdp(4, PORT, ({ bytes }) => got.push(bytes[0] ?? -1));
  const sender = connectUdp("127.0.0.1", PORT, {});
  try {
    for (let i = 0; i < 50; i++) sender.send(Uint8Array.of(i));
    receiver.drain();
    assert.deepEqual(got, Array.from({ length: 50 }, (_, i) => i));
  } finally {
    sender.close();
    receiver.close();
  }
});

Deno.test("a datagram that is too long is dropped, the next one is not", () => {
  const got: number[] = [];
  const receiver = receiveUdp(4, PORT, ({ bytes }) => got.push(bytes.length));
  const sender = connectUdp("127.0.0.1", PORT, {});
  try {
    sender.send(new Uint8Array(1501));
    sender.send(new Uint8Array(1500));
    sender.send(new Uint8Array(0));
    receiver.drain();
    assert.deepEqual(got, [1500, 0]);
  } finally {
    sender.close();
    receiver.close();
  }
});

Deno.test("an earlier port-unreachable does not cost the next packet", async () => {
  const sender = connectUdp("127.0.0.1", PORT, {});
  try {
    assert.ok(sender.send(Uint8Array.of(1)));
    const got: number[] = [];
    const receiver = receiveUdp(4, PORT, ({ bytes }) => got.push(bytes[0] ?? -1));
    try {
      assert.ok(sender.send(Uint8Array.of(2)));
      await until(() => got.length === 1);
      assert.deepEqual(got, [2]);
    } finally {
      receiver.close();
    }
  } finally {
    sender.close();
  }
});

Deno.test("a taken port is an error with its code, and leaves no descriptor open", () => {
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  const receiver = receiveUdp(4, PORT, () => {});
  const open = [...Deno.readDirSync("/proc/self/fd")].length;
  try {
    assert.throws(
      () => receiveUdp(4, PORT, () => {}),
      (error) => error instanceof SyscallError && error.code === "EADDRINUSE",
    );
    assert.throws(() => connectUdp("203.0.113.1", 9, { localAddress: "203.0.113.2" }), SyscallError);
    assert.equal([...Deno.readDirSync("/proc/self/fd")].length, open);
  } finally {
    receiver.close();
  }
  assert.ok(open > before);
});
