/** Schema of a rule of a policy or profile, and what must hold between its members. */

import { z } from "zod";
import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { parsePort, parseProtocol, protocolHasPorts } from "../num_or_string.ts";
import { tokenize } from "../selector/tokenizer.ts";
import { protocol, rulePort } from "./endpoint_port.ts";
import {
  annotations,
  checkCidr,
  checkSelector,
  integer,
  optionalName,
  optionalSelector,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const net = text((value) => checkCidr(value, { mayBeAddress: true }));
const notNet = text((value) =>
  checkCidr(value, { mayBeAddress: true }) ??
    (Cidr.tryParse(value)?.length === 0
      ? ["excludes every address, so that the rule matches nothing", { hint: "remove it" }]
      : undefined)
);
const ports = z.array(rulePort).max(50).optional();

const entityRule = strict({
  nets: z.array(net).max(256).optional(),
  notNets: z.array(notNet).max(256).optional(),
  selector: optionalSelector,
  notSelector: optionalText((value) => checkSelector(value, { mayBeGlobal: true })),
  namespaceSelector: optionalText((value) =>
    checkSelector(value, { mayBeGlobal: true }) ??
      (value.includes("global(") && tokenize(value).length > 2
        ? ["global() cannot be combined with other selectors", { offset: value.indexOf("global(") }]
        : undefined)
  ),
  ports,
  notPorts: ports,
  serviceAccounts: strict({ names: z.array(z.string()).optional(), selector: optionalSelector }).optional(),
  services: strict({ name: optionalName, namespace: optionalName }).optional(),
}).check((context) => {
  const entity = context.value;
  if (!entity.services) return;
  if (!entity.services.name) problem(context, "is missing", { path: ["services", "name"] });
  for (
    const member of ["namespaceSelector", "serviceAccounts", "selector", "notSelector", "nets", "notNets"] as const
  ) {
    const value = entity[member];
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    problem(context, "cannot be combined with services", { path: [member], hint: "services name their own endpoints" });
  }
}).meta({ id: "EntityRule" });

const icmp = strict({ type: integer(0, 254).optional(), code: integer(0, 255).optional() }).check((context) => {
  if (context.value.code !== undefined && context.value.type === undefined) {
    problem(context, "is missing", { path: ["type"], hint: "a code belongs to a type" });
  }
});

const httpPath = strict({ exact: optionalText(), prefix: optionalText() }).check((context) => {
  const { exact, prefix } = context.value;
  const path = exact ?? prefix;
  if ((exact === undefined) === (prefix === undefined)) {
    problem(context, "needs either exact or prefix", { hint: "write exact: /a or prefix: /a" });
  } else if (path && (!path.startsWith("/") || /[? #]/.test(path))) {
    problem(context, `${JSON.stringify(path)} is not a path`, { hint: "start with / and leave out ?, # and spaces" });
  }
});

const http = strict({
  methods: z.array(z.string()).max(20).optional(),
  paths: z.array(httpPath).max(20).optional(),
}).check((context) => {
  const methods = context.value.methods ?? [];
  if (new Set(methods).size !== methods.length) problem(context, "names a method twice", { path: ["methods"] });
});

const SIDES = ["source", "destination"] as const;

/** A rule. */
export const rule = strict({
  action: z.enum(["Allow", "Deny", "Log", "Pass"]),
  ipVersion: z.union([z.literal(4), z.literal(6)], { error: "expected 4 or 6" }).optional(),
  protocol: protocol.optional(),
  notProtocol: protocol.optional(),
  icmp: icmp.optional(),
  notICMP: icmp.optional(),
  source: entityRule.optional(),
  destination: entityRule.optional(),
  http: http.optional(),
  metadata: strict({ annotations: annotations.optional() }).optional(),
}).check((context) => {
  checkPorts(context);
  checkFamilies(context);
  const given = context.value;
  const number = parseProtocol(given.protocol);
  if (given.icmp && number !== 1 && number !== 58) {
    problem(context, "needs protocol ICMP or ICMPv6", { path: ["icmp"], hint: "add protocol: ICMP" });
  }
  for (const member of ["protocol", "notProtocol"] as const) {
    const family = { 1: 4, 58: 6 }[parseProtocol(given[member]) ?? 0];
    if (!family || (given.ipVersion ?? family) === family) continue;
    problem(context, `${given[member]} is a protocol of IPv${family}`, {
      path: ["ipVersion"],
      hint: `write ${family}`,
    });
  }
  if (!given.http) return;
  if (given.action !== "Allow") {
    problem(context, "is for Allow rules only", { path: ["http"], hint: "use action: Allow" });
  }
  if (given.protocol !== undefined && number !== 6) {
    problem(context, "needs protocol TCP", { path: ["http"], hint: "use protocol: TCP" });
  }
}).meta({ id: "Rule" });

interface RuleContext {
  readonly value: {
    readonly ipVersion?: 4 | 6;
    readonly protocol?: string | number;
    readonly source?: EntityRule;
    readonly destination?: EntityRule;
  };
  readonly issues: unknown[];
}
type EntityRule = z.output<typeof entityRule>;

function checkPorts(context: RuleContext): void {
  const given = context.value;
  for (const side of SIDES) {
    for (const member of ["ports", "notPorts"] as const) {
      const list = given[side]?.[member];
      if (!list?.length) continue;
      if (side === "destination" && given.destination?.services) {
        problem(context, "cannot be combined with services", { path: [side, member] });
      }
      const needsProtocol = list.some((port) => !("name" in (parsePort(port) ?? { name: "" })));
      if (given.protocol === undefined ? needsProtocol : !protocolHasPorts(given.protocol)) {
        const message = given.protocol === undefined ? "ports need a protocol" : `${given.protocol} has no ports`;
        problem(context, message, { path: [side, member], hint: "set protocol to TCP, UDP or SCTP" });
      }
    }
  }
}

/** All prefixes of a rule must be of one family, that of `ipVersion` if it is given. */
function checkFamilies(context: RuleContext): void {
  let family = context.value.ipVersion;
  for (const side of SIDES) {
    for (const member of ["nets", "notNets"] as const) {
      context.value[side]?.[member]?.forEach((prefix, i) => {
        const found = (Cidr.tryParse(prefix)?.ip ?? Ip.tryParse(prefix))?.family;
        if (found === undefined || (family ?? found) === found) {
          family ??= found;
          return;
        }
        problem(context, `${prefix} is IPv${found}, but the rule is about IPv${family}`, {
          path: [side, member, i],
          hint: "make a rule for each family",
        });
      });
    }
  }
}

/** The rules of one direction. */
export const rules = z.array(rule).max(1024).optional();
