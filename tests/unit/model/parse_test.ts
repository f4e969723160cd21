/** Configuration files that are right, and files that are arbitrarily wrong. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_SETTINGS, ipMethod, nodeName } from "../../../src/model/config.ts";
import { formatConfigError } from "../../../src/model/config_error.ts";
import { parseDocuments, parseResource } from "../../../src/model/parse.ts";
import { parseConfig } from "./parse_config.ts";

const CONTRACT = `
node:
  name: rack1-a            # default: the host name
  ip: autodetect
  ip6: none
  stateDir: /var/lib/tortie
  socket: /run/tortie/tortie.sock
datastore:
  type: file               # file | etcd
log:
  level: info
  format: auto
metrics:
  listen: 127.0.0.1:9091   # or off
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: rack1-a }
spec: { cidr: 172.17.8.0/24, blockSize: 26, ipipMode: Never, vxlanMode: Never, natOutgoing: true, nodeSelector: "name == 'rack1-a'" }
---
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: tor
  annotations: { tortie/hold-time: "9", tortie/bfd: "true", tortie/password-file: /etc/tortie/secret, tortie/role: customer }
  labels:
spec:
  peerIP: "[2001:db8::1]:1790"
  asNumber: "1.10"
  nodeSelector:
`;

Deno.test("The configuration that the contract shows is right and equals the defaults", () => {
  const { settings, resources, errors } = parseConfig(CONTRACT, "tortie.yaml");
  assert.deepEqual(errors.map(formatConfigError), []);
  assert.deepEqual(settings, { ...DEFAULT_SETTINGS, node: { ...DEFAULT_SETTINGS.node, name: "rack1-a" } });
  assert.deepEqual(resources.map((sourced) => sourced.resource), [
    {
      apiVersion: "projectcalico.org/v3",
      kind: "IPPool",
      metadata: { name: "rack1-a" },
      spec: {
        cidr: "172.17.8.0/24",
        blockSize: 26,
        ipipMode: "Never",
        vxlanMode: "Never",
        natOutgoing: true,
        nodeSelector: "name == 'rack1-a'",
        allowedUses: ["Workload", "Tunnel"],
        assignmentMode: "Automatic",
      },
    },
    {
      apiVersion: "projectcalico.org/v3",
      kind: "BGPPeer",
      metadata: {
        name: "tor",
        annotations: {
          "tortie/hold-time": "9",
          "tortie/bfd": "true",
          "tortie/password-file": "/etc/tortie/secret",
          "tortie/role": "customer",
        },
      },
      spec: { peerIP: "[2001:db8::1]:1790", asNumber: 65546 },
    },
  ]);
  assert.deepEqual(resources.map((sourced) => sourced.line), [16, 22]);
});

for (const text of ["", "\n", "# only a comment\n", "---\n", "---\n---\n", "node:\n"]) {
  Deno.test(`A file of ${JSON.stringify(text)} is a working single host`, () => {
    assert.deepEqual(parseConfig(text, "tortie.yaml"), { settings: DEFAULT_SETTINGS, resources: [], errors: [] });
  });
}

Deno.test("A file may start with a resource", () => {
  const { resources, errors } = parseDocuments(
    "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: { name: t }\n",
    "f",
  );
  assert.deepEqual(errors, []);
  assert.deepEqual(resources.map(({ resource }) => resource.spec), [{ order: 1000000, defaultAction: "Deny" }]);
});

Deno.test("With etcd a file may be a part of the fleet, so what it refers to need not be in it", () => {
  const text =
    "datastore: { type: etcd, endpoints: ['https://10.0.0.5:2379'] }\n---\napiVersion: projectcalico.org/v3\n" +
    "kind: BGPPeer\nmetadata: { name: p }\nspec: { peerIP: 192.0.2.1, filters: [elsewhere] }\n";
  assert.deepEqual(parseConfig(text, "f").errors, []);
});

Deno.test("The node's name is the one that is set, else the host's in lower case", () => {
  assert.equal(nodeName(DEFAULT_SETTINGS, " Rack1-A\n"), "rack1-a");
  assert.equal(nodeName({ ...DEFAULT_SETTINGS, node: { ...DEFAULT_SETTINGS.node, name: "b" } }, "a"), "b");
});

Deno.test("Ways to find the node's address are told apart", () => {
  assert.deepEqual(ipMethod("autodetect"), { method: "first-found" });
  assert.deepEqual(ipMethod("interface=eth.*,en.*"), { method: "interface", argument: "eth.*,en.*" });
  assert.deepEqual(ipMethod("192.0.2.1/24"), { method: "address", address: "192.0.2.1/24" });
  assert.deepEqual(ipMethod("none"), { method: "none" });
});

Deno.test("parseResource names the field of every error", () => {
  const { errors } = parseResource({
    apiVersion: "projectcalico.org/v3",
    kind: "IPPool",
    metadata: { name: "A" },
    spec: { cidr: 1 },
  });
  assert.deepEqual(errors?.map((error) => [error.field, error.line]), [["metadata.name", 0], ["spec.cidr", 0]]);
});

function isWellFormed(text: string): void {
  const { errors, resources } = parseConfig(text, "f.yaml", { nodeName: "a" });
  const lines = text.split("\n").length;
  for (const error of errors) {
    assert.ok(
      error.message !== "" && error.line >= 1 && error.line <= lines && error.column >= 1,
      JSON.stringify(error),
    );
    assert.ok(!formatConfigError(error).includes("\n"));
  }
  for (const { resource } of resources) assert.ok(resource.metadata.name.length > 0);
}

Deno.test("Any text gives settings, resources and errors, never an exception", () => {
  const piece = fc.constantFrom(
    "node:",
    "kind: IPPool",
    "- ",
    "  ",
    "\n",
    "---\n",
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "&a ",
    "*a",
    "!!str ",
    "'",
    '"',
    "|",
    ">",
    "\t",
    "? ",
    "#",
    "%YAML 1.1\n",
    "<<: ",
    "__proto__: ",
    "null",
    "~",
    ".nan",
    "0x1f",
    "spec",
    "metadata:",
    "é",
    "\u0000",
    "\r",
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.array(piece, { maxLength: 40 }).map((list) => list.join(""))), isWellFormed),
    {
      numRuns: 300,
    },
  );
});

Deno.test("A right file with any piece cut, doubled or replaced gives errors, never an exception", () => {
  const place = fc.nat(CONTRACT.length);
  fc.assert(
    fc.property(place, fc.nat(30), fc.string({ maxLength: 5 }), (at, length, text) => {
      isWellFormed(CONTRACT.slice(0, at) + text + CONTRACT.slice(at + length));
      isWellFormed(CONTRACT.slice(0, at) + CONTRACT.slice(Math.max(0, at - length)));
    }),
    { numRuns: 300 },
  );
});

Deno.test("Any JSON value is a resource or errors, never an exception", () => {
  const kinds = [
    "IPPool",
    "Node",
    "BGPPeer",
    "BGPFilter",
    "WorkloadEndpoint",
    "GlobalNetworkPolicy",
    "FelixConfiguration",
  ];
  const objects = fc.record({
    apiVersion: fc.constant("projectcalico.org/v3"),
    kind: fc.constantFrom(...kinds),
    metadata: fc.oneof(fc.record({ name: fc.constantFrom("a", "default", "") }), fc.jsonValue()),
    spec: fc.oneof(
      fc.dictionary(
        fc.constantFrom("cidr", "bgp", "peerIP", "ingress", "exportV4", "ports", "selector", "ipNATs", "types"),
        fc.oneof(fc.jsonValue(), fc.constantFrom("10.0.0.0/16", "all()")),
      ),
      fc.jsonValue(),
    ),
  });
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), objects), (value) => {
      const { resource, errors } = parseResource(value);
      assert.ok(resource !== undefined || (errors?.length ?? 0) > 0);
    }),
    { numRuns: 300 },
  );
});

Deno.test("Nesting without end is refused instead of exhausting the stack", () => {
  for (const text of ["[".repeat(20_000), "{a: ".repeat(5_000), "- ".repeat(20_000), "a:\n" + " ".repeat(200)]) {
    isWellFormed(text);
  }
  const { errors } = parseDocuments("[".repeat(100) + "]".repeat(100), "f");
  assert.match(errors.map(formatConfigError).join(), /nests deeper/);
});

for (
  const [annotation, wrong] of [
    ["tortie/dynamic-neighbours", "192.0.2.0/33"],
    ["tortie/families", "ipx"],
    ["tortie/add-paths", "some"],
    ["tortie/role-strict", "yes"],
    ["tortie/max-prefixes-warning", "101"],
    ["tortie/max-prefixes-restart", "soon"],
    ["tortie/idle-hold", "0"],
    ["tortie/shutdown", "x".repeat(256)],
  ] as const
) {
  Deno.test(`A BGPPeer whose ${annotation} is ${wrong.slice(0, 20)} is refused with its line`, () => {
    const text = `---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: a
  annotations:
    ${annotation}: "${wrong}"
spec: { asNumber: 65001 }
`;
    const { errors } = parseConfig(text, "tortie.yaml");
    assert.equal(errors.length, 1);
    assert.match(errors[0]?.field ?? "", new RegExp(annotation));
    assert.equal(errors[0]?.line, 7);
  });
}
