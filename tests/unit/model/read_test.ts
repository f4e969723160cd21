/** Resources as the store has them: read leniently, written back whole. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { KINDS } from "../../../src/model/kinds.ts";
import { policyNameStyle } from "../../../src/model/policy_name.ts";
import { parseResource } from "../../../src/model/parse.ts";
import { readResource, serializeResource, storedName } from "../../../src/model/read.ts";
import { peerAnnotations, speakerAnnotations } from "../../../src/model/resources/bgp_configuration.ts";
import { splitPeerIP } from "../../../src/model/resources/bgp_peer.ts";

const API = '"apiVersion":"projectcalico.org/v3"';

/** One stored value of each kind, as Calico writes it. */
const STORED = [
  `{"kind":"Node",${API},"metadata":{"name":"edge-1","uid":"U","creationTimestamp":"T","labels":{"rack":"r1"}},"spec":{"bgp":{"asNumber":64512,"ipv4Address":"192.0.2.11/24"},"addresses":[{"address":"192.0.2.11/24","type":"CalicoNodeIP"}]},"status":{"wireguardPublicKey":"k"}}`,
  `{"kind":"HostEndpoint",${API},"metadata":{"name":"edge-1-eth0"},"spec":{"node":"edge-1","interfaceName":"eth0","expectedIPs":["192.0.2.11"]}}`,
  `{"kind":"Profile",${API},"metadata":{"name":"edge-net"},"spec":{"ingress":[{"action":"Allow","source":{"selector":"has(edge-net)"}}],"labelsToApply":{"edge-net":""}}}`,
  `{"kind":"Tier",${API},"metadata":{"name":"security"},"spec":{"order":100,"defaultAction":"Deny"},"status":{}}`,
  `{"kind":"IPPool",${API},"metadata":{"name":"p"},"spec":{"cidr":"10.65.0.0/16","vxlanMode":"Never","ipipMode":"CrossSubnet","natOutgoing":true,"blockSize":26,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}}`,
  `{"kind":"IPReservation",${API},"metadata":{"name":"r"},"spec":{"reservedCIDRs":["10.65.0.1"]}}`,
  `{"kind":"BGPPeer",${API},"metadata":{"name":"tor-1"},"spec":{"peerIP":"192.0.2.1","asNumber":64600,"filters":["only-pool"]}}`,
  `{"kind":"BGPFilter",${API},"metadata":{"name":"only-pool"},"spec":{"exportV4":[{"cidr":"10.65.0.0/16","matchOperator":"In","action":"Accept"}]}}`,
  `{"kind":"ClusterInformation",${API},"metadata":{"name":"default"},"spec":{"datastoreReady":true,"calicoVersion":"v3.32.1"}}`,
  `{"kind":"CalicoNodeStatus",${API},"metadata":{"name":"s"},"spec":{"node":"edge-1"},"status":{"lastUpdated":null}}`,
];

for (const text of STORED) {
  const { kind } = JSON.parse(text) as { kind: string };
  Deno.test(`A stored ${kind} is written back as it was`, () => {
    assert.deepEqual(JSON.parse(serializeResource(readResource(text))), JSON.parse(text));
  });
}

Deno.test("Members that are not known survive being rewritten, what only the store knows does not", () => {
  const text =
    `{"kind":"Node",${API},"metadata":{"name":"a","finalizers":["x"],"resourceVersion":"7","selfLink":"/a"},` +
    `"spec":{"future":{"a":[1]},"bgp":{"new":true}},"extra":1}`;
  assert.deepEqual(JSON.parse(serializeResource(readResource(text))), {
    kind: "Node",
    apiVersion: "projectcalico.org/v3",
    metadata: { name: "a", finalizers: ["x"] },
    spec: { future: { a: [1] }, bgp: { new: true } },
    extra: 1,
  });
});

Deno.test("Absent members get Calico's defaults", () => {
  const pool = readResource('{"kind":"IPPool","metadata":{"name":"p"},"spec":{"cidr":"fd00::/64","ipipMode":""}}');
  assert.deepEqual(pool.spec, {
    cidr: "fd00::/64",
    blockSize: 122,
    ipipMode: "Never",
    vxlanMode: "Never",
    nodeSelector: "all()",
    allowedUses: ["Workload", "Tunnel"],
    assignmentMode: "Automatic",
  });
  const peer = readResource('{"kind":"BGPPeer","metadata":{"name":"p"},"spec":{"asNumber":"1.10","localASNumber":0}}');
  assert.deepEqual(peer.spec, { asNumber: 65546 });
  const tier = readResource('{"kind":"Tier","metadata":{"name":"t"}}');
  assert.deepEqual(tier.spec, { order: 1000000, defaultAction: "Deny" });
});

const BROKEN: readonly (readonly [string, RegExp])[] = [
  ["nonsense", /JSON/],
  ["[]", /not an object/],
  ['{"kind":"Frob","metadata":{"name":"a"}}', /kind "Frob" is not known/],
  ['{"kind":"Node","metadata":{}}', /has no name/],
  ['{"kind":"Node","metadata":{"name":"a"},"spec":[]}', /spec is not an object/],
  ['{"kind":"IPPool","metadata":{"name":"a"},"spec":{}}', /cidr is missing/],
  ['{"kind":"IPPool","metadata":{"name":"a"},"spec":{"cidr":5}}', /cidr is not a string/],
  ['{"kind":"BGPPeer","metadata":{"name":"a"},"spec":{"filters":[1]}}', /filters is not a list of strings/],
  ['{"kind":"Node","metadata":{"name":"a"},"spec":{"bgp":{"ipv4Address":{}}}}', /bgp.ipv4Address is not a string/],
  ['{"kind":"Profile","metadata":{"name":"a"},"spec":{"ingress":[{}]}}', /ingress\[\].action is missing/],
  [
    '{"kind":"Profile","metadata":{"name":"a"},"spec":{"egress":[{"action":"Allow","source":{"nets":"all"}}]}}',
    /egress\[\].source.nets is not a list of strings/,
  ],
  [
    '{"kind":"BGPFilter","metadata":{"name":"a"},"spec":{"importV6":[{"action":"Accept"},7]}}',
    /importV6 is not a list/,
  ],
  [
    '{"kind":"BGPConfiguration","metadata":{"name":"default"},"spec":{"prefixAdvertisements":[{"cidr":"10.0.0.0/8"}]}}',
    /communities is missing/,
  ],
];
for (const [text, message] of BROKEN) {
  Deno.test(`A stored value that is broken is refused: ${text}`, () => {
    assert.throws(() => readResource(text), (error) => error instanceof SyntaxError && message.test(error.message));
  });
}

const policy = (metadata: string, spec: string) =>
  `{"kind":"NetworkPolicy",${API},"metadata":{"namespace":"prod",${metadata}},"spec":{${spec}}}`;
const ANNOTATION = '"annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"allow-db\\"}"}';

Deno.test("A policy bears its user's name, whatever style it is stored in", () => {
  const cases: [string, string, string][] = [
    [`"name":"default.allow-db",${ANNOTATION}`, "", "allow-db"],
    [`"name":"allow-db",${ANNOTATION}`, '"tier":"default"', "allow-db"],
    ['"name":"default.allow-db"', "", "allow-db"],
    ['"name":"default.allow-db"', '"tier":"default"', "allow-db"],
    ['"name":"security.allow-db"', '"tier":"security"', "security.allow-db"],
    ['"name":"default.x","annotations":{"projectcalico.org/metadata":"{"}', "", "x"],
  ];
  for (const [metadata, spec, name] of cases) {
    const resource = readResource(policy(metadata, spec));
    assert.equal(resource.metadata.name, name, metadata);
    assert.equal(resource.metadata.annotations, undefined);
    const tier = spec.includes("security") ? "security" : "default";
    assert.deepEqual(resource.metadata.labels, { "projectcalico.org/tier": tier });
  }
});

Deno.test("A name that a user gives stays, even one that looks like a stored one", () => {
  const given = {
    apiVersion: "projectcalico.org/v3",
    kind: "GlobalNetworkPolicy",
    metadata: { name: "default.web", annotations: { "projectcalico.org/metadata": '{"name":"other"}' } },
    spec: {},
  };
  const { resource } = parseResource(given);
  assert.ok(resource);
  assert.equal(resource.metadata.name, "default.web");
  assert.equal(readResource(serializeResource(resource)).metadata.name, "default.web");
  assert.equal(readResource(serializeResource(resource, { policyNames: "prefixed" })).metadata.name, "default.web");
});

Deno.test("A policy is stored in the style of the store", () => {
  const resource = readResource(
    policy('"name":"allow-db"', '"selector":"role == \'db\'","egress":[{"action":"Deny"}]'),
  );
  assert.deepEqual(JSON.parse(serializeResource(resource)), {
    kind: "NetworkPolicy",
    apiVersion: "projectcalico.org/v3",
    metadata: {
      name: "allow-db",
      namespace: "prod",
      labels: { "projectcalico.org/tier": "default" },
      annotations: { "projectcalico.org/metadata": '{"name":"allow-db"}' },
    },
    spec: { tier: "default", types: ["Egress"], selector: "role == 'db'", egress: [{ action: "Deny" }] },
  });
  const prefixed = JSON.parse(serializeResource(resource, { policyNames: "prefixed" }));
  assert.equal(prefixed.metadata.name, "default.allow-db");
  assert.equal(prefixed.metadata.labels, undefined);
  assert.equal(storedName(resource, { policyNames: "prefixed" }), "default.allow-db");
  assert.equal(policyNameStyle(["default", "kube-admin"]), "plain");
  assert.equal(policyNameStyle(["default", "adminnetworkpolicy"]), "prefixed");
  assert.equal(policyNameStyle(["default"]), undefined);
});

Deno.test("A workload endpoint is stored with the labels that Calico's client forces on it", () => {
  const endpoint = readResource(
    `{"kind":"WorkloadEndpoint",${API},"metadata":{"name":"a-cni-c1-eth0","namespace":"default","labels":{"role":"web"}},` +
      `"spec":{"orchestrator":"cni","node":"a","containerID":"c1","endpoint":"eth0"}}`,
  );
  assert.deepEqual(JSON.parse(serializeResource(endpoint)).metadata.labels, {
    role: "web",
    "projectcalico.org/namespace": "default",
    "projectcalico.org/orchestrator": "cni",
  });
});

Deno.test("Annotations of peers are read as values", () => {
  const annotations = {
    "tortie/hold-time": "9",
    "tortie/bfd": "true",
    "tortie/passive": "maybe",
    "tortie/max-prefixes": "1000",
    "tortie/role": "rs-client",
    other: "x",
  };
  assert.deepEqual(peerAnnotations(annotations), { holdTime: 9, bfd: true, maxPrefixes: 1000, role: "rs-client" });
  assert.deepEqual(peerAnnotations(undefined), {});
});

Deno.test("BFD is asked for by a flag, or by its times and reach", () => {
  const read = (text: string) => peerAnnotations({ "tortie/bfd": text });
  assert.deepEqual(read("false"), { bfd: false });
  assert.deepEqual(read("300x3"), { bfd: true, bfdTimes: { interval: 300, multiplier: 3 } });
  assert.deepEqual(read("10x50 multihop"), { bfd: true, bfdTimes: { interval: 10, multiplier: 50, hops: "multihop" } });
  assert.deepEqual(read("60000x2 single-hop").bfdTimes?.hops, "single-hop");
  for (const text of ["", "yes", "300", "9x3", "60001x3", "300x1", "300x51", "0300x3", "300x3 ", "300x3 far", "x"]) {
    assert.deepEqual(read(text), {}, text);
  }
});

Deno.test("The monitoring station is an address with a port", () => {
  const read = (text: string) => speakerAnnotations({ "tortie/bmp": text }).bmp;
  assert.deepEqual(read("192.0.2.9:11019"), { address: "192.0.2.9", port: 11019 });
  assert.deepEqual(read("[2001:db8::9]:11019"), { address: "2001:db8::9", port: 11019 });
  assert.equal(read("192.0.2.9:1 adj-rib-out")?.adjRibOut, true);
  for (const text of ["", "192.0.2.9", "192.0.2.9:1 ", "192.0.2.9:1 all", "192.0.2.9:1 adj-rib-out x", "host:1"]) {
    assert.equal(read(text), undefined, text);
  }
});

Deno.test("The address of a peer is split from its port", () => {
  assert.deepEqual(splitPeerIP("192.0.2.1"), { address: "192.0.2.1" });
  assert.deepEqual(splitPeerIP("192.0.2.1:1790"), { address: "192.0.2.1", port: 1790 });
  assert.deepEqual(splitPeerIP("[2001:db8::1]:1790"), { address: "2001:db8::1", port: 1790 });
  assert.deepEqual(splitPeerIP("2001:db8::1"), { address: "2001:db8::1" });
  assert.equal(splitPeerIP("192.0.2.1:0"), undefined);
});

Deno.test("Whatever a store holds is read or refused with a SyntaxError", () => {
  const members = fc.constantFrom(
    "cidr",
    "bgp",
    "peerIP",
    "ingress",
    "tier",
    "types",
    "asNumber",
    "spec",
    "labels",
    "name",
  );
  const tree = fc.letrec<{ value: unknown; map: unknown }>((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, fc.constantFrom("10.0.0.0/16", 7, null, true), tie("map"), fc.array(tie("value"))),
    map: fc.dictionary(members, tie("value"), { maxKeys: 4 }),
  }));
  const stored = fc.record({
    kind: fc.constantFrom(...KINDS.map((entry) => entry.kind)),
    metadata: fc.oneof(fc.constant({ name: "a" }), tree.map),
    spec: tree.value,
  });
  fc.assert(
    fc.property(fc.oneof(stored, tree.value), (value) => {
      try {
        const resource = readResource(JSON.stringify(value));
        assert.ok(resource.metadata.name.length > 0);
        assert.ok(serializeResource(resource).startsWith('{"kind":'));
      } catch (error) {
        assert.ok(error instanceof SyntaxError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("Limits, roles, words and found peers are read from annotations", () => {
  const read = (annotations: Record<string, string>) => peerAnnotations(annotations);
  assert.deepEqual(
    read({
      "tortie/role-strict": "true",
      "tortie/max-prefixes-warning": "80",
      "tortie/max-prefixes-restart": "0",
      "tortie/idle-hold": "5",
      "tortie/add-paths": "receive",
    }),
    { isRoleStrict: true, maxPrefixesWarning: 80, maxPrefixesRestart: 0, idleHold: 5, addPaths: "receive" },
  );
  assert.deepEqual(read({ "tortie/shutdown": "" }), { shutdown: "" });
  assert.deepEqual(read({ "tortie/families": "ipv6, ipv4" }), { families: [6, 4] });
  assert.deepEqual(read({ "tortie/dynamic-neighbours": "192.0.2.0/24, 2001:db8::/64" }), {
    dynamicNeighbours: ["192.0.2.0/24", "2001:db8::/64"],
  });
});
