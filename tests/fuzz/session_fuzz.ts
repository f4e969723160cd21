/**
 * `deno task fuzz -- N [SEED]`: N mutated messages (10,000,000 when left out), three of four through the decoders and the fourth through
 * whole sessions. Prints a line now and then and the sum; a fault ends it with status 1, the seed of its round and the octets.
 */

import { fuzzDecoders, fuzzSession, type FuzzSum, ROUND } from "./fuzz.ts";

const args = Deno.args.filter((arg) => arg !== "--");
const wanted = Number(args[0] ?? 10_000_000);
let seed = Number(args[1] ?? 1);
if (!Number.isInteger(wanted) || wanted < 1 || !Number.isInteger(seed)) {
  console.error("Usage: deno task fuzz -- [MESSAGES [SEED]]");
  Deno.exit(2);
}

const sum: FuzzSum = { messages: 0, octets: 0, resets: 0, worstFactor: 0 };
const begun = performance.now();
let said = begun;
const line = () => {
  const seconds = (performance.now() - begun) / 1000;
  const { heapUsed } = Deno.memoryUsage();
  return `${sum.messages} messages, ${sum.octets} octets, ${sum.resets} sessions, ${seconds.toFixed(0)} s, ` +
    `${(heapUsed / 1e6).toFixed(0)} MB, worst factor ${sum.worstFactor.toFixed(1)}, next seed ${seed}`;
};

while (sum.messages < wanted) {
  const count = Math.min(ROUND, wanted - sum.messages);
  try {
    if (seed % 4 !== 0) fuzzDecoders(seed, count, sum);
    else fuzzSession(seed, count, sum);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    console.log(line());
    Deno.exit(1);
  }
  seed++;
  if (performance.now() - said < 10_000) continue;
  said = performance.now();
  console.log(line());
}
console.log(line());
