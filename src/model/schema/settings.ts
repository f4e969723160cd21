/** Schema of the node's settings, the first document of tortie.yaml. */

import { z } from "zod";
import { tryParseIpNet } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import type { Family } from "../../lib/ip.ts";
import { DEFAULT_SETTINGS, ipMethod } from "../config.ts";
import { nearest } from "../nearest.ts";
import { splitPeerIP } from "../resources/bgp_peer.ts";
import { checkCidr, checkIp, checkName, type Complaint, strict, text } from "./fields.ts";
import { problem } from "./issue.ts";

const { node, log, metrics } = DEFAULT_SETTINGS;
const METHODS = ["autodetect", "first-found", "none", "interface=", "skip-interface=", "can-reach=", "cidr="];

const path = text((value) =>
  value.startsWith("/") ? undefined : [`${JSON.stringify(value)} is not an absolute path`, { hint: "start with /" }]
);
const optionalPath = path.optional();

const nodeSettings = strict({
  name: text(checkName).optional(),
  ip: text((value) => checkMethod(value, 4)).default(node.ip),
  ip6: text((value) => checkMethod(value, 6)).default(node.ip6),
  stateDir: path.default(node.stateDir),
  socket: path.default(node.socket),
});

const endpoint = text((value) => {
  const url = URL.parse(value);
  if (url && (url.protocol === "http:" || url.protocol === "https:") && url.pathname === "/") return undefined;
  return [`${JSON.stringify(value)} is not the URL of an etcd server`, { hint: "write https://10.0.0.5:2379" }];
});

const datastore = strict({
  type: z.enum(["file", "etcd"]).default("file"),
  endpoints: z.array(endpoint).default([]),
  caFile: optionalPath,
  certFile: optionalPath,
  keyFile: optionalPath,
  username: z.string().optional(),
  passwordFile: optionalPath,
}).check((context) => {
  const { type, endpoints, certFile, keyFile, username, passwordFile } = context.value;
  const missing = (member: string, hint: string) => problem(context, "is missing", { path: [member], hint });
  if (type === "etcd" && endpoints.length === 0) missing("endpoints", "write [https://10.0.0.5:2379]");
  if (type === "file" && endpoints.length > 0) {
    problem(context, "the file datastore has no endpoints", {
      path: ["endpoints"],
      hint: "add type: etcd, or remove them",
    });
  }
  if (certFile && !keyFile) missing("keyFile", "a certificate needs its key");
  if (keyFile && !certFile) missing("certFile", "a key needs its certificate");
  if (username && !passwordFile) missing("passwordFile", "username and passwordFile belong together");
  if (passwordFile && !username) missing("username", "username and passwordFile belong together");
});

/** The schema of the settings; absent keys get their defaults. */
export const settingsSchema = strict({
  node: nodeSettings.prefault({}),
  datastore: datastore.prefault({}),
  log: strict({
    level: z.enum(["debug", "info", "warn", "error"]).default(log.level),
    format: z.enum(["auto", "text", "json"]).default(log.format),
  }).prefault({}),
  metrics: strict({ listen: text(checkListen).default(metrics.listen) }).prefault({}),
});

function checkMethod(value: string, family: Family): Complaint {
  const given = ipMethod(value);
  switch (given.method) {
    case "none":
    case "first-found":
      return undefined;
    case "address": {
      const address = tryParseIpNet(value)?.ip ?? Ip.tryParse(value);
      if (address?.family === family) return undefined;
      if (address) {
        return [`${value} is not an IPv${family} address`, { hint: `put it into ${family === 4 ? "ip6" : "ip"}` }];
      }
      const near = nearest(value.replace(/=.*/, "="), METHODS) ?? nearest(value, METHODS);
      const hint = near
        ? `did you mean ${near}${near.endsWith("=") ? "…" : ""}?`
        : `an address, or ${METHODS.join(", ")}`;
      return [`${JSON.stringify(value)} is neither an address nor a way to find one`, { hint }];
    }
    case "cidr":
      return each(value, "cidr=", (part) => checkCidr(part, { family, mayHaveHostBits: true }));
    case "interface":
    case "skip-interface":
      return each(value, `${given.method}=`, checkPattern);
    case "can-reach":
      return /\s/.test(given.argument)
        ? `${JSON.stringify(given.argument)} is not an address or a host name`
        : undefined;
  }
}

function each(value: string, prefix: string, check: (part: string) => Complaint): Complaint {
  return value.slice(prefix.length).split(",").map(check).find((complaint) => complaint !== undefined);
}

function checkPattern(part: string): Complaint {
  try {
    return new RegExp(part) && part !== "" ? undefined : "an interface name is empty";
  } catch {
    return [`${JSON.stringify(part)} is not a regular expression`, { hint: "write it like eth.*" }];
  }
}

function checkListen(value: string): Complaint {
  if (value === "off") return undefined;
  const split = splitPeerIP(value);
  if (split?.port !== undefined && checkIp(split.address) === undefined) return undefined;
  return [`${JSON.stringify(value)} is not an address with a port`, {
    hint: "write 127.0.0.1:9091, [::1]:9091 or off",
  }];
}
