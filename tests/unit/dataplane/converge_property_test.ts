/**
 * For any story of wishes, vandalism, lost events and refused operations, the in-memory kernel ends as desired and
 * nothing foreign is touched.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type DesiredState, makeDataplane } from "../../../src/dataplane/dataplane.ts";
import { isOurRoute } from "../../../src/dataplane/ownership.ts";
import type { Route } from "../../../src/dataplane/ports.ts";
import { isSameRoute, routeKey } from "../../../src/dataplane/route_reconciler.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { blackhole, converge, desiredState, makeHost, permanent, settle, workloadRoute } from "./converge.ts";

/** One step of the story: what the agent wants, what others do to the kernel, what fails, and time. */
const step = fc.oneof(
  fc.record({
    do: fc.constant("desire" as const),
    routes: fc.uniqueArray(fc.tuple(fc.nat(3), fc.nat(5)), { selector: ([, ip]) => ip, maxLength: 6 }),
    blocks: fc.uniqueArray(fc.nat(3), { maxLength: 3 }),
    proxies: fc.uniqueArray(fc.nat(3), { maxLength: 4 }),
  }),
  fc.record({ do: fc.constantFrom("down", "up", "rename", "remac" as const), link: fc.nat(3) }),
  fc.record({ do: fc.constantFrom("unroute", "foreign", "intrude", "squat" as const), ip: fc.nat(5) }),
  fc.record({ do: fc.constantFrom("flush", "unneighbour", "lose events", "hear events", "apply" as const) }),
  fc.record({
    do: fc.constant("fault" as const),
    matching: fc.constantFrom(/route/, /route add/, /list/, /link set/, /neighbour/, /sysctl/, /./),
    skip: fc.nat(3),
    times: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.nat(3000) }),
);

Deno.test("after any updates, vandalism and faults, apply makes actual equal desired and leaves foreign objects alone", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const { kernel, outside, faults } = await makeHost();
      const namespace = kernel.namespace;
      const clock = new FakeClock();
      const dataplane = makeDataplane(kernel, clock);
      kernel.watch((event) => void dataplane.observe(event));
      const names = ["cali0", "cali1", "cali2", "cali3"];
      const indexes = await Promise.all(names.map(async (name) => (await outside.links.get(name))?.index ?? 0));
      const eth0 = (await outside.links.get("eth0"))?.index ?? 0;
      const foreign = new Map<string, Route>();
      let wanted: DesiredState = desiredState({ links: names });
      dataplane.desire(wanted);

      for (const step of steps) {
        switch (step.do) {
          case "desire":
            wanted = desiredState({
              links: names,
              routes: [
                ...step.routes.map(([link, ip]) => workloadRoute(`10.0.0.${ip}`, indexes[link] ?? 0)),
                ...step.blocks.map((n) => blackhole(`10.1.${n}.0/24`)),
              ],
              neighbours: step.routes.map(([link, ip]) =>
                permanent(`10.0.0.${ip}`, indexes[link] ?? 0, "02:00:00:00:00:05")
              ),
              sysctls: step.proxies.map((n) => [`net/ipv4/conf/cali${n}/proxy_arp`, "1"]),
            });
            dataplane.desire(wanted);
            break;
          case "down":
          case "up":
            await outside.links.change(indexes[step.link] ?? 0, { isUp: step.do === "up" });
            break;
          case "rename":
            await outside.links.change(indexes[step.link] ?? 0, { name: `foreign${step.link}` });
            break;
          case "remac":
            await outside.links.change(indexes[step.link] ?? 0, { mac: "02:00:00:00:00:66" });
            break;
          case "unroute":
            for (const route of [...namespace.routes.values()]) {
              if (String(route.destination) === `10.0.0.${step.ip}/32`) {
                foreign.delete(routeKey(route));
                await outside.fib.apply([{ action: "delete", route }]);
              }
            }
            break;
          case "foreign":
          case "squat": {
            const address = step.do === "squat" ? `10.0.0.${step.ip}` : `10.7.0.${step.ip}`;
            const route: Route = { ...workloadRoute(address, eth0), protocol: step.ip % 2 ? 12 : 3 };
            const [error] = await outside.fib.apply([{ action: "replace", route }]);
            assert.equal(error, undefined);
            foreign.set(routeKey(route), route);
            break;
          }
          case "intrude":
            await outside.fib.apply([{ action: "replace", route: blackhole(`10.3.0.${step.ip}/32`) }]);
            break;
          case "flush":
            for (const route of [...namespace.routes.values()]) {
              if (isOurRoute(route, (index) => namespace.links.get(index)?.link)) {
                await outside.fib.apply([{ action: "delete", route }]);
              }
            }
            break;
          case "unneighbour":
            for (const neighbour of [...namespace.neighbours.values()]) await outside.neighbours.delete(neighbour);
            break;
          case "lose events":
            faults.dropsEvents = true;
            break;
          case "hear events":
            faults.dropsEvents = false;
            break;
          case "fault":
            faults.fail({ matching: step.matching, code: "ENOBUFS", skip: step.skip, times: step.times });
            break;
          case "apply":
            await settle();
            await dataplane.refreshLinks();
            await dataplane.apply({ mayRemove: true });
            break;
          case "wait":
            clock.advance(step.ms);
            break;
        }
      }

      faults.clear();
      clock.advance(90_000);
      await converge(dataplane, clock, { within: 30_000 });

      const isSquatted = (key: string) => foreign.has(key);
      for (const [key, route] of wanted.routes) {
        const actual = [...namespace.routes.values()].find((other) => routeKey(other) === key);
        assert.ok(actual, `${key} is missing`);
        assert.ok(isSquatted(key) || isSameRoute(route, actual), `${key} is not as desired`);
      }
      for (const route of namespace.routes.values()) {
        if (!isOurRoute(route, (index) => namespace.links.get(index)?.link)) continue;
        assert.ok(wanted.routes.has(routeKey(route)), `${routeKey(route)} was left behind`);
      }
      for (const [key, route] of foreign) {
        assert.ok(
          [...namespace.routes.values()].some((other) => isSameRoute(route, other)),
          `foreign ${key} was touched`,
        );
      }
      for (const [path, value] of wanted.sysctls) assert.equal(namespace.sysctls.get(path), value);
      assert.deepEqual(
        [...namespace.neighbours.values()].map(({ index, ip, mac }) => `${index} ${ip} ${mac}`).sort(),
        [...wanted.neighbours.values()].map(({ index, ip, mac }) => `${index} ${ip} ${mac}`).sort(),
      );
      for (const [i, name] of names.entries()) {
        const link = namespace.links.get(indexes[i] ?? 0)?.link;
        assert.equal(link?.name, name);
        assert.equal(link?.isUp, true);
        assert.equal(link?.mac, "ee:ee:ee:ee:ee:ee");
      }
      assert.deepEqual(dataplane.failures().map(({ key }) => key).filter((key) => !isSquatted(key)), []);
    }),
    { numRuns: 300 },
  );
});
