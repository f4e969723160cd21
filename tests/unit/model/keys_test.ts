/** Keys against Calico's answers, and the round trip of every builder through the parser. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import {
  affinityKey,
  affinityPrefix,
  blockKey,
  felixLastStatusKey,
  felixStatusKey,
  handleKey,
  hostEndpointStatusKey,
  ipamConfigKey,
  parseKey,
  resourceKey,
  resourcePrefix,
  type StoreKey,
  workloadStatusKey,
} from "../../../src/model/keys/mod.ts";
import { KINDS } from "../../../src/model/kinds.ts";
import { conformanceTest } from "./conformance.ts";

interface Row {
  path: string;
  key: { type: string; fields: Record<string, string> } | null;
  canonicalPath?: string;
}

/** Puts a key into Calico's words. */
function inCalicoWords(key: StoreKey | undefined): Row["key"] {
  switch (key?.type) {
    // Calico has no name for the key of the IPAM settings in this table.
    case undefined:
    case "ipamConfig":
      return null;
    case "resource":
      return { type: "ResourceKey", fields: { Kind: key.kind, Name: key.name, Namespace: key.namespace ?? "" } };
    case "block":
      return { type: "BlockKey", fields: { CIDR: key.cidr.toString() } };
    case "affinity":
      return {
        type: "BlockAffinityKey",
        fields: { AffinityType: key.owner.type, CIDR: key.cidr.toString(), Host: key.owner.name },
      };
    case "handle":
      return { type: "IPAMHandleKey", fields: { HandleID: key.id } };
    case "status":
      return { type: "ActiveStatusReportKey", fields: { Hostname: key.node, RegionString: key.region } };
    case "lastStatus":
      return { type: "LastStatusReportKey", fields: { Hostname: key.node, RegionString: key.region } };
    case "workloadStatus":
      return {
        type: "WorkloadEndpointStatusKey",
        fields: {
          EndpointID: key.endpoint,
          Hostname: key.node,
          OrchestratorID: key.orchestrator,
          RegionString: key.region,
          WorkloadID: key.workload,
        },
      };
    case "hostEndpointStatus":
      return { type: "HostEndpointStatusKey", fields: { EndpointID: key.endpoint, Hostname: key.node } };
    case "v1":
      return { type: key.v1Type, fields: { ...key.fields } };
  }
}

/** Writes a key back as its builder does; undefined for kinds of keys that are never written. */
function build(key: StoreKey): string | undefined {
  const region = (text: string) => text === "no-region" ? undefined : text.replace(/^region-/, "");
  switch (key.type) {
    case "resource":
      return key.namespace === undefined || key.namespace !== ""
        ? resourceKey(key.kind, key.name, key.namespace)
        : undefined;
    case "block":
      return blockKey(key.cidr);
    case "affinity":
      return affinityKey(key.owner, key.cidr);
    case "handle":
      return handleKey(key.id);
    case "ipamConfig":
      return ipamConfigKey;
    case "status":
      return felixStatusKey(key.node, region(key.region));
    case "lastStatus":
      return felixLastStatusKey(key.node, region(key.region));
    case "workloadStatus":
      return workloadStatusKey(key, region(key.region));
    case "hostEndpointStatus":
      return hostEndpointStatusKey(key.node, key.endpoint);
    case "v1":
      return undefined;
  }
}

/** An affinity of a virtual owner is a key of ours that Calico's generic parser does not know. */
const isKnownHereOnly = (key: StoreKey | undefined) => key?.type === "affinity" && key.owner.type === "virtual";

conformanceTest<{ cases: Row[] }>("Keys are read and written as in Calico", "keys.json", ({ cases }) => {
  for (const { path, key, canonicalPath } of cases) {
    const actual = parseKey(path);
    if (isKnownHereOnly(actual)) {
      assert.equal(key, null);
      continue;
    }
    assert.deepEqual(inCalicoWords(actual), key, path);
    if (actual && canonicalPath && actual.type !== "v1") assert.equal(build(actual), canonicalPath);
  }
});

const word = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?$/);
const v4 = fc.tuple(fc.nat(0xffffffff), fc.integer({ min: 20, max: 32 }))
  .map(([value, length]) => Cidr.of(Ip.fromNumber(value), length));
const v6 = fc.tuple(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), fc.integer({ min: 116, max: 128 }))
  .map(([value, length]) => Cidr.of(Ip.fromBigInt(6, value), length));
const identifier = fc.string({ minLength: 1, maxLength: 8 });

Deno.test("What a key builder writes is read back as the same", () => {
  const keys: fc.Arbitrary<StoreKey> = fc.oneof(
    fc.tuple(fc.constantFrom(...KINDS), word, word).map(([entry, namespace, name]): StoreKey =>
      entry.namespaced
        ? { type: "resource", kind: entry.kind, namespace, name }
        : { type: "resource", kind: entry.kind, name }
    ),
    fc.oneof(v4, v6).map((cidr): StoreKey => ({ type: "block", cidr })),
    fc.tuple(fc.constantFrom("host" as const, "virtual" as const), word, fc.oneof(v4, v6)).map((
      [type, name, cidr],
    ): StoreKey => ({ type: "affinity", owner: { type, name }, cidr })),
    word.map((id): StoreKey => ({ type: "handle", id })),
    fc.constant<StoreKey>({ type: "ipamConfig" }),
    fc.tuple(fc.constantFrom("status" as const, "lastStatus" as const), word).map(([type, node]): StoreKey => ({
      type,
      node,
      region: "no-region",
    })),
    fc.tuple(word, identifier, identifier, identifier).map(([node, orchestrator, workload, endpoint]): StoreKey => ({
      type: "workloadStatus",
      node,
      region: "no-region",
      orchestrator,
      workload,
      endpoint,
    })),
    fc.tuple(word, identifier).map(([node, endpoint]): StoreKey => ({ type: "hostEndpointStatus", node, endpoint })),
  );
  fc.assert(fc.property(keys, (key) => {
    const text = build(key);
    assert.ok(text !== undefined);
    const again = parseKey(text);
    assert.ok(again !== undefined);
    assert.equal(JSON.stringify(again), JSON.stringify(key));
    assert.equal(build(again), text);
  }));
});

Deno.test("Any path is a key or nothing, never an exception", () => {
  const part = fc.constantFrom(
    "calico",
    "v1",
    "bgp",
    "ipam",
    "v2",
    "host",
    "ipv4",
    "block",
    "10.0.0.0-26",
    "",
    "%",
    "handle",
    "felix",
    "policy",
    "tier",
  );
  fc.assert(fc.property(fc.array(part, { maxLength: 10 }), (parts) => {
    const key = parseKey(`/${parts.join("/")}`);
    assert.ok(key === undefined || key.type.length > 0);
  }));
});

Deno.test("Prefixes hold the keys that they are for", () => {
  assert.ok(affinityKey("a", "10.0.0.0/26").startsWith(affinityPrefix("a")));
  assert.ok(!affinityKey("ab", "10.0.0.0/26").startsWith(affinityPrefix("a")));
  assert.ok(resourceKey("NetworkPolicy", "p", "prod").startsWith(resourcePrefix("NetworkPolicy", "prod")));
  assert.throws(() => resourceKey("NetworkPolicy", "p"), RangeError);
});
