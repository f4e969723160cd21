/**
 * The types of fields that resources are made of, as zod schemas whose errors say how to mend them.
 *
 * An optional text that is empty counts as absent, as in Calico. Where Calico takes a bare address for a prefix so do we.
 */

import { z } from "zod";
import { Cidr, tryParseIpNet } from "../../lib/cidr.ts";
import { type Family, Ip } from "../../lib/ip.ts";
import { parseMac } from "../../lib/mac.ts";
import { parseDuration } from "../duration.ts";
import { parseAsNumber } from "../num_or_string.ts";
import { SelectorError } from "../selector/mod.ts";
import { parseSelector } from "../selector/parser.ts";
import { problem, type ProblemDetails } from "./issue.ts";

/** An object without unknown keys; the error's text is the list of the known ones (`explainIssue` reads it). */
export function strict<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const known = Object.keys(shape).join(" ");
  return z.strictObject(shape, { error: (issue) => issue.code === "unrecognized_keys" ? known : undefined });
}

/** What a check of a text found wrong: a message, or one with details. */
export type Complaint = string | readonly [message: string, details: ProblemDetails] | undefined;

/** A text that must pass the check. */
export function text(check: (value: string) => Complaint) {
  return z.string().check((context) => {
    const complaint = check(context.value);
    if (typeof complaint === "string") problem(context, complaint);
    else if (complaint) problem(context, complaint[0], complaint[1]);
  });
}

/** A text that may be absent or empty, else must pass the check. */
export function optionalText(check: (value: string) => Complaint = () => undefined) {
  return text((value) => value === "" ? undefined : check(value)).transform((value) => value || undefined).optional();
}

/** One of these words; absent and empty are the same. */
export function optionalEnum<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum([...words, ""] as [...Words, ""]).transform((value): Words[number] | undefined => value || undefined)
    .optional();
}

/** A whole number between two others. */
export function integer(min: number, max: number) {
  return z.int().min(min).max(max);
}

const LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?";
const NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);

/** Checks a resource name: lower-case letters, digits, - and . (RFC 1123), at most 253 characters. */
export function checkName(value: string): Complaint {
  if (value.length > 253) return [`has ${value.length} characters`, { hint: "at most 253" }];
  if (NAME.test(value)) return undefined;
  const lower = value.toLowerCase();
  const hint = NAME.test(lower)
    ? `write ${JSON.stringify(lower)}`
    : "use lower-case letters, digits, - and . (a letter or digit at both ends of every part)";
  return [`${JSON.stringify(value)} is not a name`, { hint }];
}

/** Checks an interface name; wildcards only where asked for. */
export function checkInterface(value: string, wildcards = ""): Complaint {
  if (value === "*" || new RegExp(`^[a-zA-Z0-9_.${wildcards}-]{1,15}$`).test(value)) return undefined;
  return [`${JSON.stringify(value)} is not an interface name`, { hint: "1 to 15 letters, digits and _ . -" }];
}

/** Checks an address, of one family if given. */
export function checkIp(value: string, family?: Family): Complaint {
  const ip = Ip.tryParse(value);
  if (ip && (!family || ip.family === family)) return undefined;
  const noun = family ? `an IPv${family} address` : "an IP address";
  const cidr = tryParseIpNet(value);
  return [`${JSON.stringify(value)} is not ${noun}`, cidr ? { hint: `write ${cidr.ip} without the length` } : {}];
}

/** What a prefix must be like. */
export interface CidrRules {
  readonly family?: Family;
  /** A bare address stands for a prefix of full length. */
  readonly mayBeAddress?: boolean;
  /** Host bits may be set ("192.0.2.11/24"). */
  readonly mayHaveHostBits?: boolean;
}

/** Checks a prefix. */
export function checkCidr(value: string, rules: CidrRules = {}): Complaint {
  const bare = Ip.tryParse(value);
  const net = tryParseIpNet(value) ?? (bare && { ip: bare, length: bare.bits });
  const noun = rules.family ? `an IPv${rules.family} prefix` : "a prefix";
  if (!net) {
    const example = rules.family === 6 ? "2001:db8::/64" : "192.0.2.0/24";
    return [`${JSON.stringify(value)} is not ${noun}`, { hint: `write it like ${example}` }];
  }
  if (rules.family && net.ip.family !== rules.family) {
    return [`${JSON.stringify(value)} is not ${noun}`, { hint: `it is an IPv${net.ip.family} one` }];
  }
  if (bare && !rules.mayBeAddress) {
    return [`${JSON.stringify(value)} has no prefix length`, {
      hint: `write ${value}/${bare.bits} for the one address`,
    }];
  }
  const masked = Cidr.of(net.ip, net.length);
  if (rules.mayHaveHostBits || masked.ip.equals(net.ip)) return undefined;
  return [`${JSON.stringify(value)} has bits set past its length`, { hint: `write ${masked}` }];
}

/** Checks a selector, pointing at the place inside it; `global()` is allowed only where asked for. */
export function checkSelector(value: string, options: { readonly mayBeGlobal?: boolean } = {}): Complaint {
  if (value.length > 1024) return [`has ${value.length} characters`, { hint: "at most 1024" }];
  const global = value.indexOf("global(");
  if (global >= 0 && !options.mayBeGlobal) {
    return ["global() has no meaning here", {
      offset: global,
      hint: "only a rule's namespaceSelector may be global()",
    }];
  }
  try {
    parseSelector(value);
    return undefined;
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    const { message, hint, offset } = error;
    return [message, hint ? { hint, offset } : { offset }];
  }
}

/** Checks a duration in Go's form. */
export function checkDuration(value: string): Complaint {
  const seconds = parseDuration(value);
  if (seconds !== undefined) return seconds >= 0 ? undefined : [`${value} is negative`, { hint: "write 0s or more" }];
  const hint = /^[0-9.]+$/.test(value) ? `write ${value}s for seconds` : "write it like 90s, 2m or 1h30m";
  return [`${JSON.stringify(value)} is not a duration`, { hint }];
}

export const name = text(checkName);
export const optionalName = optionalText(checkName);
export const optionalIp4 = optionalText((value) => checkIp(value, 4));
export const optionalIp6 = optionalText((value) => checkIp(value, 6));
export const optionalSelector = optionalText(checkSelector);
export const optionalDuration = optionalText(checkDuration);

/** A MAC address; comes out in lower case. */
export const optionalMac = optionalText((value) =>
  parseMac(value) ? undefined : [`${JSON.stringify(value)} is not a MAC address`, {
    hint: "write six pairs of hexadecimal digits with colons, in quotes",
  }]
);

/** An AS number, as a number or text ("1.10"); comes out as a number. */
export const asNumber = z.union([z.number(), z.string()]).check((context) => {
  if (parseAsNumber(context.value) === undefined) {
    problem(context, `${JSON.stringify(context.value)} is not an AS number`, {
      hint: 'write 1 to 4294967295, or "high.low" with both up to 65535',
    });
  }
}).transform((value) => parseAsNumber(value) ?? 0);

/** A BGP community "aa:nn" or "aa:nn:mm". */
export function checkCommunity(value: string): Complaint {
  const parts = value.split(":");
  const max = parts.length === 2 ? 65535 : 4294967295;
  const isForm = (parts.length === 2 || parts.length === 3) && parts.every((part) => /^[0-9]{1,20}$/.test(part));
  if (!isForm) {
    return [`${JSON.stringify(value)} is not a community`, { hint: 'write "aa:nn" or "aa:nn:mm" in quotes' }];
  }
  const large = parts.find((part) => Number(part) > max);
  if (large === undefined) return undefined;
  return [`${large} is too large for a community of ${parts.length} parts`, { hint: `at most ${max}` }];
}

const QUALIFIED = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

/** Checks a label or annotation key: a name of up to 63 characters, with an optional "domain/" before it. */
export function checkQualifiedName(key: string): Complaint {
  const parts = key.split("/");
  const own = parts.at(-1) ?? "";
  const domain = parts.length === 2 ? parts[0] ?? "" : undefined;
  if (parts.length > 2 || !QUALIFIED.test(own) || own.length > 63) {
    return [`${JSON.stringify(key)} is not a valid key`, {
      hint: "up to 63 letters, digits and - _ . after an optional domain/",
    }];
  }
  if (domain !== undefined && (domain.length > 253 || !NAME.test(domain))) {
    return [`${JSON.stringify(key)} is not a valid key`, { hint: "the part before / is a domain name in lower case" }];
  }
  return undefined;
}

/** Labels: keys as above, values of up to 63 letters, digits and - _ . */
export const labels = z.record(z.string(), z.string()).check((context) => {
  for (const [key, value] of Object.entries(context.value)) {
    const complaint = checkQualifiedName(key);
    if (Array.isArray(complaint)) problem(context, complaint[0], { ...complaint[1], path: [key], atKey: true });
    if (value === "" || (value.length <= 63 && QUALIFIED.test(value))) continue;
    problem(context, `${JSON.stringify(value)} is not a label value`, {
      path: [key],
      hint: "up to 63 letters, digits and - _ . with a letter or digit at both ends",
    });
  }
});

/** All annotations of an object together may have this many bytes. */
const MAX_ANNOTATIONS = 256 * 1024;

/** Annotations: keys as those of labels, any values. */
export const annotations = z.record(z.string(), z.string()).check((context) => {
  let size = 0;
  for (const [key, value] of Object.entries(context.value)) {
    const complaint = checkQualifiedName(key.toLowerCase());
    if (Array.isArray(complaint)) problem(context, complaint[0], { ...complaint[1], path: [key], atKey: true });
    size += new TextEncoder().encode(key + value).length;
  }
  if (size > MAX_ANNOTATIONS) {
    problem(context, `annotations have ${size} bytes`, { hint: `at most ${MAX_ANNOTATIONS} in all` });
  }
});
