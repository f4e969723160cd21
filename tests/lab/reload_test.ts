/** Edits of the configuration file of a running node: what they name changes, and nothing else is touched. */

import assert from "node:assert/strict";
import { until } from "../../src/lab/lab.ts";
import { type TwoHosts, withTwoHosts } from "./two_hosts.ts";

const isRoot = Deno.uid() === 0;

/** Takes the document of that name out of a multi-document file. */
function without(text: string, name: string): string {
  const documents = text.split("---\n");
  const left = documents.filter((each) => !each.includes(`metadata: { name: ${name} }`));
  assert.equal(left.length, documents.length - 1, `the file has ${name}`);
  return left.join("---\n");
}

/** When each session of a came up, by name; those that are not up say their state. */
async function sessions(lab: TwoHosts): Promise<Record<string, string>> {
  const peers = await lab.api("a").bgp.peers();
  return Object.fromEntries(
    peers.map(({ name, state, since }) => [name, state === "Established" ? String(since) : state]),
  );
}

Deno.test({
  name: `an edit of the configuration file changes what it names and no other session, route or workload${
    isRoot ? "" : " (skipped: needs root)"
  }`,
  ignore: !isRoot,
  fn: (t) =>
    withTwoHosts(async (lab) => {
      const api = lab.api("a");
      const one = await api.workloads.attach({ name: "a-one", netns: lab.namespace("a-one") });
      await lab.api("b").workloads.attach({ name: "b-one", netns: lab.namespace("b-one") });
      await lab.sessions();
      const file = lab.config("a");
      const original = await Deno.readTextFile(file);
      const before = await sessions(lab);
      const routes = await lab.run("a", "ip -4 route") + await lab.run("a", "ip -6 route");
      const others = (now: Record<string, string>, but: RegExp) =>
        Object.fromEntries(Object.entries(now).filter(([name]) => !but.test(name)));

      await t.step("a peer that leaves the file loses its session, the others keep theirs", async () => {
        await Deno.writeTextFile(file, without(original, "tor2-v4"));
        await until("the session is gone", 5_000, async () =>
          !Object.keys(await sessions(lab)).some((name) =>
            /tor2-v4/.test(name)
          ));
        assert.deepEqual(await sessions(lab), others(before, /tor2-v4/));
        await until("the router has seen it", 5_000, async () =>
          !/Established/.test(await lab.birdc("tor2", "show", "protocols", "a_ipv4")));
        // Its graceful restart must not keep a route to a peer that we were told to forget.
        await lab.shows(
          "a",
          "ip -4 route show 10.99.0.0/16",
          /^10\.99\.0\.0\/16 via 192\.168\.100\.1 dev eth0/m,
          2_000,
        );
      });

      await t.step("and has one again when it is back", async () => {
        await Deno.writeTextFile(file, original);
        await until("it is established", 30_000, async () => {
          const now = await sessions(lab);
          return /^\d/.test(now["global.tor2-v4"] ?? "") && Object.values(now).every((since) =>
            /^\d/.test(since)
          );
        });
        const now = await sessions(lab);
        assert.deepEqual(Object.keys(now).sort(), Object.keys(before).sort());
        assert.deepEqual(others(now, /tor2-v4/), others(before, /tor2-v4/));
        await lab.shows("a", "ip -4 route show 10.99.0.0/16", /via 192\.168\.100\.1 dev[^]*via 192\.168\.100\.2 dev/);
        await until("the routes are those of before", 5_000, async () =>
          await lab.run("a", "ip -4 route") + await lab.run("a", "ip -6 route") === routes);
      });

      await t.step("a node that joins the fleet gets sessions of its own", async () => {
        await Deno.writeTextFile(
          file,
          `${original}---
apiVersion: projectcalico.org/v3
kind: Node
metadata: { name: c }
spec: { bgp: { ipv4Address: 192.168.100.102/24 } }
`,
        );
        await until("the session is configured", 5_000, async () =>
          Object.keys(await sessions(lab)).some((name) =>
            name.startsWith("mesh.c")
          ));
        const now = await sessions(lab);
        assert.deepEqual(others(now, /mesh\.c|tor2-v4/), others(before, /tor2-v4/));
        await Deno.writeTextFile(file, original);
        await until("and loses them when it leaves", 5_000, async () =>
          !Object.keys(await sessions(lab)).some((name) =>
            name.startsWith("mesh.c")
          ));
      });

      await t.step(
        "a pool that leaves the file gives no more addresses; those in use stay and stay reachable",
        async () => {
          await Deno.writeTextFile(file, without(original, "pool4-a"));
          await until("the pool is gone", 5_000, async () =>
            !(await api.resources.list("IPPool")).some(({ metadata }) =>
              metadata.name === "pool4-a"
            ));
          const v4 = one.addresses.find((address) =>
            !address.includes(":")
          ) ?? "";
          assert.deepEqual((await api.workloads.list()).map(({ name, ready }) => [name, ready]), [["a-one", true]]);
          assert.match(await lab.run("b-one", `ping -n -c 1 -W 2 ${v4}`, true), / 1 received/);
          assert.match(await lab.run("tor1", `ping -n -c 1 -W 2 ${v4}`, true), / 1 received/);
          const two = await api.workloads.attach({ name: "a-two", netns: lab.namespace("a-two") });
          assert.deepEqual(
            two.addresses.filter((address) =>
              !address.includes(":")
            ),
            [],
          );
          await api.workloads.detach("a-two");
          await Deno.writeTextFile(file, original);
          await until("the pool is back", 5_000, async () =>
            (await api.resources.list("IPPool")).some(({ metadata }) =>
              metadata.name === "pool4-a"
            ));
          const again = await api.workloads.attach({ name: "a-two", netns: lab.namespace("a-two") });
          assert.equal(again.addresses.length, 2);
          assert.ok(!again.addresses.includes(v4));
          await api.workloads.detach("a-two");
          assert.deepEqual(await api.ipam.check(), []);
          assert.deepEqual(others(await sessions(lab), /tor2-v4/), others(before, /tor2-v4/));
        },
      );

      await t.step("an edit by rename, as editors do it, is read as well", async () => {
        await Deno.writeTextFile(`${file}.new`, original.replace("level: info", "level: warn"));
        const { loadedAt } = (await api.status()).config;
        await Deno.rename(`${file}.new`, file);
        await until("it was read", 5_000, async () =>
          (await api.status()).config.loadedAt !== loadedAt);
        assert.deepEqual(others(await sessions(lab), /tor2-v4/), others(before, /tor2-v4/));
      });
    }),
});
