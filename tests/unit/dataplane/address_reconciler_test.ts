/**
 * The addresses of tunnel devices, reconciled on the in-memory kernel and read back through a handle of somebody else.
 */

import assert from "node:assert/strict";
import { addressKey } from "../../../src/dataplane/address_reconciler.ts";
import { makeDataplane } from "../../../src/dataplane/dataplane.ts";
import type { Address } from "../../../src/dataplane/ports.ts";
import { tryParseIpNet } from "../../../src/lib/cidr.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { converge, desiredState, makeHost, settle } from "./converge.ts";

function address(index: number, text: string): Address {
  const net = tryParseIpNet(text);
  assert.ok(net);
  return { index, net, scope: 0 };
}

async function start() {
  const host = await makeHost();
  const clock = new FakeClock();
  const dataplane = makeDataplane(host.kernel, clock, { isTunnel: ({ name }) => name === "cali3" });
  host.kernel.watch((event) => void dataplane.observe(event));
  const indexOf = async (name: string) => (await host.outside.links.get(name))?.index ?? 0;
  const tunnel = await indexOf("cali3");
  const desire = (...texts: string[]) => {
    const addresses = texts.map((text) => address(tunnel, text));
    dataplane.desire({ ...desiredState({}), addresses: new Map(addresses.map((one) => [addressKey(one), one])) });
  };
  const texts = async () =>
    (await host.outside.links.addresses()).map(({ index, net }) =>
      `${index === tunnel ? "tunnel" : index} ${net.ip}/${net.length}`
    );
  return { ...host, clock, dataplane, tunnel, desire, texts, eth0: await indexOf("eth0") };
}

Deno.test("a tunnel has the desired addresses and no others; addresses of other links are left alone", async () => {
  const { outside, dataplane, clock, tunnel, desire, texts, eth0 } = await start();
  await outside.links.addAddress(address(tunnel, "10.9.9.9/32"));
  await outside.links.addAddress(address(eth0, "10.8.8.8/32"));
  desire("10.0.0.1/32");
  await converge(dataplane, clock);
  assert.deepEqual((await texts()).sort(), [`${eth0} 10.8.8.8/32`, `${eth0} 192.0.2.1/24`, "tunnel 10.0.0.1/32"]);
});

Deno.test("an address that somebody removes comes back, one that is no longer desired goes", async () => {
  const { outside, dataplane, clock, tunnel, desire, texts } = await start();
  desire("10.0.0.1/32");
  await converge(dataplane, clock);
  await outside.links.removeAddress(address(tunnel, "10.0.0.1/32"));
  await settle();
  await converge(dataplane, clock);
  assert.ok((await texts()).includes("tunnel 10.0.0.1/32"));
  desire();
  await converge(dataplane, clock);
  assert.ok(!(await texts()).some((text) => text.startsWith("tunnel")));
});
