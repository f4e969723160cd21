/**
 * The settings of address management that all hosts share: the key `/calico/ipam/v2/config`.
 *
 * A present value without `auto_allocate_blocks` means false, an absent key means the defaults: borrowing allowed, new
 * blocks claimed as needed, at most 20 blocks a host.
 */

import { ipamConfigKey } from "../../model/keys/build.ts";
import type { Store } from "../../store/store.ts";
import { IpamError } from "../error.ts";
import { formatJson, type JsonObject, parseJsonObject } from "./json64.ts";
import { AGAIN, orAgain, retry } from "./retry.ts";

/** Settings of address management. */
export interface IpamConfig {
  /** Whether a host may only use its own blocks. */
  readonly strictAffinity: boolean;
  /** Whether a host claims new blocks by itself. */
  readonly autoAllocateBlocks: boolean;
  /** The most blocks of one family that a host may claim; 0 means the default of 20. */
  readonly maxBlocksPerHost: number;
}

/** What holds when nothing is configured. */
export const DEFAULT_IPAM_CONFIG: IpamConfig = { strictAffinity: false, autoAllocateBlocks: true, maxBlocksPerHost: 0 };

/** The most blocks of one family that a host may claim when nothing else is configured. */
export const DEFAULT_MAX_BLOCKS = 20;

/** Reads the stored value; throws `IpamError` (`corrupt`). */
export function parseIpamConfig(value: string): IpamConfig {
  const stored = parseStored(value);
  const max = stored.maxBlocksPerHost;
  return {
    strictAffinity: stored.strict_affinity === true,
    autoAllocateBlocks: stored.auto_allocate_blocks === true,
    maxBlocksPerHost: Number.isInteger(max) && (max as number) > 0 ? max as number : 0,
  };
}

function parseStored(value: string): JsonObject {
  try {
    return parseJsonObject(value);
  } catch (error) {
    throw new IpamError(
      "corrupt",
      `Cannot read ${ipamConfigKey}: ${(error as Error).message}; write it anew with "ipam configure"`,
      { cause: error },
    );
  }
}

/** The settings in the store. */
export async function readIpamConfig(store: Store): Promise<IpamConfig> {
  const entry = await store.get(ipamConfigKey);
  return entry ? parseIpamConfig(entry.value) : DEFAULT_IPAM_CONFIG;
}

/** Why the settings contradict each other; undefined when they do not. */
export function configFault(config: IpamConfig): string | undefined {
  if (!config.strictAffinity && !config.autoAllocateBlocks) {
    return "strict affinity and automatic blocks cannot both be off: a host could neither claim a block nor be held to its own";
  }
  if (!Number.isInteger(config.maxBlocksPerHost) || config.maxBlocksPerHost < 0) {
    return `the most blocks per host is ${config.maxBlocksPerHost}, not a whole number from 0`;
  }
  if (config.maxBlocksPerHost > 0 && !config.strictAffinity) {
    return "a limit of blocks per host needs strict affinity: without it a host borrows past the limit";
  }
  return undefined;
}

/** Changes the settings and keeps what is not named; throws `IpamError` (`config`) when they contradict each other. */
export function configureIpam(store: Store, change: Partial<IpamConfig>): Promise<IpamConfig> {
  return retry("change the address settings", async () => {
    const entry = await store.get(ipamConfigKey);
    const config = { ...entry ? parseIpamConfig(entry.value) : DEFAULT_IPAM_CONFIG, ...change };
    const fault = configFault(config);
    if (fault) throw new IpamError("config", `Cannot change the address settings: ${fault}`);
    const value = formatIpamConfig(config, entry ? parseStored(entry.value) : {});
    const write = entry ? store.update(ipamConfigKey, value, entry.revision) : store.create(ipamConfigKey, value);
    return await orAgain(write, "exists", "missing", "conflict") === AGAIN ? AGAIN : config;
  });
}

function formatIpamConfig(config: IpamConfig, stored: JsonObject): string {
  const { strict_affinity: _strict, auto_allocate_blocks: _auto, maxBlocksPerHost: _max, ...rest } = stored;
  return formatJson({
    ...(config.strictAffinity ? { strict_affinity: true } : {}),
    ...(config.autoAllocateBlocks ? { auto_allocate_blocks: true } : {}),
    ...(config.maxBlocksPerHost > 0 ? { maxBlocksPerHost: config.maxBlocksPerHost } : {}),
    ...rest,
  });
}
