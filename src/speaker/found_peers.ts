/**
 * Peers that the configuration does not name by address: callers from a prefix (dynamic neighbours), and the router at the
 * other end of a link (unnumbered peers, RFC 8950 and router advertisements).
 *
 *   template ── a caller from its prefix ──────────────────> peer "name.address", gone GONE_AFTER its session ended
 *            └─ an advertisement or a caller on its link ──> peer "name" at "fe80::…%eth1", another when another is heard
 *
 * In: the configuration, callers, advertisements. Out: the configuration with the peers found, by `changed`. How many a
 * template may have is bounded, so that a scan of the prefix cannot fill the tables.
 */

import type { PeerConfig, SpeakerConfig } from "../bgp/config.ts";
import { Cidr } from "../lib/cidr.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import { discoverRouters, type RouterDiscovery } from "../linux/router_advertisement.ts";

const MAX_DYNAMIC = 256;
const LOOK_INTERVAL = 5_000;
const GONE_AFTER = 30_000;
const ADVERT_INTERVAL = 10_000;
const FIRST_ADVERT_INTERVAL = 1_000;
const FIRST_ADVERTS = 3;
/** An answer to a solicitation may be so soon after the last advertisement. */
const ANSWER_INTERVAL = 500;
const RETRY_INTERVAL = 5_000;

/** A template whose peers are found at run time. */
export function isTemplate(peer: PeerConfig): boolean {
  return peer.interface !== undefined || peer.dynamicNeighbours !== undefined;
}

/** The peers found. */
export interface FoundPeers {
  /** Takes a configuration; gives it with the peers found in place of the templates. */
  expand(config: SpeakerConfig): SpeakerConfig;
  /** Somebody without a peer connects: whether there is one for it now. */
  welcome(address: Uint8Array, ifindex: number): boolean;
  /** Unnumbered peers that have no neighbour yet, each with the reason. */
  readonly waiting: readonly { readonly peer: PeerConfig; readonly reason: string }[];
  close(): void;
}

/** What it needs of the speaker. */
export interface FoundPeersParts {
  readonly clock: Clock;
  readonly log: Log;
  /** The peers found have changed: expand and apply the configuration again. */
  changed(): void;
  isEstablished(name: string): boolean;
}

interface Link {
  discovery: RouterDiscovery | undefined;
  problem: string;
  sent: number;
  sentAt: number;
  timer: Cancel | undefined;
  /** The neighbour's address, with the interface behind it. */
  neighbour: string | undefined;
}

/** Makes an empty set. */
export function makeFoundPeers({ clock, log, changed, isEstablished }: FoundPeersParts): FoundPeers {
  let templates: readonly PeerConfig[] = [];
  /** By name: the address, of which template, and when it was last seen Established. */
  const dynamic = new Map<string, { readonly address: string; readonly template: string; seen: number }>();
  const links = new Map<string, Link>();
  let look: Cancel | undefined;
  let isClosed = false;

  const advertise = (name: string, link: Link) => {
    link.timer?.();
    if (isClosed) return;
    if (!link.discovery) open(name, link);
    if (link.discovery) {
      link.sentAt = clock.monotonic();
      link.problem = link.discovery.advertise() ? "" : `cannot send router advertisements on ${name}`;
      link.sent++;
    }
    const isEarly = link.sent < FIRST_ADVERTS;
    const wait = !link.discovery ? RETRY_INTERVAL : isEarly ? FIRST_ADVERT_INTERVAL : ADVERT_INTERVAL;
    link.timer = clock.after(wait, () => advertise(name, link));
  };

  const open = (name: string, link: Link) => {
    try {
      link.discovery = discoverRouters(
        name,
        (address) => meet(name, address),
        () => {
          if (clock.monotonic() - link.sentAt > ANSWER_INTERVAL) advertise(name, link);
        },
      );
      link.problem = "";
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== link.problem) log.warn("Cannot look for an unnumbered peer", { interface: name, error: problem });
      link.problem = problem;
    }
  };

  /** A neighbour of a link; another one is taken when the session with the first has ended. */
  const meet = (name: string, address: Uint8Array): boolean => {
    const link = links.get(name);
    const text = `${Ip.fromBytes(address)}%${name}`;
    if (!link || link.neighbour === text) return link !== undefined;
    const peers = templates.filter((peer) => peer.interface === name);
    if (link.neighbour !== undefined && peers.some((peer) => isEstablished(peer.name))) return false;
    link.neighbour = text;
    log.info("Found the neighbour of an unnumbered peer", { interface: name, address: text });
    changed();
    return true;
  };

  const lookForGone = () => {
    look = undefined;
    const now = clock.monotonic();
    let isChanged = false;
    for (const [name, peer] of dynamic) {
      if (isEstablished(name)) peer.seen = now;
      else if (now - peer.seen > GONE_AFTER) isChanged = dynamic.delete(name);
    }
    if (isChanged) changed();
    watch();
  };
  const watch = () => {
    if (dynamic.size > 0 && !isClosed) look ??= clock.after(LOOK_INTERVAL, lookForGone);
  };

  return {
    expand(config) {
      templates = config.peers.filter(isTemplate);
      const named = new Map(templates.map((peer) => [peer.name, peer]));
      for (const [name, { template, address }] of dynamic) {
        if (!isMeant(named.get(template), Ip.parse(address))) dynamic.delete(name);
      }
      const interfaces = new Set(templates.flatMap((peer) => peer.interface ?? []));
      for (const [name, link] of links) {
        if (interfaces.has(name)) continue;
        link.timer?.();
        link.discovery?.close();
        links.delete(name);
      }
      for (const name of interfaces) {
        if (links.has(name)) continue;
        const link: Link = {
          discovery: undefined,
          problem: "",
          sent: 0,
          sentAt: -Infinity,
          timer: undefined,
          neighbour: undefined,
        };
        links.set(name, link);
        advertise(name, link);
      }
      const found = [...dynamic].flatMap(([name, { template, address }]) => {
        const peer = named.get(template);
        return peer ? [{ ...peer, name, address, passive: true, dynamicNeighbours: undefined }] : [];
      });
      const unnumbered = templates.flatMap((peer) => {
        const address = peer.interface === undefined ? undefined : links.get(peer.interface)?.neighbour;
        return address === undefined ? [] : [{ ...peer, address }];
      });
      return { ...config, peers: [...config.peers.filter((peer) => !isTemplate(peer)), ...unnumbered, ...found] };
    },
    welcome(address, ifindex) {
      if (ifindex !== 0) {
        for (const [name, { discovery }] of links) if (discovery?.ifindex === ifindex) return meet(name, address);
        return false;
      }
      const ip = Ip.fromBytes(address);
      const template = templates.find((peer) => isMeant(peer, ip));
      if (!template) return false;
      const name = `${template.name}.${ip}`;
      const known = dynamic.has(name);
      if (!known && [...dynamic.values()].filter((peer) => peer.template === template.name).length >= MAX_DYNAMIC) {
        log.warn("Too many dynamic neighbours", { peer: template.name, most: MAX_DYNAMIC });
        return false;
      }
      if (known) return true;
      dynamic.set(name, { address: ip.toString(), template: template.name, seen: clock.monotonic() });
      changed();
      watch();
      return true;
    },
    get waiting() {
      return templates.flatMap((peer) => {
        const link = peer.interface === undefined ? undefined : links.get(peer.interface);
        if (!link || link.neighbour !== undefined) return [];
        return [{ peer, reason: link.problem || `no router advertisement heard on ${peer.interface} yet` }];
      });
    },
    close() {
      isClosed = true;
      look?.();
      for (const link of links.values()) {
        link.timer?.();
        link.discovery?.close();
      }
    },
  };
}

function isMeant(template: PeerConfig | undefined, ip: Ip): boolean {
  return template?.dynamicNeighbours?.some((text) => {
    const cidr = Cidr.tryParse(text);
    return cidr !== undefined && cidr.family === ip.family && cidr.contains(ip);
  }) ?? false;
}
