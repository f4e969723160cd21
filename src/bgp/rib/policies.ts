/**
 * The policies in force: prefix classes, importers and exporters, each shared by all peers of equal policy.
 *
 * Conditions on prefixes come with the policies that ask for them; `takeChanged` of the classes tells when prefixes have to
 * be put into their classes again.
 */

import type { PeerConfig, SpeakerConfig } from "../config.ts";
import { exportPolicy, importPolicy } from "../filter/calico.ts";
import { RouteDraft } from "../filter/draft.ts";
import { PrefixClasses } from "../filter/prefix_classes.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { Exporter } from "./exporter.ts";
import { Importer } from "./import.ts";
import type { SessionFacts } from "./interface.ts";
import { PathNames } from "./path_names.ts";
import { clusterIdOf, exportFacts, FAMILY_BITS, groupKey, type PeerState, quad } from "./peer.ts";
import type { PrefixTable } from "./prefix_table.ts";

/** Importers or policies of both families. */
type Both<T> = readonly [T, T];

/** All policies of one configuration. */
export class Policies {
  classes: Both<PrefixClasses> = [new PrefixClasses(4), new PrefixClasses(6)];
  readonly exporters = new Map<string, Exporter>();
  readonly #importers = new Map<string, Both<Importer>>();
  /** What peers with ADD-PATH know paths by. */
  readonly names: Both<PathNames>;
  readonly #draft: RouteDraft;

  constructor(readonly store: AttributeStore, readonly prefixes: Both<PrefixTable>) {
    this.names = [new PathNames(prefixes[0]), new PathNames(prefixes[1])];
    this.#draft = new RouteDraft(store);
  }

  /** Begins anew for a changed configuration: no conditions, no importers; exporters stay, to be recompiled. */
  reset(): void {
    this.classes = [new PrefixClasses(4), new PrefixClasses(6)];
    this.#importers.clear();
  }

  importersFor(config: SpeakerConfig, peer: PeerConfig, session: SessionFacts): Both<Importer> {
    const facts = {
      localAs: session.localAs,
      allowLocalAs: peer.allowLocalAs,
      routerId: quad(config.routerId),
      clusterId: clusterIdOf(config, peer),
      isExternal: !session.wire.isInternal && !session.wire.isConfederation,
      ...(peer.role && !session.wire.isInternal ? { role: peer.role } : {}),
      peerAs: peer.role && !session.wire.isInternal ? session.wire.peerAs : 0,
    };
    const key = JSON.stringify([facts, peer.importFilters, peer.isSameAs]);
    const known = this.#importers.get(key);
    if (known) return known;
    const make = (family: 0 | 1) =>
      new Importer(this.store, facts, importPolicy(config, peer, this.classes[family]), this.#draft);
    const importers = [make(0), make(1)] as const;
    this.#importers.set(key, importers);
    return importers;
  }

  /** The group that tells the peer's like, made when it is the first of its kind. */
  exporterFor(config: SpeakerConfig, peer: PeerConfig, session: SessionFacts): { exporter: Exporter; isNew: boolean } {
    const facts = exportFacts(config, peer, session);
    const key = groupKey(peer, facts, session);
    const known = this.exporters.get(key);
    if (known) return { exporter: known, isNew: false };
    const policies = this.#exportPolicies(config, peer);
    const { wire } = session;
    const tableOf = (family: 0 | 1) =>
      wire.addPathSend & FAMILY_BITS[family] ? this.names[family] : this.prefixes[family];
    const tables = [tableOf(0), tableOf(1)] as const;
    const exporter = new Exporter(key, facts, wire, this.store, tables, policies, this.#draft);
    this.exporters.set(key, exporter);
    return { exporter, isNew: true };
  }

  /** Gives the exporter of the peer the policy of this configuration. */
  recompile(config: SpeakerConfig, peer: PeerState): void {
    if (!peer.exporter) return;
    peer.exporter.clear();
    peer.exporter.policies = this.#exportPolicies(config, peer.config);
  }

  /** Forgets all results, after something that policies look at has changed. */
  clearResults(): void {
    for (const exporter of this.exporters.values()) exporter.clear();
    for (const importers of this.#importers.values()) for (const importer of importers) importer.clear();
  }

  /** The class of a prefix of the family (0: IPv4, 1: IPv6). */
  classOf(family: 0 | 1, prefix: number): number {
    const { w0, w1, w2, w3, length } = this.prefixes[family];
    return family === 0
      ? this.classes[0].classOf(w0[prefix]!, 0, 0, 0, length[prefix]!)
      : this.classes[1].classOf(w0[prefix]!, w1[prefix]!, w2[prefix]!, w3[prefix]!, length[prefix]!);
  }

  /** Puts all prefixes into their classes, if conditions have come since the last time. */
  classify(): void {
    let isChanged = false;
    for (const family of [0, 1] as const) {
      if (!this.classes[family].takeChanged()) continue;
      isChanged = true;
      const prefixes = this.prefixes[family];
      for (let prefix = 0; prefix < prefixes.limit; prefix++) {
        if (prefixes.isLive(prefix)) prefixes.class[prefix] = this.classOf(family, prefix);
      }
    }
    if (isChanged) this.clearResults();
  }

  #exportPolicies(config: SpeakerConfig, peer: PeerConfig) {
    return [exportPolicy(config, peer, this.classes[0]), exportPolicy(config, peer, this.classes[1])] as const;
  }
}
