/** What the service manager hears (sd_notify), read from a real datagram socket at a path and at an abstract name. */

import assert from "node:assert/strict";
import { makeNotifier } from "../../../src/agent/notify.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { cstring, libc } from "../../../src/linux/libc.ts";

const AF_UNIX = 1, SOCK_DGRAM = 2, MSG_DONTWAIT = 0x40;

/** A datagram socket bound to the path; `read` takes one waiting datagram. */
function listen(path: string) {
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM, 0);
  const name = cstring(path);
  if (name[0] === 0x40) name[0] = 0;
  const address = new Uint8Array(2 + name.length - (path.startsWith("@") ? 1 : 0));
  address[0] = AF_UNIX;
  address.set(name.subarray(0, address.length - 2), 2);
  assert.equal(libc().bind(fd, address, address.length), 0);
  const buffer = new Uint8Array(1024);
  return {
    read: () => {
      const size = libc().recv(fd, buffer, buffer.length, MSG_DONTWAIT);
      return size < 0 ? undefined : new TextDecoder().decode(buffer.subarray(0, size));
    },
    close: () => void libc().close(fd),
  };
}

for (const kind of ["a path", "an abstract name"]) {
  Deno.test(`the service manager is told at ${kind} of ready, stopping and being alive`, async () => {
    const directory = await Deno.makeTempDir();
    const socket = kind === "a path" ? `${directory}/notify` : `@tortie-test-${Deno.pid}`;
    const manager = listen(socket);
    const clock = new FakeClock();
    try {
      const notifier = makeNotifier({ socket, watchdogUsec: "2000000", clock });
      notifier.ready("2 workloads");
      assert.equal(manager.read(), "READY=1\nSTATUS=2 workloads");
      let isAlive = true;
      notifier.watchdog(() => isAlive);
      assert.equal(manager.read(), "WATCHDOG=1");
      clock.advance(1_000);
      assert.equal(manager.read(), "WATCHDOG=1");
      isAlive = false;
      clock.advance(1_000);
      assert.equal(manager.read(), undefined);
      notifier.stopping();
      assert.equal(manager.read(), "STOPPING=1");
      notifier.close();
      assert.equal(clock.pending, 0);
    } finally {
      manager.close();
      await Deno.remove(directory, { recursive: true });
    }
  });
}

Deno.test("without a socket, or with one that nobody reads, nothing happens", () => {
  const clock = new FakeClock();
  const quiet = makeNotifier({ socket: undefined, watchdogUsec: "1000", clock });
  quiet.ready("");
  quiet.watchdog(() => true);
  assert.equal(clock.pending, 0);
  assert.doesNotThrow(() => makeNotifier({ socket: "/nowhere/at/all", watchdogUsec: undefined, clock }).ready(""));
});

Deno.test("a manager that does not read holds nobody up", async () => {
  const directory = await Deno.makeTempDir();
  const manager = listen(`${directory}/notify`);
  try {
    const notifier = makeNotifier({ socket: `${directory}/notify`, watchdogUsec: undefined, clock: new FakeClock() });
    // More than any queue holds (net.unix.max_dgram_qlen): a send that waited would never come back.
    for (let i = 0; i < 2_000; i++) notifier.status(`${i}`);
    assert.equal(manager.read(), "STATUS=0");
  } finally {
    manager.close();
    await Deno.remove(directory, { recursive: true });
  }
});
