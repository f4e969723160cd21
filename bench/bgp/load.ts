/**
 * The load generator, a program of its own: `deno run -A bench/bgp/load.ts '{…}'` inside the load's namespace. It makes all
 * messages before the clock runs, drives the peers, and prints one line of JSON with what it measured.
 *
 *   feed    one peer announces N networks, ten to a set of attributes, until another has all
 *   fib     the same, until the kernel of the speaker's namespace has all
 *   fan     C peers announce 100 networks each, sessions first, until each has all others'
 *   rush    the same, all at once
 *   flap    after a fan, one peer withdraws and announces 1 and 100 networks; medians until all others saw it
 */

import { EMPTY_ATTRIBUTES, encodeAttributes } from "../../src/bgp/wire/attributes.ts";
import { IPV4_UNICAST } from "../../src/bgp/wire/constants.ts";
import { PLAIN_INTERNAL } from "../../src/bgp/wire/options.ts";
import { encodeAnnounceIpv4, encodeWithdraw } from "../../src/bgp/wire/update_encode.ts";
import { type Client, makeClient } from "./client.ts";
import { FIRST_PREFIX, peerAddress } from "./scene.ts";

/** What to do; `pids` are the speaker's processes. */
export interface LoadOrder {
  readonly work: "feed" | "fib" | "fan" | "rush" | "flap";
  /** Networks in all, or peers in a fan. */
  readonly size: number;
  readonly pids: readonly number[];
  readonly timeoutMs: number;
}

/** What was measured: seconds, seconds of CPU, megabytes. */
export interface LoadResult {
  readonly walls: Readonly<Record<string, number>>;
  readonly cpu: number;
  readonly peakMb: number;
  readonly idleMb: number;
  /** CPU of the load itself while the clock ran. */
  readonly loadCpu: number;
}

const PER_SET = 10;
const PER_CLIENT = 100;
const FLAPS = 15;
const REST_MS = 1500;
const FIB_LOOK_MS = 10;

async function main(order: LoadOrder): Promise<LoadResult> {
  const isFeed = order.work === "feed" || order.work === "fib";
  const peers = isFeed ? 2 : order.size;
  const networks = isFeed ? order.size : order.size * PER_CLIENT;
  const news = makeNews(order.timeoutMs);
  const make = () => Array.from({ length: peers }, (_, i) => makeClient(peerAddress(i), networks, news.tell));
  const tables = isFeed
    ? [announce(0, networks, 0)]
    : Array.from({ length: peers }, (_, i) => announce(i * PER_CLIENT, PER_CLIENT, i));
  let clients: Client[] = [];
  const areUp = () => clients.every(({ isUp }) => isUp);
  const haveAll = () => clients.every(({ known }) => known === networks - PER_CLIENT);
  if (order.work !== "rush") {
    clients = make();
    await news.until(areUp, clients);
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
  }
  const fibBefore = order.work === "fib" ? fibSize(order.pids[0]!) : 0;
  const idleMb = memory(order.pids, "VmRSS");
  const cpuBefore = cpu(order.pids), loadBefore = cpu([Deno.pid]);
  const walls: Record<string, number> = {};
  const begin = performance.now();
  if (isFeed) {
    clients[0]?.send(tables[0]!);
    if (order.work === "feed") await news.until(() => clients[1]?.known === networks, clients);
    else {
      const look = setInterval(news.tell, FIB_LOOK_MS);
      await news.until(() => fibSize(order.pids[0]!) - fibBefore >= networks, clients);
      clearInterval(look);
    }
  } else if (order.work === "rush") {
    clients = make();
    const hasSent = clients.map(() => false);
    await news.until(() => {
      clients.forEach((client, i) => {
        if (client.isUp && !hasSent[i]) client.send(tables[i]!);
        hasSent[i] = client.isUp;
      });
      return haveAll();
    }, clients);
  } else {
    clients.forEach((client, i) => client.send(tables[i]!));
    await news.until(haveAll, clients);
  }
  walls[order.work === "flap" ? "fan" : order.work] = (performance.now() - begin) / 1000;
  if (order.work === "flap") Object.assign(walls, await flaps(clients, networks, news));
  const result = {
    walls,
    cpu: cpu(order.pids) - cpuBefore,
    peakMb: memory(order.pids, "VmHWM"),
    idleMb,
    loadCpu: cpu([Deno.pid]) - loadBefore,
  };
  for (const client of clients) client.close();
  return result;
}

/** Medians of withdrawing and announcing again. */
async function flaps(clients: Client[], networks: number, news: News): Promise<Record<string, number>> {
  const walls: Record<string, number> = {};
  const [flapping, ...others] = clients;
  for (const count of [1, PER_CLIENT]) {
    const times: Record<"withdraw" | "announce", number[]> = { withdraw: [], announce: [] };
    const bytes = { withdraw: encodeWithdraw(IPV4_UNICAST, nlri(0, count)), announce: announce(0, count, 0) };
    for (let i = 0; i < FLAPS; i++) {
      for (const step of ["withdraw", "announce"] as const) {
        const wanted = networks - PER_CLIENT - (step === "withdraw" ? count : 0);
        const begin = performance.now();
        flapping?.send(bytes[step]);
        // The second peer has all but its own, which the first one's are a part of.
        await news.until(() => others.every(({ known }) => known === wanted), clients);
        times[step].push((performance.now() - begin) / 1000);
      }
    }
    for (const [step, list] of Object.entries(times)) walls[`${step} ${count}`] = median(list);
  }
  return walls;
}

interface News {
  tell(): void;
  /** Resolves when the condition holds after some news; rejects at the end of time or when a session is lost. */
  until(condition: () => boolean, clients: readonly Client[]): Promise<void>;
}

function makeNews(timeoutMs: number): News {
  let check = () => {};
  return {
    tell: () => check(),
    until: (condition, clients) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`not done after ${timeoutMs / 1000} s`)), timeoutMs);
        const end = (settle: () => void) => {
          check = () => {};
          clearTimeout(timer);
          settle();
        };
        check = () => {
          const lost = clients.find((client) => client.lost)?.lost;
          if (lost) end(() => reject(new Error(`a session was lost: ${lost}`)));
          else if (condition()) end(resolve);
        };
        check();
      }),
  };
}

/** UPDATE messages for `count` networks from `first` on, in an order that no table is sorted by. */
function announce(first: number, count: number, client: number): Uint8Array {
  const messages: Uint8Array[] = [];
  for (let i = 0; i < count; i += PER_SET) {
    const number = (first + i) / PER_SET;
    const attributes = encodeAttributes({
      ...EMPTY_ATTRIBUTES,
      nextHop: Uint8Array.from(peerAddress(client).split(".").map(Number)),
      localPref: 100,
      med: number % 2 === 0 ? undefined : number % 1000,
      asPath: [{ type: 2, asns: [65000 + number % 7, 3356, ...Array(number % 4).fill(174), 200000 + number] }],
      communities: Array.from({ length: number % 5 }, (_, at) => (64512 * 65536 + number % 60000 + at) >>> 0),
    }, PLAIN_INTERNAL);
    messages.push(encodeAnnounceIpv4(attributes, nlri(first + i, Math.min(PER_SET, count - i), first, count)));
  }
  const out = new Uint8Array(messages.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const message of messages) {
    out.set(message, at);
    at += message.length;
  }
  return out;
}

/** Networks by number; inside a range of `span` they are spread by a multiplier that has no factor in common with it. */
function nlri(from: number, count: number, first = from, span = 0): Uint8Array {
  const out = new Uint8Array(count * 4);
  for (let i = 0; i < count; i++) {
    const place = span > PER_CLIENT ? (from - first + i) * 7919 % span : from - first + i;
    const network = FIRST_PREFIX + first + place;
    out.set([24, network >> 16, network >> 8, network], i * 4);
  }
  return out;
}

/** Routes in the main table of a process's namespace (a walk through the trie, for everybody alike). */
function fibSize(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/net/fib_triestat`);
  return Number(/Prefixes:\s+(\d+)/.exec(text)?.[1] ?? 0);
}

/** Seconds of CPU that the processes have used. */
function cpu(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}

function memory(pids: readonly number[], field: "VmHWM" | "VmRSS"): number {
  return pids.reduce((sum, pid) => {
    const found = new RegExp(`${field}:\\s+(\\d+)`).exec(Deno.readTextFileSync(`/proc/${pid}/status`));
    return sum + Number(found?.[1] ?? 0) / 1024;
  }, 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

try {
  console.log(JSON.stringify(await main(JSON.parse(Deno.args[0] ?? ""))));
  Deno.exit(0);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  Deno.exit(1);
}
