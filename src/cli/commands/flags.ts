/** Flags that several commands share, in one place so that they read and behave alike everywhere. */

import { type Terminal, UsageError } from "../terminal.ts";

/** `--socket PATH`: which node to talk to. */
export const socket = {
  kind: "parsed",
  parse: String,
  optional: true,
  placeholder: "PATH",
  brief: "The node's socket [TORTIE_SOCKET, else /run/tortie/tortie.sock]",
} as const;

/** `--config FILE`: the configuration file. */
export const config = {
  kind: "parsed",
  parse: String,
  optional: true,
  placeholder: "FILE",
  brief: "The configuration file [/etc/tortie/tortie.yaml]",
} as const;

/** `-o table|json`: how to show it. */
export const output = {
  kind: "enum",
  values: ["table", "json"],
  default: "table",
  brief: "How to show it",
} as const;

/** An optional flag that takes one word. */
export function word(placeholder: string, brief: string) {
  return { kind: "parsed", parse: String, optional: true, placeholder, brief } as const;
}

/** A flag that may be given several times. */
export function words(placeholder: string, brief: string) {
  return { kind: "parsed", parse: String, optional: true, variadic: true, placeholder, brief } as const;
}

/** A flag that is there or not. */
export function toggle(brief: string) {
  return { kind: "boolean", optional: true, withNegated: false, brief } as const;
}

/** A positional argument that takes one word. */
export function argument(placeholder: string, brief: string) {
  return { parse: String, placeholder, brief } as const;
}

/** A positional argument that completes to one of the words that `propose` gives. */
export function proposedArgument(
  placeholder: string,
  brief: string,
  propose: (terminal: Terminal) => readonly string[] | Promise<readonly string[]>,
) {
  return {
    ...argument(placeholder, brief),
    async proposeCompletions(this: Terminal, partial: string): Promise<readonly string[]> {
      return (await propose(this)).filter((word) => word.startsWith(partial));
    },
  };
}

/** The kinds, as completion proposes them. */
export async function proposedKinds(): Promise<readonly string[]> {
  return (await import("../../model/kinds.ts")).KINDS.map(({ plural }) => plural);
}

/** Splits "KEY=VALUE" pairs into an object; throws `UsageError` naming the one that is not a pair. */
export function parsePairs(pairs: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(pairs.map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`wrong label ${JSON.stringify(pair)}: write KEY=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
}

/** Seconds of a time such as "60s", "5m" or "1h"; at most a day. Throws `Error` for what is none. */
export function parseSeconds(text: string): number {
  const [, digits = "", unit = "s"] = /^([0-9]{1,5})(s|m|h)?$/.exec(text) ?? [];
  const seconds = Number(digits) * (unit === "h" ? 3600 : unit === "m" ? 60 : 1);
  if (seconds < 1 || seconds > 86_400) {
    throw new Error(`${JSON.stringify(text)} is no time from 1s to 24h: write 60s, 5m or 1h`);
  }
  return seconds;
}
