/** Schemas of protocols, ports and the named ports of endpoints. */

import { z } from "zod";
import { parsePort, parseProtocol, parseUint8OrName, PROTOCOL_NUMBERS, protocolHasPorts } from "../num_or_string.ts";
import { checkCidr, type Complaint, integer, optionalText, strict, text } from "./fields.ts";
import { problem } from "./issue.ts";

const PROTOCOL_NAMES = Object.keys(PROTOCOL_NUMBERS);

/** A protocol: a name or a number from 1; comes out as the JSON value. */
export const protocol = z.union([z.number(), z.string()]).check((context) => {
  const read = parseUint8OrName(context.value);
  if (typeof read === "number" ? read > 0 : PROTOCOL_NAMES.includes(read ?? "")) return;
  const known = PROTOCOL_NAMES.find((name) => name.toLowerCase() === String(context.value).toLowerCase());
  problem(context, `${JSON.stringify(context.value)} is not a protocol`, {
    hint: known ? `write ${known}` : `allowed: ${PROTOCOL_NAMES.join(", ")} or a number from 1 to 255`,
  });
}).transform((value) => parseUint8OrName(value) ?? value);

/** A protocol with ports. */
export const portProtocol = protocol.check((context) => {
  if (parseProtocol(context.value) !== undefined && !protocolHasPorts(context.value)) {
    problem(context, `${context.value} has no ports`, { hint: "use TCP, UDP or SCTP" });
  }
});

/** A port of a rule: a number from 1, a range or a name. */
export const rulePort = z.union([z.number(), z.string()]).check((context) => {
  const port = parsePort(context.value);
  if (port && ("name" in port || port.min >= 1)) return;
  const [, low, high] = /^([0-9]+):([0-9]+)$/.exec(String(context.value)) ?? [];
  const isSwapped = low !== undefined && Number(low) > Number(high);
  problem(context, `${JSON.stringify(context.value)} is not a port`, {
    hint: isSwapped ? `write "${high}:${low}"` : 'write 1 to 65535, "low:high" or the name of a port',
  });
});

/** Checks the name of a port (RFC 6335): lower-case letters, digits and single dashes, one letter at least. */
export function checkPortName(value: string): Complaint {
  if (/^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/.test(value) && value.length <= 15) return undefined;
  return [`${JSON.stringify(value)} is not the name of a port`, {
    hint: "up to 15 lower-case letters, digits and single dashes, a letter among them",
  }];
}

/** A named port of a host endpoint. */
export const endpointPort = strict({ name: text(checkPortName), protocol: portProtocol, port: integer(1, 65535) });

/** A named or forwarded port of a workload endpoint. */
export const workloadPort = strict({
  name: optionalText(checkPortName),
  protocol: portProtocol,
  port: integer(1, 65535),
  hostPort: integer(0, 65535).optional(),
  hostIP: optionalText((value) => checkCidr(value, { mayBeAddress: true })),
}).check((context) => {
  if (!context.value.name && !context.value.hostPort) {
    problem(context, "is missing", { path: ["name"], hint: "a port has a name, a hostPort or both" });
  }
});
