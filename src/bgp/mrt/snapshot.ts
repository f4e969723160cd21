/**
 * The whole table as an MRT TABLE_DUMP_V2: every path of every prefix as its peer announced it (Adj-RIB-In before policy), the
 * host's own routes as those of peer 0.
 *
 * A generator, so that whoever writes the file decides how much of it is made at a time. Each prefix is as it is when its
 * turn comes; what changes between two pieces may be seen or not, as in every dump of a running speaker.
 */

import { ByteWriter } from "../../lib/bytes.ts";
import { Ip } from "../../lib/ip.ts";
import { quad } from "../rib/peer.ts";
import type { RouterCore } from "../rib/router.ts";
import { nlriOctets, ownOctets, setOctets } from "../show/octets.ts";
import { FAMILY_BITS } from "../rib/peer.ts";
import { type MrtEntry, type MrtPeer, putPeerIndex, putRibEntries } from "./record.ts";

/** Octets of a piece, about. */
const PIECE = 64 * 1024;
const FAMILIES = [0, 1] as const;
const ANY_ADDRESS = new Uint8Array(4);

/** Makes the dump piece by piece; each piece is whole records and valid until the next one. `timestamp` in seconds. */
export function* dumpTable(router: RouterCore, timestamp: number): Generator<Uint8Array, void> {
  const out = new ByteWriter(PIECE * 2);
  const { config } = router;
  const index = new Map<number, number>();
  const peers: MrtPeer[] = [{ id: quad(config.routerId), address: ANY_ADDRESS, as: config.localAs }];
  index.set(0, 0);
  for (const peer of router.peers) {
    if (!peer) continue;
    const address = Ip.tryParse(peer.config.address.split("%")[0] ?? "")?.bytes ?? ANY_ADDRESS;
    index.set(peer.id, peers.push({ id: peer.routerId, address, as: peer.config.as }) - 1);
  }
  putPeerIndex(out, timestamp, quad(config.routerId), config.nodeName, peers);
  let sequence = 0;
  for (const family of FAMILIES) {
    const { prefixes, paths } = router.ribs[family];
    for (let prefix = 0; prefix < prefixes.limit; prefix++) {
      if (!prefixes.isLive(prefix)) continue;
      const plain: MrtEntry[] = [], withPathIds: MrtEntry[] = [];
      for (let path = prefixes.head[prefix] ?? -1; path >= 0; path = paths.next[path] ?? -1) {
        const id = paths.peer[path] ?? 0;
        const peerIndex = index.get(id);
        if (peerIndex === undefined) continue;
        const octets = id === 0 ? ownOctets(family) : setOctets(router.store, paths.received[path] ?? 0);
        // Octets of the store may move when it decodes the next set.
        const entry = { peerIndex, originated: timestamp, raw: octets.raw.slice(), nextHop: octets.nextHop.slice() };
        const addPath = router.peers[id]?.session?.wire.addPathReceive ?? 0;
        if (addPath & FAMILY_BITS[family]) withPathIds.push({ ...entry, pathId: paths.pathId[path] });
        else plain.push(entry);
      }
      const nlri = nlriOctets(prefixes, prefix);
      for (const entries of [plain, withPathIds]) {
        if (entries.length > 0) putRibEntries(out, timestamp, sequence++, family === 1, nlri, entries);
      }
      if (out.length < PIECE) continue;
      yield out.view();
      out.clear();
    }
  }
  if (out.length > 0) yield out.view();
}
