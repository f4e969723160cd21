/** Every match and operation of a BGPFilter, and the conditions on prefixes under them. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FilterRule } from "../../../../src/bgp/config.ts";
import { compileFilters, compileRules, parseCommunity } from "../../../../src/bgp/filter/bgp_filter.ts";
import { RouteDraft } from "../../../../src/bgp/filter/draft.ts";
import { matchesInterface } from "../../../../src/bgp/filter/interface_pattern.ts";
import { PrefixClasses, wordsOf } from "../../../../src/bgp/filter/prefix_classes.ts";
import { AttributeStore } from "../../../../src/bgp/rib/attribute_store.ts";
import { EMPTY_ATTRIBUTES, type PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { Cidr } from "../../../../src/lib/cidr.ts";
import { Ip } from "../../../../src/lib/ip.ts";

const store = new AttributeStore();

interface Route {
  prefix?: string;
  attributes?: Partial<PathAttributes>;
  source?: RouteDraft["source"];
  interfaceName?: string;
  isInternal?: boolean;
}

/** What rules say of a route, and the route afterwards. */
function run(rules: FilterRule[], route: Route = {}): [string | undefined, RouteDraft] {
  const prefix = Cidr.parse(route.prefix ?? "10.1.2.0/24");
  const classes = new PrefixClasses(prefix.family);
  const filter = compileRules(rules, classes);
  const [w0, w1, w2, w3] = wordsOf(prefix.ip.bytes);
  const id = store.internValue({
    ...EMPTY_ATTRIBUTES,
    nextHop: Uint8Array.of(10, 0, 0, 1),
    localPref: 100,
    ...route.attributes,
  });
  const draft = new RouteDraft(store).begin(id, classes.classOf(w0, w1, w2, w3, prefix.length), route.source ?? "peer");
  draft.interfaceName = route.interfaceName;
  return [filter(draft, route.isInternal ?? true), draft];
}

/** [rule, route, whether the rule matches] */
const MATCHES: [Omit<FilterRule, "action">, Route, boolean][] = [
  [{}, {}, true],
  [{ cidr: "10.1.0.0/16", matchOperator: "In" }, {}, true],
  [{ cidr: "10.1.2.0/24", matchOperator: "In" }, {}, true],
  [{ cidr: "10.1.2.0/25", matchOperator: "In" }, {}, false],
  [{ cidr: "10.1.0.0/16", matchOperator: "NotIn" }, {}, false],
  [{ cidr: "10.2.0.0/16", matchOperator: "NotIn" }, {}, true],
  [{ cidr: "10.1.2.0/24", matchOperator: "Equal" }, {}, true],
  [{ cidr: "10.1.0.0/16", matchOperator: "Equal" }, {}, false],
  [{ cidr: "10.1.2.0/24", matchOperator: "NotEqual" }, {}, false],
  [{ cidr: "10.1.0.0/16", matchOperator: "NotEqual" }, {}, true],
  [{ cidr: "0.0.0.0/0", matchOperator: "In" }, {}, true],
  [{ cidr: "fd00::/8", matchOperator: "In" }, { prefix: "fd12:3456::/32" }, true],
  [{ cidr: "fd00::/8", matchOperator: "In" }, { prefix: "2001:db8::/32" }, false],
  [{ cidr: "2001:db8:0:1::/64", matchOperator: "Equal" }, { prefix: "2001:db8:0:1::/64" }, true],
  [{ cidr: "2001:db8:0:1::/64", matchOperator: "Equal" }, { prefix: "2001:db8:0:2::/64" }, false],
  [{ prefixLength: { min: 24, max: 26 } }, {}, true],
  [{ prefixLength: { min: 25 } }, {}, false],
  [{ prefixLength: { max: 23 } }, {}, false],
  [{ cidr: "10.1.0.0/16", matchOperator: "In", prefixLength: { max: 20 } }, {}, false],
  [{ source: "RemotePeers" }, {}, true],
  [{ source: "RemotePeers" }, { source: "kernel" }, false],
  [{ interface: "eth*" }, { interfaceName: "eth0" }, true],
  [{ interface: "eth*" }, { interfaceName: "veth0" }, false],
  [{ interface: "*.calico" }, {}, false],
  [{ peerType: "iBGP" }, {}, true],
  [{ peerType: "iBGP" }, { isInternal: false }, false],
  [{ peerType: "eBGP" }, { isInternal: false }, true],
  [{ communities: ["65000:100"] }, { attributes: { communities: [65000 * 65536 + 100] } }, true],
  [{ communities: ["65000:100"] }, { attributes: { communities: [65000 * 65536 + 101] } }, false],
  [{ communities: ["1:2:3"] }, { attributes: { largeCommunities: [[1, 2, 3]] } }, true],
  [{ communities: ["1:2:3"] }, { attributes: { largeCommunities: [[1, 2, 4]] } }, false],
  [{ asPathPrefix: [65001, 65002] }, { attributes: { asPath: [{ type: 2, asns: [65001, 65002, 65003] }] } }, true],
  [{ asPathPrefix: [65002] }, { attributes: { asPath: [{ type: 2, asns: [65001, 65002] }] } }, false],
  [{ asPathPrefix: [65001] }, { attributes: { asPath: [{ type: 1, asns: [65001] }] } }, false],
  [{ priority: 512 }, { attributes: { localPref: 2147483647 - 512 } }, true],
  [{ priority: 1024 }, { attributes: { localPref: 2147483647 - 512 } }, false],
];

for (const [match, route, isMatch] of MATCHES) {
  Deno.test(`a rule with ${JSON.stringify(match)} ${isMatch ? "takes" : "passes over"} ${JSON.stringify(route)}`, () => {
    const [verdict, draft] = run([{ ...match, action: "Reject" }], route);
    assert.equal(verdict, isMatch ? "reject" : undefined);
    assert.equal(draft.isChanged, false);
  });
}

Deno.test("the first rule that matches decides, and only an accepting one changes the route", () => {
  const operations = [{ addCommunity: "64512:1" }] as const;
  assert.equal(run([{ action: "Accept", peerType: "eBGP" }, { action: "Reject" }, { action: "Accept" }])[0], "reject");
  assert.equal(run([{ action: "Reject", operations }])[1].isChanged, false);
  const [verdict, draft] = run([{ action: "Accept", operations }]);
  assert.equal(verdict, "accept");
  assert.deepEqual(draft.attributes.communities, [64512 * 65536 + 1]);
});

Deno.test("operations run in their order and change preference, path and communities", () => {
  const [, draft] = run([{
    action: "Accept",
    operations: [
      { addCommunity: "64512:1" },
      { addCommunity: "64512:1" },
      { addCommunity: "1:2:3" },
      { prependAsPath: [65010, 65011] },
      { setPriority: 100 },
    ],
  }], { attributes: { asPath: [{ type: 2, asns: [65001] }] } });
  assert.deepEqual(draft.attributes.communities, [64512 * 65536 + 1]);
  assert.deepEqual(draft.attributes.largeCommunities, [[1, 2, 3]]);
  assert.deepEqual(draft.attributes.asPath, [{ type: 2, asns: [65010, 65011, 65001] }]);
  assert.equal(draft.attributes.localPref, 2147483647 - 100);
  assert.equal(draft.metric, 100);
});

Deno.test("several filters are asked in turn, and names without a filter are skipped", () => {
  const rules = (action: "Accept" | "Reject", peerType?: "iBGP") => [{ action, ...(peerType ? { peerType } : {}) }];
  const none = { importV6: [], exportV4: [], exportV6: [] };
  const filters = [
    { ...none, name: "one", importV4: rules("Accept", "iBGP") },
    { ...none, name: "two", importV4: rules("Reject") },
  ];
  const filter = compileFilters(["gone", "one", "two"], filters, "import", new PrefixClasses(4));
  const id = store.internValue({ ...EMPTY_ATTRIBUTES, nextHop: new Uint8Array(16), localPref: 1 });
  const draft = () => new RouteDraft(store).begin(id, 0, "peer");
  assert.equal(filter?.(draft(), true), "accept");
  assert.equal(filter?.(draft(), false), "reject");
  assert.equal(compileFilters(["one"], filters, "export", new PrefixClasses(4)), undefined);
});

Deno.test("communities are read in both forms and nothing else", () => {
  assert.equal(parseCommunity("65535:65535"), 0xffffffff);
  assert.deepEqual(parseCommunity("4294967295:0:1"), [4294967295, 0, 1]);
  for (const text of ["65536:1", "1", "1:2:3:4", "a:b", "", "1:-1", "4294967296:1:1"]) {
    assert.equal(parseCommunity(text), undefined, text);
  }
});

Deno.test("interface patterns know stars and question marks and take all else as it is", () => {
  assert.ok(matchesInterface("*.cali", "vxlan.cali"));
  assert.ok(matchesInterface("eth?", "eth1"));
  assert.ok(!matchesInterface("eth?", "eth10"));
  assert.ok(!matchesInterface("eth.0", "eth10"));
  assert.ok(!matchesInterface("cali", "cali1"));
});

Deno.test("a class holds exactly the conditions that hold for the prefix, whatever order they came in", () => {
  const cidr = fc.tuple(fc.nat(0xffffffff), fc.nat(32)).map(([word, length]) =>
    Cidr.of(Ip.fromNumber(word & 0x0f0000ff), length)
  );
  fc.assert(
    fc.property(
      fc.array(cidr, { maxLength: 40 }),
      fc.array(cidr, { minLength: 1, maxLength: 20 }),
      (tests, prefixes) => {
        const classes = new PrefixClasses(4);
        const conditions = tests.map((test) => ({
          test,
          inside: classes.inside(test.toString()),
          equal: classes.equal(test.toString()),
        }));
        for (const prefix of prefixes) {
          const [w0] = wordsOf(prefix.ip.bytes);
          const number = classes.classOf(w0, 0, 0, 0, prefix.length);
          for (const { test, inside, equal } of conditions) {
            assert.equal(classes.holds(number, inside), test.contains(prefix));
            assert.equal(classes.holds(number, equal), test.equals(prefix));
          }
        }
      },
    ),
  );
});
