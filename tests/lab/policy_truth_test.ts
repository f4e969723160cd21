/**
 * The truth of policy: random worlds of policies stand in a real kernel, real packets try to get through, and what came of
 * them is what the reference evaluator says, and `explain` where both ends are workloads.
 */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { FirewallReconciler } from "../../src/dataplane/firewall_reconciler.ts";
import type { AnyResource } from "../../src/model/resources/mod.ts";
import { PolicyEngine, type PolicyKind, policyKinds } from "../../src/policy/engine.ts";
import { explain } from "../../src/policy/explain/explain.ts";
import { systemClock } from "../../src/store/expiry.ts";
import { addresses, world } from "../unit/policy/arbitraries.ts";
import { evaluateTrip, type TestPacket, type Trip } from "../unit/policy/evaluator.ts";
import { give, keyOf, resourcesOf } from "../unit/policy/scene.ts";
import { inside, isRoot, makePolicyLab } from "./policy_lab.ts";
import { openPorts, type Prober, startProber } from "./policy_probes.ts";

interface Probe {
  readonly from: number;
  readonly to: number;
  readonly isV6: boolean;
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly port: number;
}

const places = [0, 1, 2, 4, 5];
const probes: readonly Probe[] = places.flatMap((from) =>
  places.filter((to) => to !== from && Math.min(from, to) < 5).flatMap((to) =>
    [false, true].flatMap((isV6) => [
      ...openPorts.map((port) => ({ from, to, isV6, protocol: "tcp" as const, port })),
      ...[53, 80, 443].map((port) => ({ from, to, isV6, protocol: "udp" as const, port })),
      { from, to, isV6, protocol: "icmp" as const, port: 0 },
    ])
  )
);

function packetOf({ from, to, isV6, protocol, port }: Probe): { packet: TestPacket; trip: Trip } {
  const list = isV6 ? addresses.v6 : addresses.v4;
  const interfaceOf = (place: number) => place < 3 ? `caliw${place}` : "eth0";
  const packet: TestPacket = {
    source: list[from] ?? "",
    destination: list[to] ?? "",
    protocol: protocol === "tcp" ? 6 : protocol === "udp" ? 17 : isV6 ? 58 : 1,
    ...protocol === "icmp" ? { icmpType: isV6 ? 128 : 8, icmpCode: 0 } : { sourcePort: 49152, destinationPort: port },
  };
  return {
    packet,
    trip: { ...from === 4 ? {} : { in: interfaceOf(from) }, ...to === 4 ? {} : { out: interfaceOf(to) } },
  };
}

/** What stands in the kernel for replies is not tracked where a policy says so; such policies judge each way by itself. */
const isTracked = (resource: AnyResource) => resource.kind !== "GlobalNetworkPolicy" || !resource.spec.doNotTrack;

Deno.test({
  name: "random policies let through in the kernel what the reference evaluator and explain allow, and nothing else",
  ignore: !isRoot,
  fn: async () => {
    const seed = Number(Deno.env.get("POLICY_SEED") ?? Date.now() % 0x7fffffff);
    const count = Number(Deno.env.get("POLICY_WORLDS") ?? 12);
    console.log(`      POLICY_SEED=${seed} POLICY_WORLDS=${count}`);
    const lab = makePolicyLab();
    const probers = new Map<number, Prober>();
    try {
      await Promise.all([...lab.places].map(async ([place, name]) => void probers.set(place, await startProber(name))));
      const reconciler = new FirewallReconciler(lab.firewall, systemClock);
      const engine = new PolicyEngine("a");
      let before: readonly AnyResource[] = [];
      const seen = { allow: 0, deny: 0 };
      for (const [i, drawn] of fc.sample(world, { seed, numRuns: count }).entries()) {
        const resources = drawn.filter(isTracked);
        moveTo(engine, before, resources);
        before = resources;
        reconciler.desire(engine.ruleset());
        await reconciler.apply({ mayRemove: true });
        assert.deepEqual(reconciler.failures().map(({ error }) => error.message), [], `world ${i} of seed ${seed}`);
        const chosen = fc.sample(fc.shuffledSubarray([...probes], { minLength: 60, maxLength: 60 }), {
          seed: seed + i,
          numRuns: 1,
        })[0] ?? [];
        const tried = await Promise.all(chosen.map(async (probe) => {
          const { packet, trip } = packetOf(probe);
          const expected = evaluateTrip(resources, "a", trip, packet);
          const attempt = { protocol: probe.protocol, to: packet.destination, port: probe.port };
          let isThrough = await probers.get(probe.from)?.try({ ...attempt, patience: 500 });
          // A busy machine may answer late; what is denied never answers.
          if (!isThrough && expected === "allow") {
            isThrough = await probers.get(probe.from)?.try({ ...attempt, patience: 4000 });
          }
          return { probe, packet, trip, expected, isThrough };
        }));
        for (const { packet, trip, expected, isThrough } of tried) {
          seen[expected]++;
          const what = `world ${i} of seed ${seed}: ${JSON.stringify({ packet, trip })}`;
          assert.equal(isThrough ? "allow" : "deny", expected, what);
          if (!trip.in?.startsWith("cali") || !trip.out?.startsWith("cali")) continue;
          const noHosts = resources.filter(({ kind }) => kind !== "HostEndpoint");
          const { verdict } = explain(resourcesOf(noHosts), {
            from: packet.source,
            to: packet.destination,
            protocol: packet.protocol,
            ...packet.destinationPort === undefined ? {} : { port: packet.destinationPort, sourcePort: 49152 },
          });
          assert.equal(verdict, evaluateTrip(noHosts, "a", trip, packet), what);
        }
        // Debian's nft reads back every chain that we meant to write.
        const listed = inside(lab.host, "nft", "list", "table", "inet", "tortie");
        for (const name of engine.ruleset().tables[0]?.chains.keys() ?? []) {
          assert.ok(listed.includes(`chain ${name} {`), `${name} is not listed`);
        }
      }
      console.log(`      ${seen.allow} allowed, ${seen.deny} denied`);
      assert.ok(seen.allow > 0 && seen.deny > 0, `hardly a choice was made: ${JSON.stringify(seen)}`);
    } finally {
      await Promise.all([...probers.values()].map((prober) => prober.stop()));
      lab.close();
    }
  },
});

function moveTo(engine: PolicyEngine, before: readonly AnyResource[], next: readonly AnyResource[]): void {
  const id = (resource: AnyResource) => `${resource.kind} ${keyOf(resource)}`;
  const wanted = new Set(next.map(id));
  for (const old of before) {
    const kind = policyKinds.find((kind) => kind === old.kind) as PolicyKind | undefined;
    if (kind && !wanted.has(id(old))) engine.set(kind, keyOf(old), undefined);
  }
  for (const resource of next) give(engine, resource);
}
