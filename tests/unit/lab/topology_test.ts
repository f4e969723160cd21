/**
 * Lab files against the topology that is built in, their mistakes by line, and the configurations that are made from
 * them.
 */

import assert from "node:assert/strict";
import { LabError } from "../../../src/lab/lab.ts";
import { namespacesOf } from "../../../src/lab/network.ts";
import { defaultTopology, hostConfiguration, routerConfiguration } from "../../../src/lab/topology.ts";
import { readTopology } from "../../../src/lab/topology_file.ts";

const example = await Deno.readTextFile(new URL("../../../config/lab.yaml", import.meta.url));

Deno.test("the example file describes the lab that is built without a file", () => {
  assert.deepEqual(readTopology(example, "lab.yaml"), defaultTopology);
});

Deno.test("every mistake in a lab file is named by file, line and member", () => {
  const broken = example.replace("172.17.9.0/24", "172.17.9.1/24").replace("as: 65000", "as: -1");
  assert.throws(() => readTopology(broken, "lab.yaml"), (error) => {
    assert.ok(error instanceof LabError);
    const lines = error.message.split("\n");
    assert.equal(lines.length, 2);
    assert.match(lines[0]!, /^lab\.yaml:16:11: hosts\.1\.pool: write a prefix without host bits/);
    assert.match(lines[1]!, /^lab\.yaml:\d+:\d+: router\.as: /);
    return true;
  });
  assert.throws(() => readTopology("as: [", "lab.yaml"), /^LabError: lab\.yaml:1:\d+: /);
  assert.throws(() => readTopology("", "lab.yaml"), /the file/);
  assert.throws(() => readTopology(example.replaceAll("b-web", "a-web"), "lab.yaml"), /"a-web" is used twice/);
});

Deno.test("two hosts' configurations differ in their own settings only", () => {
  const [a, b] = defaultTopology.hosts.map((host) =>
    hostConfiguration(defaultTopology, host, { stateDir: `/${host.name}`, socket: `/${host.name}.sock` })
  );
  const resources = (text: string | undefined) => text?.slice(text.indexOf("---"));
  assert.notEqual(a, b);
  assert.equal(resources(a), resources(b));
});

Deno.test("a lab names every namespace after itself, and the router knows every host", () => {
  const namespaces = namespacesOf("x", defaultTopology);
  assert.equal(namespaces.length, 1 + 1 + 3 + 6);
  assert.ok(namespaces.every((namespace) => namespace.startsWith("x-")));
  for (const host of defaultTopology.hosts) {
    assert.match(routerConfiguration(defaultTopology), new RegExp(`neighbor ${host.address.split("/")[0]} as 64512;`));
  }
});
