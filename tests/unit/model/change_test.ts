/** What may not be changed or deleted. */

import assert from "node:assert/strict";
import { refuseDelete, refuseUpdate } from "../../../src/model/change.ts";
import { resourceOf } from "../../../src/model/read.ts";

const pool = (cidr: string, blockSize: number) =>
  resourceOf({ kind: "IPPool", metadata: { name: "p" }, spec: { cidr, blockSize, natOutgoing: blockSize === 26 } });
const tier = (name: string) => resourceOf({ kind: "Tier", metadata: { name }, spec: { order: 1 } });

Deno.test("A pool keeps its range and its block size", () => {
  assert.equal(refuseUpdate(pool("10.0.0.0/16", 26), pool("10.0.0.0/16", 26)), undefined);
  assert.equal(refuseUpdate(pool("10.0.0.0/16", 26), pool("10.0.0.0/17", 26))?.field, "spec.cidr");
  assert.equal(refuseUpdate(pool("10.0.0.0/16", 26), pool("10.0.0.0/16", 28))?.field, "spec.blockSize");
});

Deno.test("A tier stays while a policy is in it, and what is built in stays", () => {
  const policy = resourceOf({
    kind: "GlobalNetworkPolicy",
    metadata: { name: "security.p" },
    spec: { tier: "security" },
  });
  assert.match(refuseDelete(tier("security"), [pool("10.0.0.0/16", 26), policy])?.message ?? "", /security\.p/);
  assert.equal(refuseDelete(tier("other"), [policy]), undefined);
  assert.match(refuseDelete(tier("default"), [])?.message ?? "", /built in/);
  assert.equal(refuseDelete(pool("10.0.0.0/16", 26), [policy]), undefined);
});
