/**
 * The node's own settings: the first document of tortie.yaml. Every key may be left out; these are the defaults.
 *
 * `node.name` has no default here, because the name of the host comes from outside: see `nodeName`.
 */

/** How node addresses are found: "none", "autodetect", an address, or a method such as "interface=eth.*". */
export type IpMethod =
  | { readonly method: "none" | "first-found" }
  | { readonly method: "address"; readonly address: string }
  | { readonly method: "interface" | "skip-interface" | "can-reach" | "cidr"; readonly argument: string };

/** Log levels, from the most talkative. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The settings of a node, with defaults. */
export interface NodeSettings {
  readonly node: {
    /** Absent: the host's name. */
    readonly name?: string;
    readonly ip: string;
    readonly ip6: string;
    readonly stateDir: string;
    readonly socket: string;
  };
  readonly datastore: {
    readonly type: "file" | "etcd";
    /** URLs; not empty for etcd. */
    readonly endpoints: readonly string[];
    readonly caFile?: string;
    readonly certFile?: string;
    readonly keyFile?: string;
    readonly username?: string;
    readonly passwordFile?: string;
  };
  readonly log: { readonly level: LogLevel; readonly format: "auto" | "text" | "json" };
  /** `listen` is "address:port", or "off". */
  readonly metrics: { readonly listen: string };
}

/** The settings of an empty file. */
export const DEFAULT_SETTINGS: NodeSettings = {
  node: { ip: "autodetect", ip6: "none", stateDir: "/var/lib/tortie", socket: "/run/tortie/tortie.sock" },
  datastore: { type: "file", endpoints: [] },
  log: { level: "info", format: "auto" },
  metrics: { listen: "127.0.0.1:9091" },
};

/** Where the configuration is looked for. */
export const DEFAULT_CONFIG_FILE = "/etc/tortie/tortie.yaml";

/** The node's name: the one that is set, else the host's name as Calico takes it (trimmed, in lower case). */
export function nodeName(settings: NodeSettings, hostName: string): string {
  return settings.node.name ?? hostName.trim().toLowerCase();
}

/** Reads `node.ip` or `node.ip6`; what has no known form is taken for an address. */
export function ipMethod(text: string): IpMethod {
  if (text === "none") return { method: "none" };
  if (text === "autodetect" || text === "first-found") return { method: "first-found" };
  const [, method, argument] = /^(interface|skip-interface|can-reach|cidr)=(.+)$/.exec(text) ?? [];
  if (method === undefined || argument === undefined) return { method: "address", address: text };
  return { method: method as "interface", argument };
}
