/** Names of workload endpoints against Calico's answers, and the round trip. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  composeWepName,
  composeWepPrefix,
  parseWepName,
  splitWepName,
  type WepIds,
  WepNameError,
  wepNameMatches,
  wepStatusFilename,
  wepStatusId,
} from "../../../src/model/wep_name.ts";
import { conformanceTest } from "./conformance.ts";

type V1Key = { hostname?: string; orchestratorID: string; workloadID: string; endpointID: string } | null;
type Row =
  | { op: "construct"; ids: WepIds; allowPrefix: boolean; name: string; erroredField: string }
  | { op: "match"; ids: WepIds; name: string; matches: boolean; erroredField: string }
  | { op: "parse"; name: string; ids: WepIds; error: boolean }
  | { op: "split4"; name: string; parts: string[] | null }
  | { op: "statusFilename"; key: V1Key; filename: string }
  | { op: "v3nameToV1key"; name: string; namespace: string; key: V1Key };

function erroredField(body: () => unknown): string {
  try {
    body();
    return "";
  } catch (error) {
    assert.ok(error instanceof WepNameError);
    return error.field;
  }
}

conformanceTest<{ cases: Row[] }>(
  "Endpoint names are composed, split, matched and parsed as in Calico",
  "wep-names.json",
  ({ cases }) => {
    for (const row of cases) {
      const note = JSON.stringify(row);
      switch (row.op) {
        case "construct": {
          const compose = () => row.allowPrefix ? composeWepPrefix(row.ids) : composeWepName(row.ids);
          assert.equal(erroredField(compose), row.erroredField, note);
          if (!row.erroredField) assert.equal(compose(), row.name, note);
          break;
        }
        case "match":
          assert.equal(erroredField(() => wepNameMatches(row.name, row.ids)), row.erroredField, note);
          if (!row.erroredField) assert.equal(wepNameMatches(row.name, row.ids), row.matches, note);
          break;
        case "parse": {
          const filled = Object.entries(parseWepName(row.name) ?? {}).filter(([, part]) => part !== "");
          assert.equal(parseWepName(row.name) === undefined, row.error, note);
          assert.deepEqual(Object.fromEntries(filled), row.ids, note);
          break;
        }
        case "split4":
          assert.deepEqual(splitWepName(row.name) ?? null, row.parts, note);
          break;
        case "statusFilename":
          if (!row.key) break;
          assert.equal(
            wepStatusFilename({
              orchestrator: row.key.orchestratorID,
              workload: row.key.workloadID,
              endpoint: row.key.endpointID,
            }),
            row.filename,
            note,
          );
          break;
        case "v3nameToV1key": {
          const id = wepStatusId(row.name, row.namespace);
          const key = id &&
            { hostname: id.node, orchestratorID: id.orchestrator, workloadID: id.workload, endpointID: id.endpoint };
          assert.deepEqual(key ?? null, row.key ?? null, note);
          break;
        }
      }
    }
  },
);

Deno.test("A composed name parses back to its identifiers", () => {
  const word = fc.stringMatching(/^[a-z0-9.]([a-z0-9.-]{0,6}[a-z0-9.])?$/);
  const ids = fc.oneof(
    fc.record({ node: word, orchestrator: fc.constant("cni"), containerID: word, endpoint: word }),
    fc.record({ node: word, orchestrator: fc.constant("k8s"), pod: word, endpoint: word }),
    fc.record({ node: word, orchestrator: fc.constant("tortie"), workload: word, endpoint: word }),
  );
  fc.assert(fc.property(ids, (given: WepIds) => {
    const name = composeWepName(given);
    assert.deepEqual(parseWepName(name), { ...given });
    assert.equal(wepNameMatches(name, given), true);
    assert.ok(name.startsWith(composeWepPrefix({ node: given.node, orchestrator: given.orchestrator })));
  }));
});
