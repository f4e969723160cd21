/**
 * Prefix conditions of all policies, evaluated once per prefix instead of once per policy run.
 *
 * Every "inside 10.0.0.0/8", "equal to …", "length 24 to 28" that any policy asks becomes a numbered condition. A prefix's
 * class is the set of conditions that hold for it, by a small number. A policy's verdict then depends on class and
 * attributes alone, so it is computed once for each pair and not once for each prefix.
 */

import { Cidr } from "../../lib/cidr.ts";
import type { AddressFamily } from "../config.ts";

/** A condition's number, within one family. */
export type Condition = number;

interface Test {
  readonly words: readonly [number, number, number, number];
  readonly masks: readonly [number, number, number, number];
  readonly min: number;
  readonly max: number;
}

/** The conditions of one family and the classes that prefixes fall into. */
export class PrefixClasses {
  readonly #tests: Test[] = [];
  readonly #conditionOf = new Map<string, Condition>();
  readonly #classOf = new Map<string, number>();
  readonly #members: Uint8Array[] = [];
  #isChanged = false;

  constructor(readonly family: AddressFamily) {
    this.#intern(new Uint8Array(0));
  }

  /** How many classes are known; class 0 is that of no condition at all. */
  get size(): number {
    return this.#members.length;
  }

  /** Whether conditions have come since the last call: then every prefix has to be put into its class again. */
  takeChanged(): boolean {
    const isChanged = this.#isChanged;
    this.#isChanged = false;
    return isChanged;
  }

  /** The prefix lies inside the CIDR, or is it. A CIDR of the other family never holds. */
  inside(cidr: string): Condition {
    const parsed = Cidr.tryParse(cidr);
    return this.#condition(cidr, parsed, parsed?.length ?? 1, 128);
  }

  /** The prefix is the CIDR. */
  equal(cidr: string): Condition {
    const parsed = Cidr.tryParse(cidr);
    return this.#condition(`=${cidr}`, parsed, parsed?.length ?? 1, parsed?.length ?? 0);
  }

  /** The prefix's length is in the range, bounds included. */
  lengthBetween(min: number, max: number): Condition {
    return this.#add(`${min}-${max}`, { words: NO_WORDS, masks: NO_WORDS, min, max });
  }

  /** The class of a prefix (words as in the RIB). */
  classOf(w0: number, w1: number, w2: number, w3: number, length: number): number {
    const tests = this.#tests;
    if (tests.length === 0) return 0;
    let key = "";
    let bits = 0;
    for (let i = 0; i < tests.length; i++) {
      const { words, masks, min, max } = tests[i]!;
      if (
        length >= min && length <= max && ((w0 ^ words[0]) & masks[0]) === 0 && ((w1 ^ words[1]) & masks[1]) === 0 &&
        ((w2 ^ words[2]) & masks[2]) === 0 && ((w3 ^ words[3]) & masks[3]) === 0
      ) bits |= 1 << (i & 15);
      if ((i & 15) === 15) {
        key += String.fromCharCode(bits);
        bits = 0;
      }
    }
    key += String.fromCharCode(bits);
    const known = this.#classOf.get(key);
    if (known !== undefined) return known;
    const members = new Uint8Array(tests.length);
    for (let i = 0; i < tests.length; i++) members[i] = key.charCodeAt(i >> 4) >> (i & 15) & 1;
    const number = this.#intern(members);
    this.#classOf.set(key, number);
    return number;
  }

  /** Whether the condition holds for the prefixes of the class. */
  holds(number: number, condition: Condition): boolean {
    return this.#members[number]?.[condition] === 1;
  }

  #intern(members: Uint8Array): number {
    if (this.#members.length > 0xffff) throw new Error("more than 65,535 classes of prefixes");
    return this.#members.push(members) - 1;
  }

  #condition(key: string, cidr: Cidr | undefined, min: number, max: number): Condition {
    if (!cidr || cidr.family !== this.family) {
      return this.#add("never", { words: NO_WORDS, masks: NO_WORDS, min: 1, max: 0 });
    }
    const words = wordsOf(cidr.ip.bytes);
    const masks = [0, 32, 64, 96].map((from) => maskOf(cidr.length - from)) as [number, number, number, number];
    return this.#add(key, { words, masks, min, max });
  }

  #add(key: string, test: Test): Condition {
    const known = this.#conditionOf.get(key);
    if (known !== undefined) return known;
    const number = this.#tests.push(test) - 1;
    this.#conditionOf.set(key, number);
    this.#isChanged = true;
    return number;
  }
}

const NO_WORDS: readonly [number, number, number, number] = [0, 0, 0, 0];

/** The first `bits` bits of a word set, as a signed word. */
function maskOf(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << 32 - bits;
}

/** An address of 4 or 16 octets as four unsigned words. */
export function wordsOf(bytes: Uint8Array): [number, number, number, number] {
  const word = (at: number) =>
    at + 4 > bytes.length ? 0 : (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
  return [word(0), word(4), word(8), word(12)];
}
