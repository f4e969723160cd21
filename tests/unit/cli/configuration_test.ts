/**
 * The configuration file as the node takes it: defaults, lines of resources, mistakes, and what has to wait for a
 * restart.
 */

import assert from "node:assert/strict";
import { checkConfiguration, restartNeeded } from "../../../src/cli/node/configuration.ts";
import { missingCapabilities } from "../../../src/cli/node/rights.ts";
import { parsePairs } from "../../../src/cli/commands/flags.ts";
import { CliError, UsageError } from "../../../src/cli/terminal.ts";

const peer = `---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: tor }
spec: { peerIP: 192.0.2.1, asNumber: 65000 }
`;

Deno.test("an empty file is a single host named after the machine", () => {
  const { name, settings, fixed } = checkConfiguration("", "t.yaml", "Host7");
  assert.deepEqual([name, settings.node.socket, fixed], ["host7", "/run/tortie/tortie.sock", []]);
});

Deno.test("resources become read-only entries that know their line", () => {
  const { fixed, name } = checkConfiguration(`node: { name: a }\n${peer}`, "t.yaml", "host");
  assert.equal(name, "a");
  assert.deepEqual(fixed.map(({ key, where }) => [key, where]), [
    ["/calico/resources/v3/projectcalico.org/bgppeers/tor", "t.yaml:3"],
  ]);
  assert.equal(JSON.parse(fixed[0]?.value ?? "").spec.asNumber, 65000);
});

Deno.test("a file with mistakes is refused whole, with a line for each", () => {
  const text = `node: { nam: a }\n${peer.replace("65000", "many")}`;
  assert.throws(() => checkConfiguration(text, "t.yaml", "host"), (error) => {
    assert.ok(error instanceof CliError);
    const lines = error.message.split("\n");
    assert.deepEqual(lines.map((line) => line.split(":").slice(0, 2).join(":")), ["t.yaml:1", "t.yaml:6"]);
    return true;
  });
});

Deno.test("settings that wait for a restart are named, those of the log too little to wait for are not", () => {
  const settings = (text: string) => checkConfiguration(text, "t.yaml", "host").settings;
  const running = settings("");
  assert.deepEqual(restartNeeded(running, settings("")), []);
  assert.deepEqual(restartNeeded(running, settings("metrics: { listen: off }\nnode: { stateDir: /srv/t }\n")), [
    "node.stateDir",
    "metrics.listen",
  ]);
});

Deno.test("an unquoted off turns metrics off", () => {
  assert.equal(checkConfiguration("metrics: { listen: off }\n", "t.yaml", "host").settings.metrics.listen, "off");
});

Deno.test("missing capabilities are read from the process's status", () => {
  assert.deepEqual(missingCapabilities("Name:\tx\nCapEff:\t000001ffffffffff\n"), []);
  assert.deepEqual(missingCapabilities("CapEff:\t000001ffffffefff\n"), ["CAP_NET_ADMIN"]);
  assert.deepEqual(missingCapabilities("CapEff:\t0000000000000000\n"), [
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_ADMIN",
    "CAP_SYS_ADMIN",
  ]);
  assert.deepEqual(missingCapabilities("no such line\n"), []);
});

Deno.test("labels are pairs; a value may be empty or hold an equals sign", () => {
  assert.deepEqual(parsePairs(["a=b", "c=", "d=e=f"]), { a: "b", c: "", d: "e=f" });
  for (const wrong of ["a", "=b", ""]) assert.throws(() => parsePairs([wrong]), UsageError);
});
