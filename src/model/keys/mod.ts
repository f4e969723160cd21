/**
 * Keys of the store: the builders and the parser. The layout is Calico's (etcd v3): `/calico/resources/v3/…` for
 * resources, `/calico/ipam/v2/…` for addresses, `/calico/felix/…` for status.
 */

export * from "./build.ts";
export * from "./parse.ts";
export * from "./escape.ts";
