/**
 * From resources to rules in the kernel: 1,000 workloads and 1,000 policies programmed at once, beside `nft -f` loading the
 * same ruleset as text; then one workload more, one policy changed, and a label change that moves 10,000 members of a set.
 * Needs root; everything happens in a network namespace of its own.
 *
 *   deno run -A bench/policy_program.ts
 */

import { FirewallReconciler } from "../src/dataplane/firewall_reconciler.ts";
import { createNamespace, deleteNamespace } from "../src/linux/namespace.ts";
import { openFirewall } from "../src/linux/nftables.ts";
import { API_VERSION } from "../src/model/resource.ts";
import type { GlobalNetworkPolicy, Profile, WorkloadEndpoint } from "../src/model/resources/mod.ts";
import { printRuleset } from "../src/netlink/nft/print.ts";
import { PolicyEngine } from "../src/policy/engine.ts";
import { systemClock } from "../src/store/expiry.ts";

const count = 1_000, moved = 10_000;

const address = (i: number) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;

function endpoint(i: number, node = "a", profiles: readonly string[] = []): WorkloadEndpoint {
  return {
    kind: "WorkloadEndpoint",
    apiVersion: API_VERSION,
    metadata: { name: `${node}-tortie-w${i}-eth0`, namespace: "default", labels: { app: `app${i % 100}` } },
    spec: {
      orchestrator: "tortie",
      node,
      workload: `w${i}`,
      endpoint: "eth0",
      interfaceName: `cali${i}`,
      ipNetworks: [`${address(i)}/32`],
      profiles,
    },
  };
}

function policy(i: number, port = 80): GlobalNetworkPolicy {
  return {
    kind: "GlobalNetworkPolicy",
    apiVersion: API_VERSION,
    metadata: { name: `p${i}` },
    spec: {
      tier: "default",
      order: i,
      types: ["Ingress", "Egress"],
      selector: `app == "app${i % 100}"`,
      ingress: [{
        action: "Allow",
        protocol: "TCP",
        source: { selector: i === 0 ? 'group == "one"' : `app == "app${(i * 7) % 100}"` },
        destination: { ports: [port] },
      }],
      egress: [{ action: "Allow" }],
    },
  };
}

const fleet = (group: string): Profile => ({
  kind: "Profile",
  apiVersion: API_VERSION,
  metadata: { name: "fleet" },
  spec: { labelsToApply: { group } },
});

const namespace = `ttQ-bench-${Deno.pid}`, other = `${namespace}-nft`;
createNamespace(namespace);
createNamespace(other);
const firewall = openFirewall(namespace);
const file = Deno.makeTempFileSync({ suffix: ".nft" });
try {
  const engine = new PolicyEngine("a"), reconciler = new FirewallReconciler(firewall, systemClock);
  const program = async (change: () => void) => {
    const start = performance.now();
    change();
    reconciler.desire(engine.ruleset());
    const computed = performance.now() - start;
    const commands = await reconciler.apply({ mayRemove: true });
    const [failure] = reconciler.failures();
    if (failure) throw failure.error;
    return { ms: performance.now() - start, computed, commands };
  };
  const show = (what: string, { ms, computed, commands }: Awaited<ReturnType<typeof program>>) =>
    console.log(
      `${ms.toFixed(1).padStart(9)} ms (${computed.toFixed(1)} ms of it computing), ${commands} commands: ${what}`,
    );
  engine.set("Profile", "fleet", fleet("none"));
  for (let i = 0; i < moved; i++) {
    engine.set("WorkloadEndpoint", `default/far${i}`, endpoint(100_000 + i, "b", ["fleet"]));
  }
  const first = await program(() => {
    for (let i = 0; i < count; i++) engine.set("WorkloadEndpoint", `default/w${i}`, endpoint(i));
    for (let i = 0; i < count; i++) engine.set("GlobalNetworkPolicy", `p${i}`, policy(i));
  });
  show(`${count} workloads and ${count} policies at once`, first);
  Deno.writeTextFileSync(file, printRuleset(engine.ruleset()));
  const start = performance.now();
  const { code, stderr } = new Deno.Command("ip", { args: ["netns", "exec", other, "nft", "-f", file] }).outputSync();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  const nft = performance.now() - start;
  console.log(`${nft.toFixed(1).padStart(9)} ms: nft -f of the same ruleset`);
  for (let i = 0; i < 3; i++) {
    show(
      "one workload more",
      await program(() => engine.set("WorkloadEndpoint", `default/w${count + i}`, endpoint(count + i))),
    );
  }
  for (let i = 0; i < 3; i++) {
    show(
      "one policy changed",
      await program(() => engine.set("GlobalNetworkPolicy", "p7", policy(7, 1000 + i))),
    );
  }
  const in10 = await program(() => engine.set("Profile", "fleet", fleet("one")));
  show(`${moved} members into a set`, in10);
  const out10 = await program(() => engine.set("Profile", "fleet", fleet("none")));
  show(`${moved} members out of a set`, out10);
  console.log(
    `goal: first programming under 2 s and faster than nft -f: ${
      first.ms < 2000 && first.ms < nft ? "met" : "missed"
    } (${(nft / first.ms).toFixed(2)} times as fast)`,
  );
  console.log(`goal: ${moved} members moved under 100 ms: ${Math.max(in10.ms, out10.ms) < 100 ? "met" : "missed"}`);
} finally {
  Deno.removeSync(file);
  firewall.close();
  deleteNamespace(namespace);
  deleteNamespace(other);
}
