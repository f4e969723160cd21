/** Whole resources against the verdicts of Calico's validator, and numbers-or-strings against its readers. */

import assert from "node:assert/strict";
import { formatConfigError } from "../../../src/model/config_error.ts";
import { parseAsNumber, parseDscp, parsePort, parseUint8OrName, portValue } from "../../../src/model/num_or_string.ts";
import { parseResource } from "../../../src/model/parse.ts";
import { readResource, serializeResource } from "../../../src/model/read.ts";
import { conformanceTest } from "./conformance.ts";

interface Row {
  id: number;
  kind: string;
  object?: { kind: string };
  objectValid?: boolean;
  jsonLossy?: boolean;
  note: string;
}

conformanceTest<{ cases: Row[] }>(
  "Resources are accepted and refused as by Calico's validator",
  "validator.json",
  ({ cases }) => {
    const wrong: string[] = [];
    let judged = 0;
    for (const row of cases) {
      if (!row.object || row.jsonLossy || row.objectValid === undefined) continue;
      judged++;
      const { resource, errors } = parseResource(row.object);
      if ((resource !== undefined) === row.objectValid) continue;
      const why = errors?.map(formatConfigError).join(" | ") ?? "accepted";
      wrong.push(`${row.id} ${row.object.kind} ${row.note}: ${why}\n  ${JSON.stringify(row.object)}`);
    }
    assert.ok(judged > 0);
    assert.deepEqual(wrong, []);
  },
);

conformanceTest<{ cases: Row[] }>("Accepted resources survive being stored and read", "validator.json", ({ cases }) => {
  let stored = 0;
  for (const row of cases) {
    const { resource } = row.object && !row.jsonLossy ? parseResource(row.object) : {};
    if (!resource) continue;
    const text = serializeResource(resource);
    const again = readResource(text);
    assert.equal(serializeResource(again), text);
    assert.equal(again.metadata.name, resource.metadata.name);
    stored++;
  }
  assert.ok(stored > 0);
});

interface NumRow {
  type: string;
  json: string;
  valid: boolean;
  value?: number;
  reserialized?: string;
  min?: number;
  max?: number;
  name?: string;
}

/** Reads one value as its type; the JSON of what comes out, or undefined when it is none. */
function read(row: NumRow): unknown {
  let value: unknown;
  try {
    value = JSON.parse(row.json);
  } catch {
    return undefined;
  }
  if (row.type === "ASNumber") return parseAsNumber(value);
  if (row.type !== "Port") return parseUint8OrName(value);
  const port = parsePort(value);
  return port && portValue(port);
}

conformanceTest<{ cases: NumRow[] }>("Numbers or strings are read as in Calico", "num-or-string.json", ({ cases }) => {
  for (const row of cases) {
    const value = read(row);
    assert.equal(value !== undefined, row.valid, JSON.stringify(row));
    if (row.valid && row.reserialized !== undefined) assert.equal(JSON.stringify(value), row.reserialized);
    if (row.type === "ASNumber" && row.valid) assert.equal(value, row.value);
    if (row.type === "Port" && row.valid) {
      const port = parsePort(JSON.parse(row.json));
      assert.ok(port);
      assert.equal("name" in port ? port.name : "", row.name);
      if (!("name" in port)) assert.deepEqual([port.min, port.max], [row.min, row.max]);
    }
    if (row.type === "DSCP" && row.valid) assert.ok(parseDscp(JSON.parse(row.json)) !== undefined);
  }
});
