/**
 * No speaker at all: it answers OPEN with OPEN and copies UPDATE messages to all other connections as they are. What the
 * load measures of it is the limit of the load: `deno run -A bench/bgp/null.ts` in the speaker's namespace.
 */

import { NO_CAPABILITIES } from "../../src/bgp/wire/capability.ts";
import { encodeKeepalive } from "../../src/bgp/wire/frame.ts";
import { encodeOpen } from "../../src/bgp/wire/open.ts";
import { adoptTcp, listenTcp } from "../../src/linux/tcp_socket.ts";
import type { Transport } from "../../src/bgp/transport.ts";
import { AS, SPEAKER } from "./scene.ts";

const HEADER = 19;
const OPEN = 1, UPDATE = 2;
const PIECE = 128 * 1024;
const connections = new Set<{ transport: Transport; backlog: Uint8Array[] }>();

listenTcp(SPEAKER, 179, (accepted) => {
  const buffer = new Uint8Array(PIECE);
  let start = 0, end = 0;
  const me = { transport: undefined as unknown as Transport, backlog: [] as Uint8Array[] };
  me.transport = adoptTcp(accepted, {
    connected() {},
    room() {
      buffer.copyWithin(0, start, end);
      end -= start;
      start = 0;
      return buffer.subarray(end);
    },
    received(octets) {
      end += octets;
      let run = start;
      while (end - start >= HEADER) {
        const length = buffer[start + 16]! << 8 | buffer[start + 17]!;
        if (end - start < length) break;
        const type = buffer[start + 18];
        if (type !== UPDATE) {
          copy(buffer.subarray(run, start));
          run = start + length;
        }
        if (type === OPEN) {
          const capabilities = { ...NO_CAPABILITIES, families: 1, as4: AS };
          me.transport.write(encodeOpen({ as: AS, holdTime: 180, id: 0x0a620001, capabilities }));
          me.transport.write(encodeKeepalive());
        }
        start += length;
      }
      copy(buffer.subarray(run, start));
    },
    writable() {
      while (me.transport.pending === 0 && me.backlog.length > 0) me.transport.write(me.backlog.shift()!);
    },
    closed: () => void connections.delete(me),
  });
  connections.add(me);

  function copy(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    for (const other of connections) {
      if (other === me) continue;
      if (other.backlog.length > 0 || other.transport.pending > 0) other.backlog.push(bytes.slice());
      else other.transport.write(bytes);
    }
  }
});
