/**
 * Reads a lab's description from YAML: the members of `Topology`, as in `config/lab.yaml`.
 *
 * Everything that is wrong is found before anything is built, and named by file, line and member.
 */

import { LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { Cidr, tryParseIpNet } from "../lib/cidr.ts";
import { LabError } from "./lab.ts";
import type { Topology } from "./topology.ts";

const name = z.string().regex(/^[a-z][a-z0-9-]{0,14}$/, "write 1 to 15 lower-case letters, digits and dashes");
const address = z.string().refine(
  (text) => tryParseIpNet(text)?.ip.family === 4,
  "write an IPv4 address with its length, like 192.168.100.100/24",
);
const prefix = z.string().refine(
  (text) => Cidr.tryParse(text)?.toString() === text,
  "write a prefix without host bits, like 172.17.8.0/24",
);
const asNumber = z.int().min(1).max(4294967295);

const schema = z.strictObject({
  as: asNumber,
  hosts: z.array(z.strictObject({
    name,
    address,
    pool: prefix,
    workloads: z.array(z.strictObject({ name, labels: z.record(z.string(), z.string()).default({}) })).default([]),
  })).min(1).max(64),
  router: z.strictObject({ name, address, as: asNumber, originates: prefix }),
});

/** Reads a lab's description; throws `LabError` with a line for each mistake. */
export function readTopology(text: string, file: string): Topology {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    throw new LabError(
      document.errors.map((error) => `${at(error.pos[0])}: ${error.message.split("\n")[0]}`).join("\n"),
    );
  }
  const { data, error } = schema.safeParse(document.toJS());
  if (error) {
    throw new LabError(
      error.issues.map((issue) => {
        const node = document.getIn(issue.path, true) as { range?: [number, number, number] } | undefined;
        return `${at(node?.range?.[0] ?? 0)}: ${issue.path.join(".") || "the file"}: ${issue.message}`;
      }).join("\n"),
    );
  }
  const names = [
    "segment",
    data.router.name,
    ...data.hosts.flatMap((host) => [host.name, ...host.workloads.map((each) => each.name)]),
  ];
  const twice = names.find((each, i) => names.indexOf(each) !== i);
  if (twice !== undefined) {
    throw new LabError(`${file}: the name ${JSON.stringify(twice)} is used twice; give every member its own`);
  }
  return data;
}
